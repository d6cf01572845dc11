// Package app puts vtep-registry together: what Cilium says goes through package registry
// into the Vteps stream, and leadership goes through package publish into the
// CiliumVTEPConfig. One goroutine, the loop, owns all state; the others carry events to
// it and writes away from it.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/cli"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/telemetry"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/api"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/config"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/etcd"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

const (
	// queue is how many events of a kind wait for the loop, which takes them together.
	queue = 256
	// history is how many changes of VTEPs a subscriber may fall behind.
	history = 8192
)

// Parse makes the configuration; see config.Parse.
func Parse(args []string, out io.Writer) (config.Config, error) {
	c, err := config.Parse(args, out)
	if err != nil {
		return c, err
	}
	if err := cilium.CheckSelector(c.NodeSelector); err != nil {
		return c, cli.Usagef("--node-selector=%q: want a label selector such as key=value: %v", c.NodeSelector, err)
	}
	if c.PrintCiliumConfig {
		if _, err := io.WriteString(out, c.Want.Text()); err != nil {
			return c, fmt.Errorf("print what Cilium needs: %w", err)
		}
		return c, cli.ErrHelp
	}
	return c, nil
}

// Run works until ctx ends. It leaves the CiliumVTEPConfig as it is.
func Run(ctx context.Context, c config.Config) error {
	t, err := c.Telemetry(ctx, daemon.VtepRegistry)
	if err != nil {
		return err
	}
	defer t.Stop(ctx)
	metrics, err := newMetrics(t.Meter)
	if err != nil {
		return err
	}
	client, err := cilium.NewClient(c.Kubeconfig)
	if err != nil {
		return err
	}
	defer client.Close()
	store, closeStore, err := openStore(c, client, t.Log)
	if err != nil {
		return err
	}
	defer closeStore()
	election, err := daemon.Dial(c.Socket(daemon.Election))
	if err != nil {
		return err
	}
	defer election.Close()

	vteps := feed.NewLog[registry.VTEP](history)
	server := daemon.NewServer()
	ready := newReadiness(t.Log, metrics, server.SetServing, c.Floating())
	l := newLoop(c, t, metrics, vteps, ready)
	vtepsv1.RegisterVtepsServiceServer(server, &api.VtepsServer{
		Log: vteps, Operator: &operator{store: store, loop: l}, Codes: api.Codes{NotFound: registered.ErrNotRegistered, Exhausted: registered.ErrFull},
	})
	w := &writer{configs: client, now: boottime.Now, requests: l.publisher.requests, results: l.results, tracer: t.Tracer, metrics: metrics}
	l.remember(ctx, l.keeper.recall())
	defer l.finish()
	n := &noter{notes: l.notes, api: client, log: t.Log, metrics: metrics}
	skipped := func(key string, err error) {
		t.Log.Warn("leadership event cannot be read, skipped", telemetry.KeyShard, key, telemetry.KeyError, err)
	}
	return daemon.RunTasks(ctx, append(ciliumTasks(c, client, l, t.Log),
		daemon.Task{Name: "grpc", Run: func(ctx context.Context) error { return server.ServeSocket(ctx, c.Socket(daemon.VtepRegistry)) }},
		daemon.Task{Name: "http", Run: func(ctx context.Context) error {
			return daemon.ServeHTTP(ctx, c.HTTPListen, t.Metrics, ready.check)
		}},
		daemon.Task{Name: "loop", Run: l.run},
		daemon.Task{Name: "writer", Run: w.run},
		daemon.Task{Name: "events", Run: n.run},
		daemon.Task{Name: "state file", Run: l.keeper.run},
		daemon.Task{Name: "leadership stream", Run: func(ctx context.Context) error {
			return feed.Follow(ctx, api.Source(election, skipped), l.leadership)
		}},
		daemon.Task{Name: "nodes", Run: func(ctx context.Context) error {
			return client.WatchNodes(ctx, c.NodeSelector, cilium.Watch[registry.Node]{Events: l.nodes, Report: ready.reporter(nodes), Log: t.Log})
		}},
		daemon.Task{Name: "registered", Run: func(ctx context.Context) error {
			return store.Watch(ctx, l.operators, ready.reporter(registrations))
		}},
	)...)
}

