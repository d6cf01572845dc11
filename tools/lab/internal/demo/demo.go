package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/narrate"
	"github.com/hybridgateway/gateway/tools/lab/internal/probe"
)

// Steps is how many steps Run tells of.
const Steps = 7

const (
	// MaxSilence is what the death of the active node may cost: election's --lease-duration. It takes
	// about 0.4 s with calls to EC2 of 100 ms, and on a machine that is busy with other work 1.6 s
	// were seen. A record that merely expires can be taken within it too, so this does not show that
	// the death was noticed by its heartbeats: CheckSuspected does.
	MaxSilence = 3 * time.Second
	// probeInterval of the probes that run while something is changed.
	probeInterval = 10 * time.Millisecond
	// stepTimeout bounds a step.
	stepTimeout = 90 * time.Second
	// stopGrace is what Kubernetes gives the containers of a pod by default.
	stopGrace = 30 * time.Second
)

type demo struct {
	lab     *lab.Lab
	say     *narrate.Narrator
	figures []string
}

// Run shows and checks all steps in a lab of which the gateways are healthy.
// The error says which step failed, and why.
func Run(ctx context.Context, l *lab.Lab, say *narrate.Narrator) error {
	d := &demo{lab: l, say: say}
	for i, s := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"EC2 pods reach on-premises pods", d.cloudToPods},
		{"On-premises pods reach EC2 pods", d.podsToCloud},
		{"The API server calls an admission webhook in an on-premises pod", d.webhook},
		{"A load balancer sends to on-premises pods", d.balancer},
		{"The active gateway's node dies", d.nodeDies},
		{"The node comes back, and a planned hand-over follows", d.handOver},
		{"A hybrid node joins, and another leaves", d.nodesComeAndGo},
	} {
		say.Step(s.title)
		if err := within(ctx, s.run); err != nil {
			return fmt.Errorf("step %d of the demo (%s) failed: %w", i+1, s.title, err)
		}
	}
	say.Title("Measured")
	for _, f := range d.figures {
		say.OK("%s", f)
	}
	return nil
}

func within(ctx context.Context, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	return run(ctx)
}

func (d *demo) figure(format string, args ...any) {
	d.figures = append(d.figures, fmt.Sprintf(format, args...))
}

// probes begin a probe in each direction between an EC2 pod and an on-premises
// pod, and return when both are answered.
func (d *demo) probes(ctx context.Context) (*probe.Pair, error) {
	p, err := StartProbes(ctx, d.lab, probeInterval)
	if err != nil {
		return nil, err
	}
	if err := p.WaitReceived(ctx, 20); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

// StartProbes begins a probe in each direction between an EC2 pod and a pod of
// the first node.
func StartProbes(ctx context.Context, l *lab.Lab, interval time.Duration) (*probe.Pair, error) {
	return StartProbesOf(ctx, l, "ec2-1", interval)
}

// StartProbesOf is StartProbes with the EC2 pod of a name.
func StartProbesOf(ctx context.Context, l *lab.Lab, machine string, interval time.Duration) (*probe.Pair, error) {
	m, err := l.World.Machine(machine)
	if err != nil {
		return nil, err
	}
	h, err := l.Host(m.Name)
	if err != nil {
		return nil, err
	}
	n, err := l.World.Node("node1")
	if err != nil {
		return nil, err
	}
	pod := n.Pods()[0]
	return probe.StartPair(ctx,
		probe.Config{Name: "EC2 pod to on-premises pod", From: h, To: pod.Host, Source: m.IP, Target: pod.IP, Interval: interval},
		probe.Config{Name: "on-premises pod to EC2 pod", From: pod.Host, To: h, Source: pod.IP, Target: m.IP, Interval: interval},
	)
}

// healthy waits for a healthy lab and returns its gateways by role.
func (d *demo) healthy(ctx context.Context) (active, standby *gateway.Gateway, err error) {
	h, err := d.lab.WaitHealthy(ctx)
	if err != nil {
		return nil, nil, err
	}
	return h.Active, h.Standby, nil
}
