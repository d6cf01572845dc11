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

// Run works until ctx ends, then hands the record over if this gateway leads, and returns.
func Run(ctx context.Context, c config.Config) error {
	t, err := c.Telemetry(ctx, daemon.Election)
	if err != nil {
		return err
	}
	defer t.Stop(ctx)
	metrics, err := newMetrics(t.Meter, c.GatewayID, c.Shard)
	if err != nil {
		return err
	}
	register, err := openRecord(c, t.Log)
	if err != nil {
		return err
	}
	defer register.Close()
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
	peerMetrics, err := newPeerMetrics(t.Meter)
	if err != nil {
		return err
	}
	neighbours, err := newNeighbours(c, t.Log, peerMetrics)
	if err != nil {
		return err
	}

	leadership := feed.NewLog[term.Leadership](history)
	server := daemon.NewServer()
	l := newLoop(c, t, metrics, register, leadership)
	l.neighbours = neighbours
	leadershipv1.RegisterLeadershipServiceServer(server, &api.LeadershipServer{Log: leadership, Hand: l.requestTransfer})
	l.known = func() {
		leadership.MarkSynced()
		server.SetServing(true)
	}
	// The end of ctx asks the loop to hand over; the other tasks work until that is done.
	return daemon.RunTasks(context.WithoutCancel(ctx),
		daemon.Task{Name: "loop", Run: func(work context.Context) error { return l.run(work, ctx.Done()) }},
		daemon.Task{Name: "grpc", Run: func(ctx context.Context) error { return server.ServeSocket(ctx, c.Socket(daemon.Election)) }},
		daemon.Task{Name: "http", Run: func(ctx context.Context) error {
			return daemon.ServeHTTP(ctx, c.HTTPListen, t.Metrics, l.ready.check)
		}},
		daemon.Task{Name: "record", Run: func(ctx context.Context) error { return register.Follow(ctx, l.observations) }},
		daemon.Task{Name: "heartbeats", Run: neighbours.run},
		daemon.Task{Name: "health of vtep-registry", Run: func(ctx context.Context) error { return api.FollowHealth(ctx, registry, l.registry) }},
		daemon.Task{Name: "tunnel stream", Run: func(ctx context.Context) error {
			return feed.Follow(ctx, api.TunnelSource(dataplane, skipped(t.Log, "tunnel event cannot be read, skipped")), l.tunnels)
		}},
		daemon.Task{Name: "routes stream", Run: func(ctx context.Context) error {
			return feed.Follow(ctx, api.RoutesSource(routeSync, skipped(t.Log, "routes event cannot be read, skipped")), l.routes)
		}},
	)
}

func skipped(log *slog.Logger, message string) func(string, error) {
	return func(key string, err error) { log.Warn(message, keyItem, key, telemetry.KeyError, err) }
}

// newLoop makes the loop with all its channels.
func newLoop(c config.Config, t *telemetry.Telemetry, m *metrics, r register, log *feed.Log[term.Leadership]) *loop {
	return &loop{
		observations: make(chan term.Observation, queue),
		tunnels:      make(chan feed.Update[api.Tunnel], queue),
		routes:       make(chan feed.Update[api.Routes], queue),
		registry:     make(chan error, queue),
		transfers:    make(chan transfer),
		swapped:      make(chan swapped, 1),
		id:           c.GatewayID,
		shard:        c.Shard,
		term: term.New(term.Config{
			Shard:           c.Shard,
			ID:              c.GatewayID,
			Incarnation:     rand.Text(),
			LeaseDuration:   c.LeaseDuration,
			RenewDeadline:   c.RenewDeadline,
			RetryPeriod:     c.RetryPeriod,
			HandoverTimeout: c.HandoverTimeout,
			UnhealthyGrace:  c.UnhealthyGrace,
			Blind:           c.PeerKeyFile == "",
		}),
		register:   r,
		leadership: log,
		candidate:  candidate{nodeIP: c.NodeIP.Addr, registry: errNotAsked},
		ready:      newReadiness(),
		now:        boottime.Now,
		known:      func() {},
		log:        t.Log.With(telemetry.KeyShard, c.Shard),
		trace:      tracing{tracer: t.Tracer, shard: c.Shard},
		metrics:    m,
	}
}
