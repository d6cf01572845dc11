// Package session decides what one gateway thinks of another: whether it lives, from the heartbeats that come from it.
//
// It is a state machine without I/O: inputs go into [Session.Step] with the time, what is to be done comes out as a
// list of actions. The model is the asynchronous mode of BFD (RFC 5880): each side sends at the period that both agree
// on, and is suspected after a silence of multiplier times that period.
//
// # Freshness
//
// Each side draws a random session number when it starts, and a challenge. A heartbeat of an unknown session
// begins that session if it echoes the challenge, which is then replaced, so that it can be used once. In a session a
// heartbeat must carry a greater sequence number than the last. Hence what was recorded is never taken for a sign of
// life, whether we, the peer or both have restarted since. A restart costs two heartbeats, which is
// less than a detection time: who restarts quickly is never suspected.
//
// # Stalls
//
// Silence counts only as far as it was listened to: a peer is judged by the time at which its last heartbeat reached the kernel, up to
// the time as of which the socket is known to be empty. So a heartbeat that waits for a stalled process counts.
// When not only the process but the machine stood still, the kernel did not receive either; and who restarted meanwhile could not
// prove itself. Therefore after a long stall of our own every peer is judged anew. A sender that comes out of a stall sends twice, for it cannot afford a loss now.
package session

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// What is not worth a flag, as multiples and parts of other times.
const (
	// A tick that comes later after the last one than this part of a detection time shows that we stalled: from then on
	// every peer is given a whole detection time. Shorter stalls are covered by what the kernel received meanwhile.
	stallParts = 2
	// A heartbeat that is late by this many periods goes out twice.
	repeatPeriods = 2
	// A peer of which nothing was heard for this many periods, about a minute,
	slowAfterPeriods = 3000
	// is sent one heartbeat in so many. Together with the multiplier this stays below the lease.
	slowPeriods = 10
	// What the peer should know at once is sent no sooner than this part of a period after the last heartbeat.
	hurryParts = 4
)

// Config is what a Session is made with.
type Config struct {
	// Secret is random, and new for each Session: numbers that others must not guess are made from it.
	Secret [32]byte
	Self   wire.Self
	// Period is the time between two heartbeats that we wish to send, and Multiplier how many of them may be missing.
	Period     time.Duration
	Multiplier uint8
	// Least is the shortest period at which we wish to receive.
	Least time.Duration
}

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case c.Secret == [32]byte{}:
		return errors.New("secret is not set")
	case c.Period < wire.MinPeriod || c.Period%time.Microsecond != 0:
		return fmt.Errorf("period %s: must be at least %s, in whole microseconds", c.Period, wire.MinPeriod)
	case c.Least < wire.MinPeriod || c.Least > wire.MaxPeriod || c.Least%time.Microsecond != 0:
		return fmt.Errorf("least period %s: must be %s to %s, in whole microseconds", c.Least, wire.MinPeriod, wire.MaxPeriod)
	case c.Multiplier < 3:
		return fmt.Errorf("multiplier %d: must be at least 3", c.Multiplier)
	}
	if slowest := slowPeriods * c.Period; slowest > wire.MaxPeriod || time.Duration(c.Multiplier)*slowest > wire.MaxDetect {
		return fmt.Errorf("period %s times multiplier %d: must be at most %s", c.Period, c.Multiplier, wire.MaxDetect/slowPeriods)
	}
	return c.Self.Validate()
}

// Session is one gateway's side of a session with one peer. It is not safe for concurrent use.
type Session struct {
	config Config
	self   wire.Self
	random *rand.Rand
	now    time.Duration

	// number is our session's. challenges counts those made so far.
	number     uint64
	challenge  uint64
	challenges uint64
	sequence   uint64
	nextSend   time.Duration
	lastSend   time.Duration
	lastTick   time.Duration
	graceUntil time.Duration
	// stirred is when the peer's address last gave us anything authentic.
	stirred time.Duration

	// theirs is the peer's session that we follow, zero before the first. heardSequence is its last.
	theirs        uint64
	heardSequence uint64
	// echo is the peer's latest challenge.
	echo uint64
	// heard is true while the peer is not silent for too long, and hears while it says the same of us.
	heard, hears bool
	heardAt      time.Duration
	detect       time.Duration
	// unheardFrom is from when on it matters that the peer does not hear us: not while a session begins.
	unheardFrom time.Duration
	// theirLeast is the shortest period at which the peer wishes to receive.
	theirLeast time.Duration
	peerSelf   wire.Self

	condition Condition
	since     time.Duration
	// told is what was last reported.
	told    Peer
	actions []Action
}

// New makes a Session at the time now. The configuration must be valid.
func New(c Config, now time.Duration) *Session {
	s := &Session{
		config: c, self: c.Self, now: now, nextSend: now, lastSend: now - c.Period, lastTick: now, stirred: now,
		detect: time.Duration(c.Multiplier) * c.Period,
	}
	s.random = rand.New(rand.NewPCG(s.derive("jitter", 0), s.derive("jitter", 1)))
	s.number = s.derive("session", 0)
	s.challenge = s.derive("challenge", 0)
	return s
}

// derive makes an unguessable number that is not zero.
func (s *Session) derive(what string, n uint64) uint64 {
	b := append(s.config.Secret[:], what...)
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(b, n))
	return max(1, binary.BigEndian.Uint64(sum[:]))
}

