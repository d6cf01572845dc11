package peers

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/peers/session"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

const (
	// How many datagrams are read before the peers are served again. A flood cannot keep us from sending.
	batch = 2048
	// How often a peer is told that this gateway leaves, and the time between.
	farewells   = 3
	farewellGap = 10 * time.Millisecond
	// A heartbeat of an address not known makes us look the name up, no more often than this.
	lookUpGap = time.Second
)

// loop is what Run's goroutine owns.
type loop struct {
	node     *Node
	config   *Config
	socket   *socket
	counters *counters

	self     wire.Self
	keys     []wire.Key
	found    [sources][]netip.AddrPort
	sessions map[netip.AddrPort]*watched
	// order has the sessions by address.
	order []*watched

	// dry is when the socket was last known to be empty.
	dry        time.Duration
	overflowed uint32
	lastLookUp time.Duration
	in         [wire.Size + 1]byte
	out        []byte
	// changed are the events that nobody was told of yet.
	changed []Event
}

func (l *loop) run(ctx context.Context) error {
	l.dry = l.config.clock()
	l.self = l.config.Self
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			l.leave()
			return nil
		case <-timer.C:
		case <-l.node.wake:
		}
		l.takeOver()
		listened, err := l.readDry()
		if err != nil {
			return err
		}
		next := l.tick(listened)
		timer.Reset(min(next-l.config.clock(), defaultPoll))
	}
}

// takeOver takes over what others have set.
func (l *loop) takeOver() {
	n := l.node
	n.mu.Lock()
	self, found := n.self, n.found
	l.keys = n.keys
	n.mu.Unlock()

	changed := false
	for i := range found {
		changed = changed || !slices.Equal(found[i], l.found[i])
	}
	l.found = found
	if self != l.self {
		changed = changed || self.NodeIP != l.self.NodeIP
		l.self = self
		for _, w := range l.order {
			l.do(w, w.session.Step(l.config.clock(), session.SetSelf{Self: self}))
		}
	}
	if changed {
		l.watch()
	}
}

// watch makes the sessions those of the peers that were found.
func (l *loop) watch() {
	for _, w := range l.order {
		w.wanted = false
	}
	for _, a := range slices.Concat(l.found[:]...) {
		w := l.sessions[a]
		switch {
		case !usable(a) || a.Addr().Is4() != l.socket.ipv4 || l.isOwn(a):
		case w != nil:
			w.wanted = true
		case len(l.sessions) >= MaxPeers && !l.makeRoom():
			l.counters.refused.Add(1)
		default:
			w = &watched{addr: a, wanted: true, session: session.New(l.config.session(newSecret(), l.self), l.config.clock())}
			l.sessions[a] = w
			l.note(session.Watched, w)
		}
	}
	l.sort()
}

func (l *loop) isOwn(a netip.AddrPort) bool {
	own := l.socket.local()
	return a == own || a == netip.AddrPortFrom(l.self.NodeIP, own.Port())
}

// makeRoom ends the watch of one peer that nobody names any longer, if there is one.
func (l *loop) makeRoom() bool {
	for a, w := range l.sessions {
		if !w.wanted && !l.named(a) {
			l.forget(w)
			return true
		}
	}
	return false
}

func (l *loop) forget(w *watched) {
	delete(l.sessions, w.addr)
	l.note(session.Forgotten, w)
}

// note makes it known that a peer is watched, or is no longer.
func (l *loop) note(c session.Change, w *watched) {
	l.changed = append(l.changed, Event{Change: c, Peer: Peer{Addr: w.addr, Peer: w.session.Peer()}})
}

func (l *loop) named(a netip.AddrPort) bool {
	return slices.ContainsFunc(l.found[:], func(found []netip.AddrPort) bool { return slices.Contains(found, a) })
}

func (l *loop) sort() {
	l.order = l.order[:0]
	for _, w := range l.sessions {
		l.order = append(l.order, w)
	}
	slices.SortFunc(l.order, func(a, b *watched) int { return a.addr.Compare(b.addr) })
}

// readDry takes all heartbeats out of the socket and says until when all that came are known.
func (l *loop) readDry() (listened time.Duration, err error) {
	for range batch {
		now := l.config.clock()
		d, ok, err := l.socket.receive(l.in[:])
		if err != nil {
			return 0, err
		}
		if !ok {
			l.dry = now
			return now, nil
		}
		if d.counted {
			l.counters.overflowed.Add(uint64(d.overflowed - l.overflowed))
			l.overflowed = d.overflowed
		}
		now = l.config.clock()
		// The socket is a queue: whatever came before this one has been read.
		listened = l.cameAt(d.stamp, now)
		l.take(d, listened, now)
	}
	return listened, nil
}

