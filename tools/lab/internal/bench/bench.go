package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/probe"
	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

const (
	// roundTimeout bounds one death or one planned change; it takes a twentieth.
	roundTimeout = 2 * time.Minute
	// deathProbe and plannedProbe are the times between two packets.
	deathProbe   = 10 * time.Millisecond
	plannedProbe = time.Millisecond
	// stopGrace is what Kubernetes gives the containers of a pod by default.
	stopGrace = 30 * time.Second
	// spansWithin is how long after a take-over its spans may come: services send them
	// in batches.
	spansWithin = 10 * time.Second
)

// Config says how much is measured.
type Config struct {
	Deaths    int // of the active gateway's node
	Transfers int // planned changes, of each kind
	Progress  func(string)
}

// Run measures in a lab of which the gateways are healthy. An error says what
// broke; whether it was fast enough, and without loss, is for Report.Missed to say.
func Run(ctx context.Context, l *lab.Lab, c Config) (*Report, error) {
	b := &bench{Lab: l, report: &Report{Backend: string(l.Options.Backend), EC2Latency: l.Options.EC2Latency}}
	for i := range c.Deaths {
		c.Progress(fmt.Sprintf("death %d of %d", i+1, c.Deaths))
		if err := within(ctx, b.death); err != nil {
			return nil, fmt.Errorf("death %d: %w", i+1, err)
		}
	}
	for _, kind := range []struct {
		what   string
		change func(ctx context.Context, from, to *gateway.Gateway) error
	}{
		{"SIGTERM to all processes of the leader", terminate},
		{"Transfer by an operator", l.Operator.Transfer},
	} {
		p := Planned{What: kind.what}
		for i := range c.Transfers {
			c.Progress(fmt.Sprintf("%s, %d of %d", kind.what, i+1, c.Transfers))
			err := within(ctx, func(ctx context.Context) error { return b.planned(ctx, &p, kind.change) })
			if err != nil {
				return nil, fmt.Errorf("%s, %d: %w", kind.what, i+1, err)
			}
		}
		b.report.Planned = append(b.report.Planned, p)
	}
	return b.report, nil
}

type bench struct {
	*lab.Lab
	report *Report
}

func within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	return do(ctx)
}

// terminate ends a gateway as a rolling update does.
func terminate(_ context.Context, from, _ *gateway.Gateway) error { return from.Terminate(stopGrace) }

// probed runs something under probes in both directions, until packets arrive again after it.
func (b *bench) probed(ctx context.Context, interval time.Duration, do func() error) (there, back probe.Result, err error) {
	pair, err := demo.StartProbes(ctx, b.Lab, interval)
	if err != nil {
		return there, back, err
	}
	const some = 50 // packets, before and after
	if err = pair.WaitReceived(ctx, some); err == nil {
		err = do()
	}
	if err == nil {
		err = pair.WaitReceived(ctx, some)
	}
	there, back = pair.Stop()
	return there, back, err
}

// death cuts the power of the active gateway's node, and boots it again when
// the other gateway has taken over.
func (b *bench) death(ctx context.Context) error {
	h, err := b.WaitHealthy(ctx)
	if err != nil {
		return err
	}
	var died time.Time
	there, back, err := b.probed(ctx, deathProbe, func() error {
		died = time.Now()
		if err := demo.Die(b.Lab, h.Active); err != nil {
			return err
		}
		return demo.WaitActive(ctx, b.Lab, h.Standby)
	})
	if err != nil {
		return err
	}
	t, err := b.takeover(ctx, h.Standby.Name, died)
	if err != nil {
		return err
	}
	b.report.Deaths++
	if t.created {
		b.report.Creates++
	}
	b.report.add(Detection, t.detection)
	b.report.add(Swap, t.swap)
	b.report.add(Event, t.event)
	b.report.add(Routes, t.routes)
	b.report.add(SilentThere, there.Silence)
	b.report.add(SilentBack, back.Silence)
	if err := demo.Revive(b.Lab, h.Active); err != nil {
		return err
	}
	_, err = b.WaitHealthy(ctx)
	return err
}

// takeover reads the trace of a gateway's take-over after a moment. It waits for the
// spans to arrive.
func (b *bench) takeover(ctx context.Context, by string, died time.Time) (takeover, error) {
	ctx, cancel := context.WithTimeout(ctx, spansWithin)
	defer cancel()
	root, err := demo.Takeover(ctx, b.Lab, by, lab.DefaultShard, died)
	if err != nil {
		return takeover{}, err
	}
	var t takeover
	var readErr error
	_, err = b.Traces.WaitTrace(ctx, root.TraceID, func(spans []timeline.Span) bool {
		t, readErr = read(spans, died)
		return readErr == nil
	})
	if err != nil {
		return takeover{}, fmt.Errorf("%w: %w", err, readErr)
	}
	return t, nil
}

// planned changes the leader under a probe, starts what ended with that, and waits until all is
// healthy.
func (b *bench) planned(ctx context.Context, p *Planned, change func(ctx context.Context, from, to *gateway.Gateway) error) error {
	h, err := b.WaitHealthy(ctx)
	if err != nil {
		return err
	}
	there, back, err := b.probed(ctx, plannedProbe, func() error {
		began := time.Now()
		if err := change(ctx, h.Active, h.Standby); err != nil {
			return err
		}
		p.Took = append(p.Took, time.Since(began))
		if err := demo.WaitActive(ctx, b.Lab, h.Standby); err != nil {
			return err
		}
		if err := h.Active.Start(); err != nil {
			return err
		}
		_, err := b.WaitHealthy(ctx)
		return err
	})
	if err != nil {
		return err
	}
	p.Changes++
	lost := there.Lost + back.Lost
	if lost == 0 {
		p.LossFree++
	}
	p.Lost += lost
	return nil
}
