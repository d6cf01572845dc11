package term

import "time"

const (
	// A standby takes a suspected holder's record this much later for each standby that goes first. It is
	// longer than a write takes, and shorter than it takes to notice a death.
	turn = 50 * time.Millisecond
	// After a suspicion that proved wrong the next one has to last so long, and twice as long after each
	// further one, up to
	firstPenalty = time.Second
	// and until nothing went wrong for
	lastPenalty = time.Minute
	forgiveness = 10 * time.Minute

	// maxFloor bounds the epochs that are believed of peers, so that there is always a next one.
	maxFloor = 1 << 62
)

// others is what is known of the other gateways.
type others struct {
	peers []Peer
	// silent has the peers that are silent, or have left.
	silent map[string]silence
	// led is true once a peer said that it leads or led.
	led bool
	// gone tells of each peer that was ever heard whether it has left by its own word.
	gone map[string]bool
	// fitSince has since when peers are fit.
	fitSince map[string]time.Duration

	// looked is when peers were last asked for, or came unasked; isolated is what they came with.
	looked   time.Duration
	isolated bool

	// accused is the peer whose record was taken on suspicion, and not yet proved to be dead or alive.
	accused Peer
	// penalty is how long a suspicion has to last; set when one was wrong, last at the given time.
	penalty   time.Duration
	wrongedAt time.Duration
}

// silence of a peer.
type silence struct {
	// from is when it begins to count.
	from time.Duration
	// ours is true while it is more likely that we are cut off.
	ours bool
}

func (o *others) find(id string) (Peer, bool) {
	for _, p := range o.peers {
		if p.Gateway.ID == id {
			return p, true
		}
	}
	return Peer{}, false
}

// fit tells whether the peer could lead as far as is known.
func (p *Peer) fit() bool { return p.Condition == Hearing && p.Standing }

func (p *Peer) heard() bool { return p.Condition == Hearing || p.Condition == Deaf }

// accuse notes that the peer's record is taken because it is silent, and returns when it was last heard.
func (o *others) accuse(id string) time.Duration {
	p, _ := o.find(id)
	o.accused = p
	return p.Heard
}

// wrong makes the next suspicions slower: two gateways that hear each other now and then must not take the
// record from each other in turns.
func (o *others) wrong(now time.Duration) {
	if now-o.wrongedAt > forgiveness {
		o.penalty = 0
	}
	o.penalty = min(max(firstPenalty, 2*o.penalty), lastPenalty)
	o.wrongedAt = now
}

// hear takes note of what the heartbeats show.
func (t *Term) hear(in Peers) {
	o := &t.others
	o.peers, o.looked, o.isolated = in.Peers, t.now, in.Isolated
	silent, fit := make(map[string]silence), make(map[string]time.Duration)
	if o.gone == nil {
		o.gone = make(map[string]bool)
	}
	for _, p := range in.Peers {
		o.gone[p.Gateway.ID] = p.Condition == Left
		if p.Converged != 0 && p.Converged < maxFloor {
			t.floor, o.led = max(t.floor, p.Converged), true
		}
		if !p.heard() {
			last, before := o.silent[p.Gateway.ID]
			now := silence{from: t.now, ours: in.Isolated || o.fellTogether(p, t.now)}
			switch {
			case last.ours && !now.ours:
				// The network is back. It may take the peer a moment to be heard again.
				now.from += p.Detect
			case before:
				now.from = last.from
			}
			silent[p.Gateway.ID] = now
		}
		if p.fit() {
			fit[p.Gateway.ID] = t.now
			if since, before := o.fitSince[p.Gateway.ID]; before {
				fit[p.Gateway.ID] = since
			}
		}
	}
	o.silent, o.fitSince = silent, fit
	t.judgeAccusation()
}

// fellTogether tells whether all that were heard as long as p are not heard just now either: then
// it is we who are cut off. With two gateways nobody can tell.
func (o *others) fellTogether(p Peer, now time.Duration) bool {
	others := 0
	for _, q := range o.peers {
		switch {
		case q.Gateway.ID == p.Gateway.ID || q.Condition == Left:
		case q.heard() && now-q.Heard <= q.Detect/2:
			return false
		case q.Heard+q.Detect/2 >= p.Heard:
			others++
		}
	}
	return others > 0
}

// lookAgain asks for the peers once more when the holder's silence was put down to us: a gateway that stalled finds everybody silent, or
// heard long ago, until it has read what came meanwhile, and nothing tells it when a peer is heard that it never missed.
func (t *Term) lookAgain() {
	if at := t.lookAgainAt(); at != 0 && t.now >= at {
		t.others.looked = t.now
		t.do(Look{})
	}
}

// lookAgainAt is when it is to be judged again whose fault the holder's silence is; zero when that is known, or is no matter. A network
// that was down is up again when somebody is heard; until then it may take any time for the first heartbeat to come through.
func (t *Term) lookAgainAt() time.Duration {
	holder, known := t.others.find(t.record.Holder.ID)
	if !known || t.others.isolated || !t.local.Standing || t.leading || t.handing != nil || !t.others.silent[holder.Gateway.ID].ours {
		return 0
	}
	return t.others.looked + holder.Detect/2
}

// judgeAccusation finds out whether the last take-over on suspicion was right. It was when the accused was silent for so long
// that its record would have expired, or comes back as another process.
func (t *Term) judgeAccusation() {
	a := t.others.accused
	if a.Gateway.ID == "" {
		return
	}
	p, _ := t.others.find(a.Gateway.ID)
	switch {
	case t.now-a.Heard > t.config.LeaseDuration, p.Session != a.Session, p.Condition == Left:
		t.others.accused = Peer{}
	case p.heard():
		t.others.accused = Peer{}
		t.others.wrong(t.now)
	}
}

// suspicion tells whether the record may be taken because its holder is silent, and from when on. The holder must have been
// heard since it took the record: of two gateways that do not hear each other at all each would otherwise take
// it back from the other for ever.
func (t *Term) suspicion() (at time.Duration, ok bool) {
	holder, known := t.others.find(t.record.Holder.ID)
	silence := t.others.silent[holder.Gateway.ID]
	if !known || holder.heard() || silence.ours || holder.Heard <= t.reigned {
		return 0, false
	}
	at = silence.from
	if t.now-t.others.wrongedAt <= forgiveness {
		at += t.others.penalty
	}
	for _, p := range t.others.peers {
		if p.fit() && t.goesBefore(p.Gateway) {
			at += turn
		}
	}
	return at, true
}

// goesBefore orders the standbys: the preferred ones come first, others go by their names.
func (t *Term) goesBefore(g Gateway) bool {
	if its, ours := t.config.prefers(g), t.config.prefers(t.self()); its != ours {
		return its
	}
	return g.ID < t.config.ID
}

// self is this gateway, as far as it is known.
func (t *Term) self() Gateway {
	g := t.local.Gateway
	g.ID = t.config.ID
	return g
}