// cameAt is the time by our clock at which the kernel received what it stamped by its wall clock. That one may jump; but what
// was read came no sooner than the socket was last empty, and no later than now.
func (l *loop) cameAt(stamp time.Time, now time.Duration) time.Duration {
	if stamp.IsZero() {
		return now
	}
	return max(l.dry, min(now, now-l.config.wall().Sub(stamp)))
}

func (l *loop) take(d datagram, at, now time.Duration) {
	w := l.sessions[d.from]
	if w == nil {
		l.drop(UnknownSource)
		l.perhapsLookUp(d, now)
		return
	}
	h, err := l.parse(d)
	switch {
	case errors.Is(err, wire.ErrSize):
		l.drop(BadSize)
	case errors.Is(err, wire.ErrVersion):
		l.drop(BadVersion)
	case errors.Is(err, wire.ErrKey):
		l.drop(BadKey)
	case err != nil:
		l.drop(BadContent)
	case h.Self.ID == l.self.ID:
		l.drop(OwnID)
	default:
		l.do(w, w.session.Step(now, session.Receive{At: at, Heartbeat: h}))
	}
}

func (l *loop) parse(d datagram) (wire.Heartbeat, error) {
	if d.size > len(l.in) {
		return wire.Heartbeat{}, wire.ErrSize
	}
	return wire.Parse(l.in[:d.size], l.keys)
}

// perhapsLookUp asks for a look-up of the name if the heartbeat from an unknown address is authentic. It is never
// answered, whatever it says: only what was configured is sent anything.
func (l *loop) perhapsLookUp(d datagram, now time.Duration) {
	if l.config.Name == "" || now-l.lastLookUp < lookUpGap {
		return
	}
	l.lastLookUp = now
	if h, err := l.parse(d); err == nil && h.Self.ID != l.self.ID {
		signal(l.node.lookUp)
	}
}

func dropReason(r session.Reason) Reason {
	if r == session.Replayed {
		return Replayed
	}
	return Unproven
}

func (l *loop) drop(r Reason) { l.counters.dropped[r].Add(1) }

// tick judges all peers, sends what is due, and says when it wants to be called again.
func (l *loop) tick(listened time.Duration) (next time.Duration) {
	next = l.config.clock() + defaultPoll
	gone := false
	for _, w := range l.order {
		l.do(w, w.session.Step(l.config.clock(), session.Tick{Listened: listened}))
		if c := w.session.Peer().Condition; !w.wanted && c != session.Alive && c != session.Unheard {
			l.forget(w)
			gone = true
		}
		next = min(next, w.session.Next())
	}
	if gone {
		l.sort()
	}
	l.show()
	// Who is told of a change finds it in what is shown.
	for _, e := range l.changed {
		l.config.Events(e)
	}
	l.changed = l.changed[:0]
	return next
}

// show makes the peers visible to others.
func (l *loop) show() {
	n := l.node
	n.mu.Lock()
	defer n.mu.Unlock()
	n.shown = n.shown[:0]
	for _, w := range l.order {
		n.shown = append(n.shown, Peer{Addr: w.addr, Peer: w.session.Peer()})
	}
}

func (l *loop) do(w *watched, actions []session.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case session.Send:
			l.send(w.addr, a.Heartbeat)
		case session.Report:
			l.changed = append(l.changed, Event{Change: a.Change, Falsely: a.Falsely, Peer: Peer{Addr: w.addr, Peer: a.Peer}})
		case session.Accept:
			l.counters.accepted.Add(1)
		case session.Drop:
			l.drop(dropReason(a.Reason))
		}
	}
}

func (l *loop) send(to netip.AddrPort, h wire.Heartbeat) {
	p, err := h.Append(l.out[:0], l.keys[0])
	if err == nil {
		l.out = p
		err = l.socket.send(p, to)
	}
	if err != nil {
		// Counted, not logged: the next one is due in a moment, and the peer says what matters.
		l.counters.sendFailed.Add(1)
		return
	}
	l.counters.sent.Add(1)
}

// leave says farewell, for as short a time as it takes to have one heard on a lossy path.
func (l *loop) leave() {
	l.takeOver()
	for i := range farewells {
		if i > 0 {
			time.Sleep(farewellGap)
		}
		for _, w := range l.order {
			l.do(w, w.session.Step(l.config.clock(), session.Leave{}))
		}
	}
}
