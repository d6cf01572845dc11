// Package app puts route-sync together.
package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/services/route-sync/internal/api"
	"github.com/hybridgateway/gateway/services/route-sync/internal/config"
	"github.com/hybridgateway/gateway/services/route-sync/internal/ec2"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/services/route-sync/internal/syncer"
)

const (
	// parallel is how many routes are written at once.
	parallel = 64
	// queue is how many leadership events wait for the loop.
	queue = 16
	// history is how many changes of items a subscriber may fall behind. A takeover changes each route twice.
	history = 4096
)

// Run keeps the routes until ctx ends. It leaves them in place.
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
	return daemon.RunTasks(ctx,
		daemon.Task{Name: "routes", Run: func(ctx context.Context) error { return keepRoutes(ctx, c, election, s, t, metrics) }},
		daemon.Task{Name: "grpc", Run: func(ctx context.Context) error { return s.ServeSocket(ctx, c.Socket(daemon.RouteSync)) }},
		daemon.Task{Name: "http", Run: func(ctx context.Context) error { return daemon.ServeHTTP(ctx, c.HTTPListen, t.Metrics, s.ready) }},
	)
}

// keepRoutes finds out who this gateway is and then follows the Leadership stream.
func keepRoutes(ctx context.Context, c config.Config, election grpc.ClientConnInterface, s *server, t *telemetry.Telemetry, m *syncer.Metrics) error {
	identity, err := identify(ctx, c, s, t)
	if err != nil {
		return err
	}
	client, err := ec2.Open(ctx, ec2.Options{
		Region:   identity.Region,
		Parallel: parallel,
		Tracer:   t.Tracer,
		Log:      t.Log,
		OnCall: func(action string, outcome plan.Outcome) {
			m.Called(action, outcome, action != plan.DescribeNetworkInterfaces && !strings.HasSuffix(action, ec2.DryRun))
		},
	})
	if err != nil {
		return err
	}
	defer client.Close()
	planned := c.Plan()
	planned.Interface, planned.Region, planned.Parallel = identity.Interface, identity.Region, parallel
	loop := syncer.New(ctx, syncer.Config{
		Plan:     planned,
		Self:     syncer.Interface{ID: identity.Interface, Region: identity.Region, Zone: identity.Zone},
		EC2:      client,
		Now:      boottime.Now,
		Publish:  s.log.Set,
		Retract:  s.log.Delete,
		Readable: s.readable,
		Log:      t.Log,
		Tracer:   t.Tracer,
		Metrics:  m,
	})
	s.log.MarkSynced()
	s.loop.Store(loop)

	updates := make(chan feed.Update[plan.Leadership], queue)
	skipped := func(key string, err error) {
		t.Log.Warn("leadership event cannot be read, skipped", telemetry.KeyShard, key, telemetry.KeyError, err)
	}
	return daemon.RunTasks(ctx,
		daemon.Task{Name: "leadership stream", Run: func(ctx context.Context) error {
			return feed.Follow(ctx, api.Leadership(election, skipped), updates)
		}},
		daemon.Task{Name: "loop", Run: func(ctx context.Context) error { return loop.Run(ctx, updates) }},
	)
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
	// loop is there once it is known who this gateway is.
	loop atomic.Pointer[syncer.Loop]

	mu     sync.Mutex
	reason error // why the service is not ready; nil when it is
}

func newServer() *server {
	s := &server{Server: daemon.NewServer(), log: feed.NewLog[syncer.Item](history), reason: errors.New("starting")}
	routesv1.RegisterRoutesServiceServer(s.Server, &api.RoutesServer{Log: s.log, Loop: s.loop.Load})
	return s
}

// waitFor notes what is still missing.
func (s *server) waitFor(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reason = err
}

// readable notes how a read of the route tables ended. The service is ready from the first that succeeded;
// later failures are told by metrics, for what is in place stays there.
func (s *server) readable(failure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.reason == nil:
	case failure != "":
		s.reason = fmt.Errorf("the route tables have not been read yet: %s", failure)
	default:
		s.reason = nil
		s.SetServing(true)
	}
}

func (s *server) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason
}
