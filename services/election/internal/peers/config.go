package peers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/peers/session"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// The defaults, chosen by measurement: docs/election-liveness.md has the tables. A silence of 15 times 18 ms is
// detected within 300 ms, and outlasts a sender that stalls for 200 ms and loses its next two heartbeats.
const (
	DefaultPeriod     = 18 * time.Millisecond
	DefaultMultiplier = 15
)

const (
	// MaxPeers bounds how many addresses are watched at a time.
	MaxPeers = 64

	defaultLeast = 5 * time.Millisecond
	defaultPoll  = 5 * time.Millisecond
	// Keys and names are looked up again this often.
	defaultRefresh = 5 * time.Second
)

// Config is what a Node is made with. Listen, KeyFile, Self and Events must be set.
type Config struct {
	// Listen is the address of this gateway's socket. It should be the node's own address, so that peers see heartbeats come
	// from where they send theirs.
	Listen netip.AddrPort
	// KeyFile holds one or two keys, see ParseKeys. It is read again every few seconds, so that keys can be changed while
	// all gateways run.
	KeyFile string
	Self    wire.Self
	// Static are peers that are always there.
	Static []netip.AddrPort
	// Name is looked up in DNS every few seconds; its addresses are peers, at the port of Listen. Empty for none.
	Name string
	// Resolver looks Name up; nil for the system's.
	Resolver Resolver
	// Period and Multiplier: a peer that was not heard for Multiplier times Period suspects this gateway. Zero for the default.
	Period     time.Duration
	Multiplier uint8
	// Events is called for each change, from Run's goroutine. It must return at once, or heartbeats are late.
	Events func(Event)
	// Log is told what an operator should know; nil for the default.
	Log *slog.Logger

	// For tests: the clock that never jumps, the one that does, and the time between refreshes.
	clock   func() time.Duration
	wall    func() time.Time
	refresh time.Duration
}

// Resolver finds a name's addresses, as net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Event is one change of what is known of a peer.
type Event struct {
	Change session.Change
	// Falsely tells that the peer was suspected until now although it lived.
	Falsely bool
	Peer    Peer
}

// Peer is one address that is watched.
type Peer struct {
	Addr netip.AddrPort
	session.Peer
}

// withDefaults completes the configuration and says what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	if c.Period == 0 {
		c.Period = DefaultPeriod
	}
	if c.Multiplier == 0 {
		c.Multiplier = DefaultMultiplier
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.refresh == 0 {
		c.refresh = defaultRefresh
	}
	switch {
	case !c.Listen.IsValid():
		return c, errors.New("listen address is not set")
	case c.KeyFile == "":
		return c, errors.New("key file is not set")
	case c.Events == nil:
		return c, errors.New("nobody is told of events")
	case len(c.Static) > MaxPeers:
		return c, fmt.Errorf("%d peers: at most %d are watched", len(c.Static), MaxPeers)
	}
	for _, a := range c.Static {
		if !usable(a) {
			return c, fmt.Errorf("peer %s: must be an address and a port", a)
		}
	}
	probe := c.session([32]byte{1}, c.Self)
	return c, probe.Validate()
}

func (c *Config) session(secret [32]byte, self wire.Self) session.Config {
	return session.Config{Secret: secret, Self: self, Period: c.Period, Multiplier: c.Multiplier, Least: min(defaultLeast, c.Period)}
}

func usable(a netip.AddrPort) bool {
	return a.IsValid() && a.Port() != 0 && !a.Addr().IsUnspecified() && !a.Addr().IsMulticast()
}
