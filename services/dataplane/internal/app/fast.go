package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/dataplane/internal/config"
	"github.com/hybridgateway/gateway/services/dataplane/internal/fastpath"
	"github.com/hybridgateway/gateway/services/dataplane/internal/kernel"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// fastKernel is the kernel, and the fast path beside it: whenever the kernel's state is read, the fast path is put where that says that the tunnel
// is. Nothing else moves it, and nothing waits for it, as what it does not do the kernel does.
type fastKernel struct {
	*kernel.Kernel
	path     *fastpath.FastPath // nil when there is none
	log      *slog.Logger
	wanted   chan fastPlace // holds the newest
	problem  string         // that kept it from being attached, told once
	attached atomic.Bool
}

// fastPlace is what the fast path is to be attached for. The zero place is none.
type fastPlace struct {
	nic string
	df  bool
}

// openFast adds the fast path to a kernel, as far as it is wanted and can be had. With a flow-based device it would have nothing to do: the
// kernel does not tell programs what its routes say.
func openFast(c config.Config, k *kernel.Kernel, device plan.Device, node netip.Addr, t *telemetry.Telemetry) (*fastKernel, error) {
	f := &fastKernel{Kernel: k, log: t.Log, wanted: make(chan fastPlace, 1)}
	if c.FastPath != config.FastPathOff && !c.Flow() {
		vpc := netaddr.Prefixes(c.VPCCIDRs)
		if !c.Guarded() {
			vpc = []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
		}
		path, err := fastpath.Open(fastpath.Config{Device: device, Node: node, VPC: vpc})
		switch {
		case err == nil:
			f.path = path
		case c.FastPath == config.FastPathOn:
			return nil, fmt.Errorf("open the fast path: %w: mend that, or let the kernel do it alone (--fastpath=auto)", err)
		default:
			t.Log.Info("no fast path: packets go the kernel's way", telemetry.KeyError, err)
		}
	}
	if err := f.measure(t.Meter); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close takes the fast path off. The kernel is left to whoever opened it.
func (f *fastKernel) Close() {
	if f.path != nil {
		f.path.Close()
	}
}

// Dump is the kernel's. It tells Run where the tunnel is, or that there is none. It is not safe for concurrent use.
func (f *fastKernel) Dump() (plan.Actual, error) {
	a, err := f.Kernel.Dump()
	var place fastPlace
	switch {
	case err != nil, f.path == nil, a.Link != nil && (a.Host.NIC == nil || a.Link.Kind != "vxlan"):
		return a, err
	case a.Link != nil:
		place = fastPlace{nic: a.Host.NIC.Name, df: a.Link.DF == plan.DFSet}
	}
	select {
	case <-f.wanted: // older
	default:
	}
	f.wanted <- place
	return a, err
}

// Run keeps the fast path where the tunnel is until ctx ends.
func (f *fastKernel) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case place := <-f.wanted:
			f.follow(place)
		}
	}
}

func (f *fastKernel) follow(place fastPlace) {
	var err error
	if place == (fastPlace{}) {
		err = f.path.Detach()
	} else {
		err = f.path.Attach(place.nic, place.df)
	}
	if f.path.Attached() != f.attached.Load() {
		f.attached.Store(f.path.Attached())
		f.log.Info("fast path", "attached", f.path.Attached(), "interface", place.nic)
	}
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem != f.problem && err != nil {
		f.log.Warn("the fast path could not be attached: packets go the kernel's way", telemetry.KeyError, err)
	}
	f.problem = problem
}

// Counters counts what went through the tunnel on either way: the device's packets since it was made, the fast path's since this process started.
func (f *fastKernel) Counters() (c plan.Counters, ok bool, err error) {
	c, ok, err = f.Kernel.Counters()
	if err != nil || f.path == nil {
		return c, ok, err
	}
	fast, err := f.path.Counters()
	c.RxPackets, c.RxBytes = c.RxPackets+fast.RxPackets, c.RxBytes+fast.RxBytes
	c.TxPackets, c.TxBytes = c.TxPackets+fast.TxPackets, c.TxBytes+fast.TxBytes
	return c, ok, err
}

// measure makes the fast path's metrics.
func (f *fastKernel) measure(meter metric.Meter) error {
	attached, errAttached := meter.Int64ObservableGauge(telemetry.MetricFastPathAttached, metric.WithDescription("1 while the fast path is attached to the network interface."))
	packets, errPackets := meter.Int64ObservableCounter(telemetry.MetricFastPathPackets, metric.WithDescription("Packets of the tunnel that took the fast path."))
	if err := errors.Join(errAttached, errPackets); err != nil {
		return fmt.Errorf("make the fast path's metrics: %w", err)
	}
	observe := func(_ context.Context, o metric.Observer) error {
		value := int64(0)
		if f.attached.Load() {
			value = 1
		}
		o.ObserveInt64(attached, value)
		if f.path == nil {
			return nil
		}
		c, err := f.path.Counters()
		if err != nil {
			return err
		}
		o.ObserveInt64(packets, int64(c.RxPackets), metric.WithAttributes(attribute.String("dir", "rx")))
		o.ObserveInt64(packets, int64(c.TxPackets), metric.WithAttributes(attribute.String("dir", "tx")))
		return nil
	}
	if _, err := meter.RegisterCallback(observe, attached, packets); err != nil {
		return fmt.Errorf("register the fast path's metrics: %w", err)
	}
	return nil
}
