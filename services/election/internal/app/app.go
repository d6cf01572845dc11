// Package app puts election together: what the record, the tunnel and the routes tell goes
// into package term, and what it decides goes into the record and the Leadership stream.
// One goroutine, the loop, owns all state; the others carry events to it and writes
// away from it.
package app

import (
	"context"
	"crypto/rand"
	"log/slog"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/priority"
	"github.com/hybridgateway/gateway/libs/telemetry"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	"github.com/hybridgateway/gateway/services/election/internal/api"
	"github.com/hybridgateway/gateway/services/election/internal/config"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

const (
	// queue is how many events of a kind wait for the loop.
	queue = 64
	// history is how many events of the Leadership stream a subscriber may fall behind:
	// some minutes of renewals.
	history = 1024
)

// Run works until ctx ends, then hands over what this gateway leads, and returns.
func Run(ctx context.Context, c config.Config) error {
	t, err := c.Telemetry(ctx, daemon.Election)
	if err != nil {
		return err
	}
	defer t.Stop(ctx)
	schedule(c, t.Log)
	dataplane, err := daemon.Dial(c.Socket(daemon.Dataplane))
	if err != nil {
		return err
	}
	defer dataplane.Close()
	routeSync, err := daemon.Dial(c.Socket(daemon.RouteSync))
	if err != nil {
		return err
	}
	defer routeSync.Close()
	registry, err := daemon.Dial(c.Socket(daemon.VtepRegistry))
	if err != nil {
		return err
	}
	defer registry.Close()
	s, err := newShards(c, t)
	if err != nil {
		return err
	}
	defer s.close()

	server := daemon.NewServer()
	s.synced = func() { server.SetServing(true) }
	leadershipv1.RegisterLeadershipServiceServer(server, &api.LeadershipServer{Log: s.leadership, Hand: s.hand})
	tasks := []daemon.Task{
		{Name: "shards", Run: func(work context.Context) error { return s.run(work, ctx.Done()) }},
		{Name: "grpc", Run: func(ctx context.Context) error { return server.ServeSocket(ctx, c.Socket(daemon.Election)) }},
		{Name: "http", Run: func(ctx context.Context) error {
			return daemon.ServeHTTP(ctx, c.HTTPListen, t.Metrics, s.ready)
		}},
		{Name: "heartbeats", Run: s.neighbours.run},
	}
	var tunnels []chan<- feed.Update[api.Tunnel]
	var routes []chan<- feed.Update[api.Routes]
	var routesHealth, serves []chan<- error
	var answers []chan<- api.Answer
	for _, l := range s.loops {
		tunnels, routes, serves = append(tunnels, l.tunnels), append(routes, l.routes), append(serves, l.registry)
		routesHealth, answers = append(routesHealth, l.routesHealth), append(answers, l.answers)
		tasks = append(tasks, daemon.Task{Name: "record", Run: func(ctx context.Context) error { return l.record.Follow(ctx, l.observations) }})
	}
	tasks = append(tasks,
		daemon.Task{Name: "health of route-sync", Run: func(ctx context.Context) error { return api.FollowHealth(ctx, routeSync, routesHealth...) }},
		daemon.Task{Name: "health of vtep-registry", Run: func(ctx context.Context) error { return api.FollowHealth(ctx, registry, serves...) }},
		daemon.Task{Name: "answers of dataplane", Run: func(ctx context.Context) error {
			return api.FollowAnswers(ctx, dataplane, daemon.Dataplane, answers...)
		}},
		daemon.Task{Name: "answers of route-sync", Run: func(ctx context.Context) error {
			return api.FollowAnswers(ctx, routeSync, daemon.RouteSync, answers...)
		}},
		daemon.Task{Name: "answers of vtep-registry", Run: func(ctx context.Context) error {
			return api.FollowAnswers(ctx, registry, daemon.VtepRegistry, answers...)
		}},
		daemon.Task{Name: "tunnel stream", Run: func(ctx context.Context) error {
			return feed.Follow(ctx, api.TunnelSource(dataplane, skipped(t.Log, "tunnel event cannot be read, skipped")), tunnels...)
		}},
		daemon.Task{Name: "routes stream", Run: func(ctx context.Context) error {
			return feed.Follow(ctx, api.RoutesSource(routeSync, skipped(t.Log, "routes event cannot be read, skipped")), routes...)
		}},
	)
	// The end of ctx asks the loops to hand over; the other tasks work until that is done.
	return daemon.RunTasks(context.WithoutCancel(ctx), tasks...)
}

// schedule lets this process run before others, if it may. A heartbeat that is late is as good as lost, and who takes over
// late leaves packets lost for as long.
func schedule(c config.Config, log *slog.Logger) {
	if c.Scheduling != config.Realtime {
		return
	}
	how, err := priority.Realtime()
	if err != nil {
		log.Warn("this process is scheduled as any other: where all processors are busy, gateways are suspected late or wrongly; give it the capability SYS_NICE", telemetry.KeyError, err)
		return
	}
	log.Info("this process is scheduled before others", keyHow, how)
}

func skipped(log *slog.Logger, message string) func(string, error) {
	return func(key string, err error) { log.Warn(message, keyItem, key, telemetry.KeyError, err) }
}

// newLoop makes the loop of a shard with all its channels.
func newLoop(c config.Config, s config.Shard, t *telemetry.Telemetry, m *metrics, r record, log *feed.Log[api.Leadership]) *loop {
	return &loop{
		observations: make(chan term.Observation, queue),
		tunnels:      make(chan feed.Update[api.Tunnel], queue),
		routes:       make(chan feed.Update[api.Routes], queue),
		routesHealth: make(chan error, queue),
		registry:     make(chan error, queue),
		answers:      make(chan api.Answer, queue),
		transfers:    make(chan transfer),
		ended:        make(chan struct{}),
		swapped:      make(chan swapped, 1),
		id:           c.GatewayID,
		shard:        s.Name,
		term: term.New(term.Config{
			Shard:           s.Name,
			ID:              c.GatewayID,
			Incarnation:     rand.Text(),
			LeaseDuration:   c.LeaseDuration,
			RenewDeadline:   c.RenewDeadline,
			RetryPeriod:     c.RetryPeriod,
			HandoverTimeout: c.HandoverTimeout,
			UnhealthyGrace:  c.UnhealthyGrace,
			Blind:           c.PeerKeyFile == "",
			Preferred:       s.Preferred,
		}),
		record:     r,
		leadership: log,
		candidate:  candidate{nodeIP: c.NodeIP.Addr, routesHealth: errNotAsked, registry: errNotAsked},
		ready:      newReadiness(),
		now:        boottime.Now,
		known:      func() {},
		log:        t.Log.With(telemetry.KeyShard, s.Name),
		trace:      tracing{tracer: t.Tracer, shard: s.Name},
		metrics:    m.of(s.Name),
	}
}
