// Package app puts the dataplane together.
package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/telemetry"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	"github.com/hybridgateway/gateway/services/dataplane/internal/api"
	"github.com/hybridgateway/gateway/services/dataplane/internal/config"
	"github.com/hybridgateway/gateway/services/dataplane/internal/kernel"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
	"github.com/hybridgateway/gateway/services/dataplane/internal/tunnel"
)

// DeviceName is the tunnel device's.
const DeviceName = "hybrid_vxlan0"

// queue is how many VTEP events, and how many notifications of the kernel, wait for the loop.
const queue = 1024

// history is how many states of the tunnel a subscriber may fall behind.
const history = 256

// Run keeps the tunnel of the calling thread's network namespace until ctx ends. It leaves the tunnel in place.
func Run(ctx context.Context, c config.Config) error {
	t, err := c.Telemetry(ctx, daemon.Dataplane)
	if err != nil {
		return err
	}
	defer t.Stop(ctx)
	node := c.NodeIP.Addr
	if !node.IsValid() {
		if node, err = kernel.DefaultAddress(); err != nil {
			return fmt.Errorf("find the node's address: %w: give it with --node-ip", err)
		}
	}
	k, err := kernel.Open(kernel.Config{Device: DeviceName, Node: node, Local: c.Local(node), Guard: plan.GuardRules{
		VNI: uint32(c.VNI), Port: uint16(c.Port), VPC: netaddr.Prefixes(c.VPCCIDRs),
	}})
	if err != nil {
		return err
	}
	defer k.Close()
	watcher, err := k.Watch()
	if err != nil {
		return err
	}
	defer watcher.Close()
	var guardWatcher *kernel.Watcher
	if c.Guarded() || c.Clamped() {
		if guardWatcher, err = k.WatchGuard(); err != nil {
			return err
		}
		defer guardWatcher.Close()
	}
	registry, err := daemon.Dial(c.Socket(daemon.VtepRegistry))
	if err != nil {
		return err
	}
	defer registry.Close()
	server := newServer()
	local := c.Local(node)
	device := plan.Device{Name: DeviceName, VNI: uint32(c.VNI), Port: uint16(c.Port), Local: local, MAC: netaddr.VTEPMAC(local), Flow: c.Flow()}
	fast, err := openFast(c, k, device, node, t)
	if err != nil {
		return err
	}
	defer fast.Close()
	loop, err := newLoop(c, node, device, fast, t, server.publish)
	if err != nil {
		return err
	}
	server.tunnel.Remove = loop.Purge

	updates, changes := make(chan feed.Update[tunnel.Item], queue), make(chan plan.Change, queue)
	skipped := func(key string, err error) {
		t.Log.Warn("vtep cannot be read, skipped", telemetry.KeyNode, key, telemetry.KeyError, err)
	}
	tasks := []daemon.Task{
		{Name: "kernel notifications", Run: func(ctx context.Context) error { return watcher.Run(ctx, changes) }},
		{Name: "vtep stream", Run: func(ctx context.Context) error {
			return feed.Follow(ctx, api.Vteps(registry, skipped), updates)
		}},
		{Name: "fast path", Run: fast.Run},
		{Name: "tunnel", Run: func(ctx context.Context) error { return loop.Run(ctx, updates, changes) }},
		{Name: "grpc", Run: func(ctx context.Context) error { return server.ServeSocket(ctx, c.Socket(daemon.Dataplane)) }},
		{Name: "http", Run: func(ctx context.Context) error {
			return daemon.ServeHTTP(ctx, c.HTTPListen, t.Metrics, server.ready)
		}},
	}
	if guardWatcher != nil {
		tasks = append(tasks, daemon.Task{Name: "guard notifications", Run: func(ctx context.Context) error { return guardWatcher.Run(ctx, changes) }})
	}
	return daemon.RunTasks(ctx, tasks...)
}

func newLoop(c config.Config, node netip.Addr, device plan.Device, k *fastKernel, t *telemetry.Telemetry, publish func(context.Context, tunnel.State)) (*tunnel.Loop, error) {
	metrics, err := tunnel.NewMetrics(t.Meter, k.Counters, k.GuardDrops)
	if err != nil {
		return nil, err
	}
	return tunnel.NewLoop(tunnel.Config{
		Device:      device,
		UnderlayMTU: int(c.UnderlayMTU),
		Carry:       c.FloatingVTEP.IsValid(),
		Source:      node,
		OuterDF:     c.OuterDF == "on",
		ClampMSS:    c.Clamped(),
		Guard:       c.Guarded(),
		Kernel:      k,
		Publish:     publish,
		Log:         t.Log,
		Tracer:      t.Tracer,
		Metrics:     metrics,
	}), nil
}

// server is the gRPC server with the state that it and /readyz answer from.
type server struct {
	*daemon.Server
	log    *feed.Log[tunnel.State]
	tunnel *api.TunnelServer

	mu   sync.Mutex
	last tunnel.State
}

func newServer() *server {
	s := &server{Server: daemon.NewServer(), log: feed.NewLog[tunnel.State](history)}
	s.last.Reason = "starting"
	s.tunnel = &api.TunnelServer{Log: s.log}
	tunnelv1.RegisterTunnelServiceServer(s.Server, s.tunnel)
	return s
}

// publish makes a new state known to everybody.
func (s *server) publish(ctx context.Context, state tunnel.State) {
	s.mu.Lock()
	s.last = state
	s.mu.Unlock()
	s.SetServing(state.Ready)
	s.log.Set(ctx, state.Device, state)
	s.log.MarkSynced()
}

func (s *server) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.Ready {
		return errors.New(s.last.Reason)
	}
	return nil
}