// Step takes one input at the time now, a reading of a clock that never goes back, and returns what is to be done, in order.
func (s *Session) Step(now time.Duration, in Input) []Action {
	s.now = max(s.now, now)
	s.actions = nil
	switch in := in.(type) {
	case Receive:
		s.receive(in)
	case Tick:
		s.judge(in)
		s.sendIfDue()
	case SetSelf:
		if s.self != in.Self {
			s.self = in.Self
			s.hurry()
		}
	case Leave:
		s.send(wire.AdminDown)
	}
	return s.actions
}

// Next is when the next Tick is due at the latest.
func (s *Session) Next() time.Duration {
	next := s.nextSend
	if s.heard {
		next = min(next, max(s.heardAt+s.detect, s.graceUntil))
		if !s.hears && s.condition != Unheard {
			next = min(next, s.unheardFrom)
		}
	}
	return next
}

// Peer is what is known now.
func (s *Session) Peer() Peer {
	return Peer{Condition: s.condition, Since: s.since, State: s.state(), Self: s.peerSelf, Session: s.theirs, Heard: s.heardAt, Detect: s.detect}
}

func (s *Session) state() wire.State {
	switch {
	case !s.heard:
		return wire.Down
	case s.hears:
		return wire.Up
	}
	return wire.Init
}

func (s *Session) receive(in Receive) {
	h := in.Heartbeat
	at := min(in.At, s.now)
	s.stir()
	if h.Session != s.theirs {
		// It waits for our answer. Replays make us hurry, too; but the rate is bounded, and it is our peer that gets it.
		s.hurry()
		s.echo = h.Challenge
		if h.Echo != s.challenge {
			s.do(Drop{Unproven})
			return
		}
		s.challenges++
		s.challenge = s.derive("challenge", s.challenges)
		s.theirs, s.heardSequence = h.Session, 0
		s.unheardFrom = at + time.Duration(h.Multiplier)*max(h.Period, s.config.Least)
	}
	if h.Sequence <= s.heardSequence {
		s.do(Drop{Replayed})
		return
	}
	s.do(Accept{})
	s.heardSequence = h.Sequence
	s.echo = h.Challenge
	s.heardAt = max(s.heardAt, at)
	s.detect = time.Duration(h.Multiplier) * max(h.Period, s.config.Least)
	s.theirLeast = h.Least
	s.peerSelf = h.Self
	s.heard = h.State != wire.AdminDown
	s.hears = h.State >= wire.Init && h.Theirs == s.number
	if !s.heard {
		s.become(Left)
		return
	}
	s.classify()
}

// classify finds what we think of a peer that is heard.
func (s *Session) classify() {
	switch {
	case s.hears:
		s.become(Alive)
	case s.now >= s.unheardFrom:
		s.become(Unheard)
	}
}

// judge suspects the peer if it was silent for as long as we listened.
func (s *Session) judge(in Tick) {
	if s.now-s.lastTick > s.detect/stallParts {
		s.graceUntil = s.now + s.detect
	}
	s.lastTick = s.now
	if !s.heard {
		return
	}
	listened := min(in.Listened, s.now)
	if listened >= s.heardAt+s.detect && listened >= s.graceUntil {
		s.heard, s.hears = false, false
		s.become(Suspected)
		return
	}
	s.classify()
}

// become reports the condition if anything is new about it.
func (s *Session) become(c Condition) {
	old := s.condition
	s.condition = c
	var change Change
	switch {
	case c != old:
		s.since = s.now
		change = changeTo(old, c)
	case s.theirs != s.told.Session:
		change = Restarted
	case s.peerSelf != s.told.Self:
		change = SelfChanged
	default:
		return
	}
	falsely := old == Suspected && s.theirs == s.told.Session
	s.told = s.Peer()
	s.do(Report{change, falsely, s.told})
}

func changeTo(old, c Condition) Change {
	switch c {
	case Unheard:
		return BecameUnheard
	case Suspected:
		return BecameSuspected
	case Left:
		return WentAway
	}
	if old == Unknown || old == Left {
		return CameUp
	}
	return Recovered
}

// hurry makes the next heartbeat go out soon.
func (s *Session) hurry() { s.nextSend = min(s.nextSend, s.lastSend+s.config.Period/hurryParts) }

// stir notes that somebody is at the peer's address. If we were slow, we no longer are.
func (s *Session) stir() {
	if s.slow() {
		s.nextSend = min(s.nextSend, s.lastSend+s.config.Period)
	}
	s.stirred = s.now
}

func (s *Session) slow() bool { return s.now-s.stirred > slowAfterPeriods*s.config.Period }

// period is the time until the next heartbeat.
func (s *Session) period() time.Duration {
	p := s.config.Period
	if s.slow() {
		p *= slowPeriods
	}
	return max(p, s.theirLeast)
}

func (s *Session) sendIfDue() {
	if s.now < s.nextSend {
		return
	}
	late := s.now - s.nextSend
	s.send(s.state())
	if late >= repeatPeriods*s.config.Period {
		s.send(s.state())
	}
	// Up to a tenth earlier, so that gateways do not fall into step (RFC 5880 section 6.8.7 wants such a thing).
	p := s.period()
	p -= time.Duration(s.random.Int64N(int64(p) / 10))
	s.nextSend += p
	if late >= p {
		s.nextSend = s.now + p
	}
}

func (s *Session) send(state wire.State) {
	s.sequence++
	s.lastSend = s.now
	h := wire.Heartbeat{
		State: state, Multiplier: s.config.Multiplier, Session: s.number, Challenge: s.challenge, Echo: s.echo,
		Sequence: s.sequence, Period: s.period(), Least: s.config.Least, Self: s.self,
	}
	if s.heard {
		h.Theirs = s.theirs
	}
	s.do(Send{h})
}

func (s *Session) do(a Action) { s.actions = append(s.actions, a) }