// openStore makes the store of registered VTEPs. It does not connect.
func openStore(c config.Config, client *cilium.Client, log *slog.Logger) (s store, closeStore func(), err error) {
	if len(c.EtcdEndpoints) == 0 {
		return client.ConfigMap(log), func() {}, nil
	}
	e, err := etcd.Open(etcd.Config{Endpoints: c.EtcdEndpoints, Files: c.EtcdFiles(), Prefix: c.EtcdPrefix, UserAgent: "hybrid-gateway-vtep-registry/" + cli.Version()})
	if err != nil {
		return nil, nil, err
	}
	return e, e.Close, nil
}

// ciliumTasks follow Cilium's side: what it is told, or whether it is set up for an address
// that never changes.
func ciliumTasks(c config.Config, client *cilium.Client, l *loop, log *slog.Logger) []daemon.Task {
	if c.Floating() {
		return []daemon.Task{
			{Name: "settings", Run: func(ctx context.Context) error {
				return client.WatchSettings(ctx, cilium.Watch[cilium.Settings]{Events: l.settings, Report: l.ready.reporter(settings), Log: log})
			}},
			{Name: "agents", Run: func(ctx context.Context) error {
				return client.WatchAgents(ctx, cilium.Watch[cilium.Agent]{Events: l.agents, Report: l.ready.reporter(agents), Log: log})
			}},
		}
	}
	return []daemon.Task{{Name: "configs", Run: func(ctx context.Context) error {
		return client.WatchConfigs(ctx, cilium.Configs{
			Watch:       cilium.Watch[publish.Object]{Events: l.configs, Report: l.ready.reporter(configs), Log: log},
			Definitions: l.ready.reporter(definitions),
			Nodes:       cilium.Watch[cilium.NodeReports]{Events: l.reports, Report: l.ready.reporter(nodeReports), Log: log},
		})
	}}}
}

// newLoop makes the loop with all its channels.
func newLoop(c config.Config, t *telemetry.Telemetry, m *metrics, vteps *feed.Log[registry.VTEP], ready *readiness) *loop {
	vpc, underlay := netaddr.Prefixes(c.VPCCIDRs), netaddr.Prefixes(c.UnderlayCIDRs)
	var w *watcher
	if c.Floating() {
		underlay = append(underlay, c.FloatingVTEP.Prefix)
		w = &watcher{want: c.Want, log: t.Log, metrics: m}
	}
	return &loop{
		watcher:    w,
		nodes:      make(chan cilium.Event[registry.Node], queue),
		configs:    make(chan cilium.Event[publish.Object], queue),
		reports:    make(chan cilium.Event[cilium.NodeReports], queue),
		leadership: make(chan feed.Update[api.Leadership], queue),
		results:    make(chan result),
		operators:  make(chan registered.All, queue),
		settings:   make(chan cilium.Event[cilium.Settings], queue),
		agents:     make(chan cilium.Event[cilium.Agent], queue),
		calls:      make(chan func(context.Context)),
		registry: registry.New(registry.Scope{
			Nodes:    netaddr.Prefixes(c.NodeCIDRs),
			Pods:     netaddr.Prefixes(c.PodCIDRs),
			VPC:      vpc,
			Services: netaddr.Prefixes(c.ServiceCIDRs),
			Underlay: underlay,
		}),
		vteps: vteps,
		publisher: &publisher{
			name:     c.VTEPConfigName,
			shard:    c.Shard,
			vpc:      vpc,
			now:      boottime.Now,
			requests: make(chan request, 1),
			progress: publish.NewProgress(),
			log:      t.Log,
			tracer:   t.Tracer,
			metrics:  m,
		},
		notes:   make(chan cilium.Note, noteQueue),
		gateway: c.GatewayID,
		known:   make(map[registry.Source]bool),
		keeper:  &keeper{path: c.StateFile, held: make(chan []registry.VTEP, 1), log: t.Log, metrics: m},
		ready:   ready,
		log:     t.Log,
		tracer:  t.Tracer,
		metrics: m,
	}
}

// Why the service is not ready before anything else is known.
var (
	errStarting = errors.New("the API server has not answered yet")
	errUnread   = errors.New("the registered VTEPs were not read yet")
)
