package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/probe"
	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

// Die cuts a gateway's power: first the link goes dead, so that nothing the
// dying processes say gets out, then they are gone.
func Die(l *lab.Lab, g *gateway.Gateway) error {
	return errors.Join(l.World.PowerOff(g.Name), g.Kill())
}

// Revive boots a dead gateway and starts its processes.
func Revive(l *lab.Lab, g *gateway.Gateway) error {
	if err := l.World.PowerOn(g.Name); err != nil {
		return err
	}
	return g.Start()
}

func (d *demo) nodeDies(ctx context.Context) error {
	active, standby, err := d.healthy(ctx)
	if err != nil {
		return err
	}
	d.say.Why("%s leads, %s stands by; a probe sends a packet every %s in each direction. Now %s loses its power: no goodbye, packets to it vanish.",
		active.Name, standby.Name, ms(probeInterval), active.Name)
	pair, err := d.probes(ctx)
	if err != nil {
		return err
	}
	died := time.Now()
	if err := Die(d.lab, active); err != nil {
		pair.Stop()
		return err
	}
	turn := "to turn the VPC's routes and the nodes' tunnels to itself"
	if d.lab.Options.VTEPMode == lab.Floating {
		turn = "to turn the VPC's routes to itself, that of the nodes' VTEP among them"
	}
	d.say.Doing("%s is off; waiting for %s to notice, to take the record, %s", active.Name, standby.Name, turn)
	err = errors.Join(WaitActive(ctx, d.lab, standby), pair.WaitReceived(ctx, 20))
	there, back := pair.Stop()
	if err != nil {
		return err
	}
	for _, r := range []probe.Result{there, back} {
		d.say.OK("%s: silent for %s, %d of %d packets lost", r.Name, ms(r.Silence), r.Lost, r.Sent)
		if r.Silence > MaxSilence {
			return fmt.Errorf("%s was silent for %s; at most %s is allowed", r.Name, ms(r.Silence), ms(MaxSilence))
		}
	}
	if err := CheckSuspected(ctx, d.lab, standby.Name, lab.DefaultShard, died); err != nil {
		return err
	}
	d.figure("active node dies: silence %s, %s back (allowed: %s)", ms(there.Silence), ms(back.Silence), ms(MaxSilence))
	d.say.Why("What happened, from the trace that all services share; the clock starts with the power cut:")
	return d.timeline(ctx, standby, died)
}

// timeline prints how a gateway took over after a moment.
func (d *demo) timeline(ctx context.Context, by *gateway.Gateway, since time.Time) error {
	lines, err := Timeline(ctx, d.lab, by.Name, since)
	if err != nil {
		return err
	}
	for _, line := range lines {
		d.say.Line(line.String())
	}
	return nil
}

// WaitActive waits until a gateway leads and has converged.
func WaitActive(ctx context.Context, l *lab.Lab, g *gateway.Gateway) error {
	return lab.Poll(ctx, g.Name+" to lead and to converge", func(ctx context.Context) error {
		s, err := l.Operator.Status(ctx, g)
		if err != nil {
			return err
		}
		if r := gateway.RoleIn(s); !r.Active || !r.Converged {
			return fmt.Errorf("its state is %+v", r)
		}
		return nil
	})
}

// Timeline makes the lines of the change of leaders that a gateway carried out
// after a moment, in a lab that is not sharded. It waits for the spans to arrive.
func Timeline(ctx context.Context, l *lab.Lab, gatewayName string, since time.Time) ([]timeline.Line, error) {
	root, err := Takeover(ctx, l, gatewayName, lab.DefaultShard, since)
	if err != nil {
		return nil, err
	}
	// Each service sends its spans when it has some; the last are not later
	// than this.
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	passed := []string{gateway.Election, gateway.RouteSync}
	if l.Options.VTEPMode == lab.Published {
		passed = append(passed, gateway.VtepRegistry)
	}
	all, err := l.Traces.WaitTrace(ctx, root.TraceID, func(spans []timeline.Span) bool { return have(spans, passed) })
	if err != nil {
		return nil, err
	}
	return timeline.Of(all, since), nil
}

// have tells whether a trace has spans of all of the services.
func have(spans []timeline.Span, services []string) bool {
	return !slices.ContainsFunc(services, func(name string) bool {
		return !slices.ContainsFunc(spans, func(s timeline.Span) bool { return s.Service == name })
	})
}

func (d *demo) handOver(ctx context.Context) error {
	dead, err := d.dead()
	if err != nil {
		return err
	}
	d.say.Doing("%s boots: an empty kernel, five processes", dead.Name)
	booted := time.Now()
	if err := Revive(d.lab, dead); err != nil {
		return err
	}
	active, standby, err := d.healthy(ctx)
	if err != nil {
		return err
	}
	d.say.OK("%s is back after %s, with its tunnel programmed, and stands by: a leader is not replaced without need", standby.Name, ms(time.Since(booted)))
	d.say.Why("Now a rolling update: all five processes of %s, which leads, get SIGTERM at the same time. It hands the record to %s, and goes when that one's routes are in place. The kernel keeps forwarding all the time.",
		active.Name, standby.Name)
	pair, err := d.probes(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := d.rollingUpdate(ctx, active, standby, pair)
	there, back := pair.Stop()
	if err != nil {
		return err
	}
	for _, r := range []probe.Result{there, back} {
		d.say.OK("%s: %d packets sent, %d lost, longest silence %s", r.Name, r.Sent, r.Lost, ms(r.Silence))
		if r.Lost > 0 {
			return fmt.Errorf("%s lost %d packets; a planned hand-over must lose none", r.Name, r.Lost)
		}
	}
	d.say.Why("From the trace; the clock starts with SIGTERM:")
	if err := d.timeline(ctx, standby, began); err != nil {
		return err
	}
	d.figure("planned hand-over (rolling update): %d packets lost, %d back; over after %s", there.Lost, back.Lost, ms(took))
	return nil
}

// rollingUpdate ends and starts the active gateway under a probe, and returns
// how long the end took.
func (d *demo) rollingUpdate(ctx context.Context, active, standby *gateway.Gateway, pair *probe.Pair) (time.Duration, error) {
	began := time.Now()
	if err := active.Terminate(stopGrace); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if err := WaitActive(ctx, d.lab, standby); err != nil {
		return 0, err
	}
	d.say.OK("%s has handed over and ended in %s; %s leads", active.Name, ms(took), standby.Name)
	d.say.Doing("%s is started again, as the new version would be", active.Name)
	if err := active.Start(); err != nil {
		return 0, err
	}
	if _, _, err := d.healthy(ctx); err != nil {
		return 0, err
	}
	return took, pair.WaitReceived(ctx, 20)
}

// dead is the gateway that step 5 has killed.
func (d *demo) dead() (*gateway.Gateway, error) {
	for _, g := range d.lab.Gateways {
		if !g.Process(gateway.Election).Running() {
			return g, nil
		}
	}
	return nil, errors.New("no gateway is dead")
}

// ms shows a duration as people want to see it here.
func ms(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
