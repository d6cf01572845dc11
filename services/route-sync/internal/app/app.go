// Package app puts route-sync together.
package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/services/route-sync/internal/api"
	"github.com/hybridgateway/gateway/services/route-sync/internal/config"
	"github.com/hybridgateway/gateway/services/route-sync/internal/ec2"
	"github.com/hybridgateway/gateway/services/route-sync/internal/syncer"
)

const (
	// parallel is how many routes of a shard are written at once.
	parallel = 64
	// queue is how many leadership events wait for the loop.
	queue = 16
	// history is how many changes of items a subscriber may fall behind. A takeover changes each route twice.
	history = 4096
)

// Run keeps the routes until ctx ends, and then as long as election leaves open whether this gateway is the last, which
// removes them. Otherwise it leaves them in place.
func Run(ctx context.Context, c config.Config) error {
	t, err := c.Telemetry(ctx, daemon.RouteSync)
	if err != nil {
		return err
	}
	defer t.Stop(ctx)
	metrics, err := syncer.NewMetrics(t.Meter)
	if err != nil {
		return err
	}
	election, err := daemon.Dial(c.Socket(daemon.Election))
	if err != nil {
		return err
	}
	defer election.Close()
	s := newServer()
	// The end of ctx asks the loops to finish; all tasks work until that is done.
	return daemon.RunTasks(context.WithoutCancel(ctx),
		daemon.Task{Name: "routes", Run: func(work context.Context) error { return keepRoutes(work, ctx, c, election, s, t, metrics) }},
		daemon.Task{Name: "grpc", Run: func(ctx context.Context) error { return s.ServeSocket(ctx, c.Socket(daemon.RouteSync)) }},
		daemon.Task{Name: "http", Run: func(ctx context.Context) error { return daemon.ServeHTTP(ctx, c.HTTPListen, t.Metrics, s.ready) }},
	)
}

// keepRoutes finds out who this gateway is and then follows the Leadership stream. It works until ctx ends, or from the
// end of stay on until nothing is left to do.
func keepRoutes(ctx, stay context.Context, c config.Config, election grpc.ClientConnInterface, s *server, t *telemetry.Telemetry, m *syncer.Metrics) error {
	identity, err := identifyWhile(ctx, stay, c, s, t)
	if err != nil || stay.Err() != nil {
		return err
	}
	clients := make([]*ec2.Client, len(c.Plans()))
	for i := range clients {
		if clients[i], err = ec2.Open(ctx, ec2.Options{
			Region:   identity.Region,
			Parallel: parallel,
			Tracer:   t.Tracer,
			Log:      t.Log,
			OnCall:   m.Called,
		}); err != nil {
			return err
		}
		defer clients[i].Close()
	}
	shards, leadership := newShards(ctx, c, identity, clients, s, t, m)
	s.log.MarkSynced()
	s.shards.Store(shards)

	skipped := func(key string, err error) {
		t.Log.Warn("leadership event cannot be read, skipped", telemetry.KeyShard, key, telemetry.KeyError, err)
	}
	tasks := []daemon.Task{{Name: "leadership stream", Run: func(ctx context.Context) error {
		return feed.Follow(ctx, api.Leadership(election, skipped), leadership.in...)
	}}, {Name: "departure", Run: func(ctx context.Context) error {
		select {
		case <-stay.Done():
			return shards.Depart(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}}}
	for i, loop := range shards.Loops {
		tasks = append(tasks, daemon.Task{Name: "loop", Run: func(ctx context.Context) error { return loop.Run(ctx, leadership.out[i]) }})
	}
	return daemon.RunTasks(ctx, tasks...)
}

// identifyWhile is identify, which may end without an error as soon as stay does.
func identifyWhile(ctx, stay context.Context, c config.Config, s *server, t *telemetry.Telemetry) (ec2.Identity, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(stay, cancel)()
	identity, err := identify(ctx, c, s, t)
	if stay.Err() != nil {
		return identity, nil // there is nothing to keep yet
	}
	return identity, err
}

// identify asks until it knows who this gateway is.
func identify(ctx context.Context, c config.Config, s *server, t *telemetry.Telemetry) (ec2.Identity, error) {
	attempt := func() (ec2.Identity, error) {
		return ec2.Identify(ctx, ec2.Identity{Region: c.Region, Interface: string(c.ENI), Zone: c.Zone})
	}
	identity, err := backoff.Retry(ctx, attempt,
		backoff.WithBackOff(&backoff.ExponentialBackOff{
			InitialInterval: 200 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: 10 * time.Second,
		}),
		backoff.WithMaxElapsedTime(0),
		backoff.WithNotify(func(err error, wait time.Duration) {
			s.waitFor(err)
			t.Log.Warn("it is not known yet which network interface this gateway has", telemetry.KeyError, err, "retry_in", wait.String())
		}))
	if err == nil {
		t.Log.Info("gateway identified", "eni", identity.Interface, "region", identity.Region, "zone", identity.Zone)
	}
	return identity, err
}

// server is the gRPC server with the items it serves, and what /readyz answers.
type server struct {
	*daemon.Server
	log *feed.Log[syncer.Item]
	// shards are there once it is known who this gateway is.
	shards atomic.Pointer[syncer.Shards]

	mu     sync.Mutex
	reason error // why the service is not ready; nil when it is
	// unread has the shards whose tables have not been read yet.
	unread map[string]bool
	// lacking counts the shards that miss a permission, by the key of its item.
	lacking map[string]int
}

func newServer() *server {
	s := &server{Server: daemon.NewServer(), log: feed.NewLog[syncer.Item](history), reason: errors.New("starting"), unread: map[string]bool{}, lacking: map[string]int{}}
	routesv1.RegisterRoutesServiceServer(s.Server, &api.RoutesServer{Log: s.log, Shards: s.shards.Load})
	return s
}

// waitFor notes what is still missing.
func (s *server) waitFor(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = err
}

// awaitRead notes that the service is not ready before the tables of a shard have been read.
func (s *server) awaitRead(shard string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread[shard] = true
}

// readable notes how a read of a shard's route tables ended. The service is ready from the moment when those of all
// shards have been read; later failures are told by metrics, for what is in place stays there.
func (s *server) readable(shard, failure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == nil {
		return
	}
	if failure != "" {
		s.reason = fmt.Errorf("the route tables have not been read yet: %s", failure)
		return
	}
	delete(s.unread, shard)
	if len(s.unread) == 0 {
		s.reason = nil
		s.SetServing(true)
	}
}

// publish tells an item's new value. Shards may miss the same permission.
func (s *server) publish(ctx context.Context, key string, item syncer.Item) {
	if _, ok := item.(syncer.Permission); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lacking[key]++
	}
	s.log.Set(ctx, key, item)
}

// retract tells that an item is no more, once no shard has it.
func (s *server) retract(ctx context.Context, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lacking[key]--; s.lacking[key] > 0 {
		return
	}
	delete(s.lacking, key)
	s.log.Delete(ctx, key)
}

func (s *server) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}
