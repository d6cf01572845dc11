package peers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/services/election/internal/peers/session"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// Node watches the other gateways on behalf of this one.
type Node struct {
	config   Config
	socket   *socket
	counters counters
	// wake ends the loop's sleep.
	wake chan struct{}
	// lookUp ends the refresher's sleep.
	lookUp chan struct{}

	// What the loop takes over from others, and shows to them.
	mu    sync.Mutex
	self  wire.Self
	keys  []wire.Key
	found [sources][]netip.AddrPort
	shown []Peer

	loop loop
}

// The sources of peers, the surest first: when there are too many, the last are left out.
const (
	fromConfig = iota
	fromRecord
	fromName
	sources
)

// New validates the configuration, reads the keys and opens the socket. Only Run closes it.
func New(c Config) (*Node, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("watch other gateways: %w", err)
	}
	keys, err := readKeys(c.KeyFile)
	if err != nil {
		return nil, err
	}
	s, err := listen(c.Listen)
	if err != nil {
		return nil, err
	}
	n := &Node{
		config: c, socket: s, self: c.Self, keys: keys,
		wake: make(chan struct{}, 1), lookUp: make(chan struct{}, 1),
	}
	n.found[fromConfig] = slices.Clone(c.Static)
	if n.config.clock == nil {
		n.config.clock = boottime.Now
	}
	if n.config.wall == nil {
		n.config.wall = time.Now
	}
	n.loop = loop{node: n, config: &n.config, socket: s, counters: &n.counters, sessions: make(map[netip.AddrPort]*watched)}
	return n, nil
}

// Addr is where the node listens.
func (n *Node) Addr() netip.AddrPort { return n.socket.local() }

// SetSelf changes what the others are told, at once. It fails when a heartbeat cannot carry it; then nothing
// changes. The ID must not change.
func (n *Node) SetSelf(s wire.Self) error {
	err := s.Validate()
	if err == nil && s.ID != n.config.Self.ID {
		err = fmt.Errorf("gateway id %q: must stay %q", s.ID, n.config.Self.ID)
	}
	if err != nil {
		return fmt.Errorf("tell other gateways: %w", err)
	}
	n.mu.Lock()
	n.self = s
	n.mu.Unlock()
	signal(n.wake)
	return nil
}

// SetPeers replaces the peers that were learned from leadership records; those of the configuration and of DNS stay. A peer
// that is no longer named is watched until it falls silent. This gateway's own address may be among them.
func (n *Node) SetPeers(addrs []netip.AddrPort) { n.setFound(fromRecord, addrs) }

func (n *Node) setFound(source int, addrs []netip.AddrPort) {
	n.mu.Lock()
	n.found[source] = slices.Clone(addrs)
	n.mu.Unlock()
	signal(n.wake)
}

// Peers is what is known of all peers, in the order of their addresses.
func (n *Node) Peers() []Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.shown)
}

// Stats counts what went in and out.
func (n *Node) Stats() Stats { return n.counters.read() }

// Run watches until ctx ends, then tells the peers that this gateway leaves, and closes the socket. Any other end is an
// error. It can be called once.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() { n.refresh(ctx) })
	err := n.loop.run(ctx)
	cancel()
	wait.Wait()
	return errors.Join(err, n.socket.close())
}

// refresh keeps the keys and the addresses of the name fresh.
func (n *Node) refresh(ctx context.Context) {
	log := newTeller(n.config.Log)
	ticker := time.NewTicker(n.config.refresh)
	defer ticker.Stop()
	n.resolve(ctx, log)
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.lookUp:
			// A heartbeat from an address not known yet: the name may have it by now.
		case <-ticker.C:
			n.reloadKeys(log)
			log.dropped(n.counters.dropped[BadKey].Load())
		}
		n.resolve(ctx, log)
	}
}

func (n *Node) reloadKeys(log *teller) {
	keys, err := readKeys(n.config.KeyFile)
	log.problem("heartbeat keys cannot be read, the last ones stay in use", err)
	if err != nil {
		return
	}
	n.mu.Lock()
	n.keys = keys
	n.mu.Unlock()
	signal(n.wake)
}

func (n *Node) resolve(ctx context.Context, log *teller) {
	if n.config.Name == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.config.refresh)
	defer cancel()
	network := "ip6"
	if n.config.Listen.Addr().Is4() {
		network = "ip4"
	}
	addrs, err := n.config.Resolver.LookupNetIP(ctx, network, n.config.Name)
	if ctx.Err() == nil || err == nil {
		log.problem("peers cannot be looked up, the last ones stay watched", err)
	}
	if err != nil {
		return
	}
	found := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		found[i] = netip.AddrPortFrom(a.Unmap(), n.Addr().Port())
	}
	slices.SortFunc(found, netip.AddrPort.Compare)
	n.setFound(fromName, found)
}

// signal wakes whoever waits on c; many signals are one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func newSecret() (secret [32]byte) {
	// It never fails (crypto/rand).
	_, _ = rand.Read(secret[:])
	return secret
}

// watched is one peer of the loop.
type watched struct {
	addr    netip.AddrPort
	session *session.Session
	// wanted is false for one that is watched only until it falls silent.
	wanted bool
}
