package app

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/services/election/internal/api"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// errNotAsked is what is known of a service's health at the start.
var errNotAsked = errors.New("it has told nothing yet")

// candidate joins what makes this gateway one that can lead: its tunnel is ready, its
// network interface is known, both are said by services that answer, and route-sync and vtep-registry serve. That
// dataplane serves is the same as that the tunnel is ready.
type candidate struct {
	// nodeIP overrides the tunnel's address when it is valid.
	nodeIP netip.Addr

	tunnel     *api.Tunnel
	tunnelLost error
	iface      *api.Interface
	routesLost error
	// removed says that route-sync has removed what is the gateways' own.
	removed bool
	// routesHealth is why route-sync does not serve, and registry why vtep-registry does not; nil when they do.
	routesHealth, registry error
	// hung has the services that do not answer although they are there, whatever their streams said last.
	hung map[string]error
}

// candidacy is what the term is to know. The error says why this gateway does not stand.
func (c *candidate) candidacy() (term.Candidacy, error) {
	if err := c.missing(); err != nil {
		return term.Candidacy{}, err
	}
	g := term.Gateway{NodeIP: c.tunnel.VTEP, MAC: c.tunnel.MAC, ENI: c.iface.ENI, Zone: c.iface.Zone}
	if c.nodeIP.IsValid() {
		g.NodeIP = c.nodeIP
	}
	if c.routesHealth != nil {
		// The route tables cannot be read: by this gateway, then another one shall lead, or since EC2 is away for all,
		// then somebody has to.
		return term.Candidacy{Reserve: true, Gateway: g}, fmt.Errorf("route-sync does not serve: %w", c.routesHealth)
	}
	return term.Candidacy{Standing: true, Gateway: g}, nil
}

// missing is what keeps this gateway from leading, except that route-sync answers and does not serve.
func (c *candidate) missing() error {
	for _, service := range []string{daemon.Dataplane, daemon.RouteSync, daemon.VtepRegistry} {
		if err := c.hung[service]; err != nil {
			return fmt.Errorf("%s hangs: %w", service, err)
		}
	}
	switch {
	case c.tunnelLost != nil:
		return fmt.Errorf("dataplane does not answer: %w", c.tunnelLost)
	case c.tunnel == nil:
		return errors.New("dataplane has told nothing about the tunnel yet")
	case !c.tunnel.Ready:
		return fmt.Errorf("the tunnel is not ready: %s", c.tunnel.Reason)
	case c.routesLost != nil:
		return fmt.Errorf("route-sync does not answer: %w", c.routesLost)
	case c.routesHealth != nil && !errors.Is(c.routesHealth, api.ErrNotServing):
		return fmt.Errorf("route-sync does not serve: %w", c.routesHealth)
	case c.iface == nil:
		return errors.New("route-sync does not know this gateway's network interface yet")
	case c.registry != nil:
		return fmt.Errorf("vtep-registry does not serve: %w", c.registry)
	}
	return nil
}

// answers takes note of whether a service answers.
func (c *candidate) answers(a api.Answer) {
	if c.hung == nil {
		c.hung = make(map[string]error)
	}
	c.hung[a.Service] = a.Err
}

// followTunnel takes note of dataplane's stream.
func (c *candidate) followTunnel(u feed.Update[api.Tunnel]) {
	c.tunnelLost = u.Lost
	switch {
	case u.Snapshot != nil:
		c.tunnel = nil
		for _, t := range u.Snapshot {
			c.tunnel = &t
		}
	case u.Change != nil && u.Change.Kind == feed.Delete:
		c.tunnel = nil
	case u.Change != nil:
		c.tunnel = &u.Change.Value
	}
}

// followRoutes takes note of route-sync's stream and returns the epoch under which the
// routes of the shard converged, zero when they were removed; told is false when it says nothing about that.
func (c *candidate) followRoutes(u feed.Update[api.Routes], shard string) (epoch uint64, told bool) {
	c.routesLost = u.Lost
	var convergence *api.Convergence
	switch {
	case u.Snapshot != nil:
		c.iface, c.removed = nil, false
		for _, item := range u.Snapshot {
			if item.Interface != nil {
				c.iface = item.Interface
			}
			if item.Convergence != nil && item.Convergence.Shard == shard {
				convergence = item.Convergence
			}
		}
	case u.Change != nil && u.Change.Kind == feed.Delete:
		if u.Change.Key == "interface" {
			c.iface = nil
		}
	case u.Change != nil && u.Change.Value.Interface != nil:
		c.iface = u.Change.Value.Interface
	case u.Change != nil && u.Change.Value.Convergence != nil && u.Change.Value.Convergence.Shard == shard:
		convergence = u.Change.Value.Convergence
	}
	if convergence == nil {
		return 0, false
	}
	if c.removed = convergence.Removed; c.removed {
		return 0, true
	}
	return convergence.Epoch, true
}

// say puts what this gateway is into what the others are told.
func (c *candidate) say(self *wire.Self, standing, leaving bool) {
	self.Health = 0
	if standing && !leaving {
		self.Health |= wire.Standing
	}
	if leaving {
		self.Health |= wire.Leaving
	}
	if c.tunnel != nil && !c.tunnel.Ready {
		self.Health |= wire.PathDead
	}
	if c.tunnel != nil && c.tunnel.Ready {
		self.NodeIP, self.VTEPMAC = c.tunnel.VTEP, c.tunnel.MAC
	}
	if c.nodeIP.IsValid() {
		self.NodeIP = c.nodeIP
	}
	if c.iface != nil {
		self.ENI, self.Zone = c.iface.ENI, c.iface.Zone
	}
}
