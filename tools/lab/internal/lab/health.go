package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// pollEvery is how often states are asked for.
const pollEvery = 20 * time.Millisecond

// Poll calls try until it succeeds; when ctx ends first, the error carries the
// last of try's.
func Poll(ctx context.Context, what string, try func(context.Context) error) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %w", what, last, ctx.Err())
		case <-tick.C:
		}
	}
}

// Health is what a healthy lab looks like.
type Health struct {
	Active, Standby *gateway.Gateway
	Epoch           uint64
	Statuses        map[string]*adminv1.Status // by gateway
}

// WaitHealthy waits until one gateway is active and converged, every other one
// stands by, all know all nodes, and everything outside says so too: EC2's
// route tables and the nodes' VTEP maps.
func (l *Lab) WaitHealthy(ctx context.Context) (*Health, error) {
	var h *Health
	err := Poll(ctx, "a healthy lab", func(ctx context.Context) (err error) {
		h, err = l.Health(ctx)
		return err
	})
	return h, err
}

// Health looks once; the error says what is not as it should be.
func (l *Lab) Health(ctx context.Context) (*Health, error) {
	h := &Health{Statuses: map[string]*adminv1.Status{}}
	for _, g := range l.Gateways {
		s, err := l.Operator.Status(ctx, g)
		if err != nil {
			return nil, err
		}
		h.Statuses[g.Name] = s
		if err := errors.Join(l.checkGateway(g, s), l.checkPeers(s)); err != nil {
			return nil, fmt.Errorf("gateway %s: %w", g.Name, err)
		}
		role := gateway.RoleIn(s)
		switch {
		case role.Active && h.Active != nil:
			return nil, fmt.Errorf("both %s and %s are active", h.Active.Name, g.Name)
		case role.Active && !role.Converged:
			return nil, fmt.Errorf("gateway %s is active, and has not converged in epoch %d", g.Name, role.Epoch)
		case role.Active:
			h.Active, h.Epoch = g, role.Epoch
		case role.Standby:
			h.Standby = g
		default:
			return nil, fmt.Errorf("gateway %s neither leads nor stands by", g.Name)
		}
	}
	if h.Active == nil {
		return nil, errors.New("no gateway is active")
	}
	for name, s := range h.Statuses {
		if r := gateway.RoleIn(s); r.Holder != h.Active.Name || r.Epoch != h.Epoch {
			return nil, fmt.Errorf("gateway %s takes %q for the holder in epoch %d, not %s in %d", name, r.Holder, r.Epoch, h.Active.Name, h.Epoch)
		}
	}
	return h, errors.Join(l.checkRoutes(h.Active, l.World.RouteTables()), l.checkFloating(h.Active), l.checkNodes(h.Active))
}

// checkGateway tells what is wrong with one gateway, whoever leads.
func (l *Lab) checkGateway(g *gateway.Gateway, s *adminv1.Status) error {
	for _, svc := range s.GetServices() {
		if !svc.GetConnected() {
			return fmt.Errorf("admin has no stream from %s: %s", svc.GetName(), svc.GetError())
		}
	}
	if len(s.GetTunnels()) == 0 {
		return errors.New("no tunnel yet")
	}
	want := map[string]bool{}
	for _, n := range l.World.Nodes() {
		want[n.Name] = true
	}
	for _, v := range s.GetVteps() {
		if v.GetState() == vtepsv1.State_STATE_ADMITTED {
			delete(want, v.GetNode())
		}
	}
	for name := range want {
		return fmt.Errorf("node %s is no VTEP yet", name)
	}
	for _, t := range s.GetTunnels() {
		if !t.GetReady() {
			return fmt.Errorf("tunnel %s is not ready: %s", t.GetDevice(), t.GetReason())
		}
		if int(t.GetVteps()) < len(l.World.Nodes()) {
			return fmt.Errorf("tunnel %s has %d VTEPs of %d", t.GetDevice(), t.GetVteps(), len(l.World.Nodes()))
		}
	}
	for _, r := range s.GetRoutes() {
		if r.GetState() == routesv1.State_STATE_ERROR || r.GetState() == routesv1.State_STATE_CONFLICT {
			return fmt.Errorf("route %s in %s: %s", r.GetDestination(), r.GetTableId(), r.GetDetail())
		}
	}
	return g.Failure()
}

// checkPeers tells which other gateway is not heard, or not heard to stand.
func (l *Lab) checkPeers(s *adminv1.Status) error {
	for _, shard := range s.GetShards() {
		heard := 0
		for _, p := range shard.GetPeers() {
			if c := p.GetPeer().GetCondition(); c != leadershipv1.PeerCondition_PEER_CONDITION_HEARD {
				return fmt.Errorf("what it knows of gateway %s is %s", p.GetPeer().GetGateway().GetId(), c)
			}
			// Only to one that stands the leadership can be handed over.
			if !p.GetPeer().GetStanding() {
				return fmt.Errorf("it has not heard that gateway %s stands", p.GetPeer().GetGateway().GetId())
			}
			heard++
		}
		if others := len(l.Gateways) - 1; heard < others {
			return fmt.Errorf("it hears %d of %d other gateways", heard, others)
		}
	}
	return nil
}

// checkRoutes tells which route of the tables at EC2 does not lead to the gateway.
func (l *Lab) checkRoutes(active *gateway.Gateway, tables []string) error {
	m, err := l.World.Machine(active.Name)
	if err != nil {
		return err
	}
	snapshot := l.EC2.Snapshot()
	for _, id := range tables {
		table, ok := snapshot.Table(id)
		if !ok {
			return fmt.Errorf("no route table %s", id)
		}
		for _, dst := range l.World.PodNetworks() {
			r, ok := table.Route(dst)
			if !ok {
				return fmt.Errorf("route table %s has no route to %s", id, dst)
			}
			if r.Target.ID != m.ENI {
				return fmt.Errorf("route table %s sends %s to %s, not to %s", id, dst, r.Target.ID, m.ENI)
			}
		}
	}
	return nil
}

// checkNodes tells which node does not send to the gateway.
func (l *Lab) checkNodes(active *gateway.Gateway) error {
	for _, n := range l.World.Nodes() {
		ok := slices.ContainsFunc(n.VTEPs(), func(e onprem.Endpoint) bool {
			return e.CIDR == world.VPCNetwork && e.TunnelEndpoint == l.VTEP(active)
		})
		if !ok {
			return fmt.Errorf("node %s does not send to %s (%s): its VTEP map is %v", n.Name, active.Name, l.VTEP(active), n.VTEPs())
		}
	}
	return nil
}

// Heal puts everything back as it should be after a test: power, links,
// processes; and waits until the lab is healthy.
func (l *Lab) Heal(ctx context.Context) (*Health, error) {
	if err := l.World.HealAll(); err != nil {
		return nil, err
	}
	l.SetEC2Latency(l.Options.EC2Latency)
	for _, g := range l.Gateways {
		if err := g.Start(); err != nil {
			return nil, err
		}
	}
	return l.WaitHealthy(ctx)
}

// Gateway finds a gateway by name.
func (l *Lab) Gateway(name string) (*gateway.Gateway, error) {
	for _, g := range l.Gateways {
		if g.Name == name {
			return g, nil
		}
	}
	return nil, fmt.Errorf("no gateway %q in the lab", name)
}
