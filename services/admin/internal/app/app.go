// Package app wires admin together.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/cli"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/admin/internal/api"
	"github.com/hybridgateway/gateway/services/admin/internal/config"
	"github.com/hybridgateway/gateway/services/admin/internal/status"
)

// Run serves operators until ctx ends.
func Run(ctx context.Context, c config.Config) error {
	tel, err := c.Telemetry(ctx, daemon.Admin)
	if err != nil {
		return err
	}
	defer tel.Stop(ctx)

	joined := status.New(c.GatewayID, cli.Version(), time.Now())
	if err := observe(tel.Meter, joined); err != nil {
		return err
	}
	creds, err := api.Credentials(api.Files{Cert: c.TLSCert, Key: c.TLSKey, ClientCA: c.ClientCA}, tel.Log)
	if err != nil {
		return err
	}
	conns := map[string]*grpc.ClientConn{}
	for _, service := range []string{daemon.Election, daemon.VtepRegistry, daemon.Dataplane, daemon.RouteSync} {
		conn, err := daemon.Dial(c.Socket(service))
		if err != nil {
			return err
		}
		defer conn.Close()
		conns[service] = conn
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", c.Listen.String())
	if err != nil {
		return fmt.Errorf("listen for operators on --listen=%s: %w", c.Listen, err)
	}
	operators := daemon.NewServer(append(api.Door(tel.Log, c.Operators), grpc.Creds(creds))...)
	adminv1.RegisterAdminServiceServer(operators.Server, &api.Server{
		Joined:    joined,
		Election:  leadershipv1.NewLeadershipServiceClient(conns[daemon.Election]),
		RouteSync: routesv1.NewRoutesServiceClient(conns[daemon.RouteSync]),
		Dataplane: tunnelv1.NewTunnelServiceClient(conns[daemon.Dataplane]),
		Vteps:     vtepsv1.NewVtepsServiceClient(conns[daemon.VtepRegistry]),
	})
	operators.SetServing(true)
	local := daemon.NewServer()
	local.SetServing(true)

	tasks := []daemon.Task{
		{Name: "operators' API", Run: func(ctx context.Context) error { return operators.ServeOn(ctx, listener) }},
		{Name: "socket", Run: func(ctx context.Context) error { return local.ServeSocket(ctx, c.Socket(daemon.Admin)) }},
		{Name: "metrics and health", Run: func(ctx context.Context) error {
			return daemon.ServeHTTP(ctx, c.HTTPListen, tel.Metrics, func() error { return ready(joined) })
		}},
	}
	skipped := func(service string) api.Skipped {
		return func(key string, err error) {
			tel.Log.Warn("item skipped", "stream", service, "key", key, telemetry.KeyError, err)
		}
	}
	tasks = append(tasks,
		follow(daemon.Election, api.Leadership(conns[daemon.Election], skipped(daemon.Election)), joined.Leadership),
		follow(daemon.VtepRegistry, api.Vteps(conns[daemon.VtepRegistry], skipped(daemon.VtepRegistry)), joined.Vteps),
		follow(daemon.Dataplane, api.Tunnel(conns[daemon.Dataplane], skipped(daemon.Dataplane)), joined.Tunnel),
		follow(daemon.RouteSync, api.Routes(conns[daemon.RouteSync], skipped(daemon.RouteSync)), joined.Routes),
	)
	tel.Log.Info("serving", "listen", listener.Addr().String())
	return daemon.RunTasks(ctx, tasks...)
}

// follow is the task that takes a service's stream over into the status.
func follow[V any](service string, source feed.Source[V], take func(feed.Update[V], time.Time)) daemon.Task {
	return daemon.Task{Name: "stream of " + service, Run: func(ctx context.Context) error {
		updates := make(chan feed.Update[V])
		done := make(chan error, 1)
		go func() { done <- feed.Follow(ctx, source, updates) }()
		for {
			select {
			case u := <-updates:
				take(u, time.Now())
			case err := <-done:
				return err
			}
		}
	}}
}

func ready(joined *status.Joined) error {
	if missing := joined.Missing(); len(missing) > 0 {
		return errors.New("no snapshot yet from " + strings.Join(missing, ", "))
	}
	return nil
}

func observe(meter metric.Meter, joined *status.Joined) error {
	_, err := meter.Int64ObservableGauge(telemetry.MetricStreamConnected,
		metric.WithDescription("1 while the stream of the service is up, else 0."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for service, connected := range joined.Connected() {
				value := int64(0)
				if connected {
					value = 1
				}
				o.Observe(value, metric.WithAttributes(attribute.String("stream", service)))
			}
			return nil
		}))
	return err
}
