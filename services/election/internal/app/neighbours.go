package app

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/api"
	"github.com/hybridgateway/gateway/services/election/internal/config"
	"github.com/hybridgateway/gateway/services/election/internal/peers"
	"github.com/hybridgateway/gateway/services/election/internal/peers/session"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// maxMet is how many past holders' addresses are watched besides the configured ones.
const maxMet = 8

// neighbours are the other gateways, watched by heartbeats. A nil one watches nobody.
type neighbours struct {
	node    *peers.Node
	port    uint16
	log     *slog.Logger
	metrics *peerMetrics
	// link is the interface by which they are heard.
	link peers.Link
	// changed has a channel per loop, which holds a signal after something changed.
	changed []chan struct{}

	mu sync.Mutex
	// self is what the others are told.
	self wire.Self
	// met are where holders of the record were, the latest first.
	met []netip.AddrPort
	// untold is why the others could not be told what this gateway is.
	untold string
}

// newNeighbours opens the socket. It returns nil when no key is configured.
func newNeighbours(c config.Config, log *slog.Logger, m *peerMetrics) (*neighbours, error) {
	if c.PeerKeyFile == "" {
		log.Info("other gateways are not watched, since there is no --peer-key-file: a dead one is noticed when its record expires")
		return nil, nil
	}
	if len(c.Peers) == 0 && c.PeerName == "" {
		log.Warn("neither --peers nor --peer-name is given: another gateway is watched only once it has led, and is no successor before")
	}
	n := &neighbours{
		port: c.PeerListenAddr().Port(), log: log, metrics: m,
		self: wire.Self{ID: c.GatewayID},
	}
	var err error
	n.node, err = peers.New(peers.Config{
		Listen:     c.PeerListenAddr(),
		KeyFile:    c.PeerKeyFile,
		Self:       n.self,
		Static:     c.PeerAddrs(),
		Name:       c.PeerName,
		Period:     c.PeerPeriod,
		Multiplier: c.PeerMultiplier,
		Events:     n.event,
		Log:        log,
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// run watches until ctx ends.
func (n *neighbours) run(ctx context.Context) error {
	if n == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	if err := errors.Join(n.metrics.observe(n.node), n.node.Run(ctx)); err != nil {
		return err
	}
	return ctx.Err()
}

// event is called by the goroutine that sends and receives heartbeats, and must not keep it.
func (n *neighbours) event(e peers.Event) {
	level := slog.LevelInfo
	switch e.Change {
	case session.SelfChanged, session.Watched, session.Forgotten:
		level = slog.LevelDebug
	default:
		n.metrics.changed(e)
	}
	n.log.Log(context.Background(), level, "what is known of another gateway changed",
		keyPeer, e.Peer.Self.ID, keyAddress, e.Peer.Addr.String(), keyChange, e.Change.String())
	for _, c := range n.changed {
		select {
		case c <- struct{}{}:
		default: // the loop will look at all of them
		}
	}
}

// subscribe returns where a loop waits for changes. It is to be called before run.
func (n *neighbours) subscribe() <-chan struct{} {
	if n == nil {
		return nil
	}
	c := make(chan struct{}, 1)
	n.changed = append(n.changed, c)
	return c
}

// sayConverged tells the others under which epoch this gateway's routes are in place.
func (n *neighbours) sayConverged(shard string, epoch uint64) {
	n.say(func(s *wire.Self) {
		for i := range s.Converged {
			if name := s.Converged[i].Name; name == shard || name == "" {
				s.Converged[i] = wire.Shard{Name: shard, Epoch: epoch}
				return
			}
		}
	})
}

// say tells the others what this gateway is.
func (n *neighbours) say(change func(*wire.Self)) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	self := n.self
	change(&self)
	if self == n.self {
		return
	}
	n.self = self
	problem := ""
	if err := n.node.SetSelf(self); err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != n.untold {
		n.log.Warn("the other gateways cannot be told what this one is", telemetry.KeyError, problem)
	}
	n.untold = problem
}

// meet watches where a holder of the record is, in case nobody else names it.
func (n *neighbours) meet(holder term.Gateway) {
	if n == nil || !holder.NodeIP.IsValid() {
		return
	}
	addr := netip.AddrPortFrom(holder.NodeIP, n.port)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.met) > 0 && n.met[0] == addr {
		return
	}
	n.met = slices.DeleteFunc(n.met, func(a netip.AddrPort) bool { return a == addr })
	n.met = slices.Insert(n.met, 0, addr)
	n.met = n.met[:min(len(n.met), maxMet)]
	n.node.SetPeers(n.met)
}

// look is what is known of the others now, for the term and for the other services. A nil one knows nobody.
func (n *neighbours) look(shard string) (term.Peers, []api.Peer) {
	if n == nil {
		return term.Peers{}, nil
	}
	n.mu.Lock()
	own := n.self.NodeIP
	n.mu.Unlock()
	watched := n.node.Peers()
	known := peersOf(watched, shard)
	silent := func(p term.Peer) bool { return p.Condition == term.Silent }
	switch {
	case !own.IsValid():
	case !slices.ContainsFunc(known.Peers, silent):
		n.link.Learn(own) // while nobody waits for it
	default:
		if device, down := n.link.Down(own); down {
			known.Isolated = true
			n.log.Warn("other gateways are silent because this node's network interface is down", keyDevice, device)
		}
	}
	return known, toldOf(known, watched)
}

// peersOf is what the addresses that are watched say about gateways. A gateway that moved may be known by several
// addresses; the one that is heard best counts.
func peersOf(watched []peers.Peer, shard string) term.Peers {
	best := make(map[string]term.Peer)
	for _, w := range watched {
		c := conditionOf(w.Condition)
		if c == 0 {
			continue
		}
		p := term.Peer{
			Gateway: term.Gateway{ID: w.Self.ID, NodeIP: w.Self.NodeIP, ENI: w.Self.ENI, Zone: w.Self.Zone, MAC: w.Self.VTEPMAC},
			Session: w.Session, Condition: c, Since: w.Since, Heard: w.Heard, Detect: w.Detect,
			Standing:  w.Self.Health.Has(wire.Standing) && w.Self.Health&(wire.Leaving|wire.PathDead) == 0,
			Leaving:   w.Self.Health.Has(wire.Leaving),
			Converged: w.Self.Epoch(shard),
		}
		last, known := best[w.Self.ID]
		if !known || c < last.Condition || c == last.Condition && p.Heard > last.Heard {
			best[w.Self.ID] = p
		}
	}
	var all term.Peers
	for _, p := range best {
		all.Peers = append(all.Peers, p)
	}
	slices.SortFunc(all.Peers, func(a, b term.Peer) int { return strings.Compare(a.Gateway.ID, b.Gateway.ID) })
	return all
}

// toldOf is what the other services are told: the gateways that are known, and the addresses from which nothing was ever heard.
func toldOf(known term.Peers, watched []peers.Peer) []api.Peer {
	var told []api.Peer
	for _, p := range known.Peers {
		t := api.Peer{Gateway: p.Gateway, Condition: p.Condition, Since: p.Since, Standing: p.Standing, Converged: p.Converged}
		if p.Condition == term.Silent || p.Condition == term.Left {
			t.Since = p.Heard
		}
		told = append(told, t)
	}
	for _, w := range watched {
		if conditionOf(w.Condition) == 0 {
			told = append(told, api.Peer{Gateway: term.Gateway{NodeIP: w.Addr.Addr()}})
		}
	}
	return told
}

// conditionOf is zero for a peer that was never heard.
func conditionOf(c session.Condition) term.Condition {
	switch c {
	case session.Alive:
		return term.Hearing
	case session.Unheard:
		return term.Deaf
	case session.Suspected:
		return term.Silent
	case session.Left:
		return term.Left
	}
	return 0
}
