package session

import (
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// Condition is what we think of the peer.
type Condition uint8

const (
	// Unknown: no two-way contact yet. It says nothing about the peer; it may not exist, or not know us.
	Unknown Condition = iota
	// Alive: each of us hears the other.
	Alive
	// Unheard: we hear the peer, and it says that it does not hear us. It lives, and may suspect us.
	Unheard
	// Suspected: it was heard and fell silent.
	Suspected
	// Left: it said that it ends.
	Left
)

func (c Condition) String() string {
	switch c {
	case Unknown:
		return "unknown"
	case Alive:
		return "alive"
	case Unheard:
		return "unheard"
	case Suspected:
		return "suspected"
	case Left:
		return "left"
	}
	return "invalid"
}

// Input is one thing that happened: Receive, Tick, SetSelf or Leave.
type Input interface{ input() }

// Receive is an authenticated heartbeat that came from the peer's address.
type Receive struct {
	// At is when the kernel received it, no later than the time of the step.
	At        time.Duration
	Heartbeat wire.Heartbeat
}

// Tick says that time has passed. It is due at Next at the latest, and shall come several times in a period: ticks that
// do not come tell that we stalled.
type Tick struct {
	// Listened: all heartbeats that the kernel received until then were given to Step. Zero when unknown.
	Listened time.Duration
}

// SetSelf changes what the peer is told. Self must be valid.
type SetSelf struct{ Self wire.Self }

// Leave tells the peer that we end. It may be repeated, lest it is lost; no other input may follow.
type Leave struct{}

func (Receive) input() {}
func (Tick) input()    {}
func (SetSelf) input() {}
func (Leave) input()   {}

// Action is one thing to do: Send, Report, Accept or Drop.
type Action interface{ action() }

// Send asks to send a heartbeat to the peer.
type Send struct{ Heartbeat wire.Heartbeat }

// Report tells what changed.
type Report struct {
	Change Change
	// Falsely tells that the peer was suspected until now although it lived: it is heard again, as the
	// same process.
	Falsely bool
	Peer    Peer
}

// Accept tells that a heartbeat was taken for a sign of life.
type Accept struct{}

// Drop tells that a heartbeat was ignored.
type Drop struct{ Reason Reason }

func (Send) action()   {}
func (Report) action() {}
func (Accept) action() {}
func (Drop) action()   {}

// Reason for ignoring an authentic heartbeat.
type Reason uint8

const (
	// Replayed: its sequence number is not greater than the last.
	Replayed Reason = iota + 1
	// Unproven: it is of another session and does not echo our challenge. Each start begins with one or two of these.
	Unproven
)

func (r Reason) String() string {
	switch r {
	case Replayed:
		return "replayed"
	case Unproven:
		return "unproven"
	}
	return "invalid"
}

// Peer is what is known of a peer.
type Peer struct {
	Condition Condition
	// State is our side of the session, as in BFD.
	State wire.State
	// Self is what the peer last said about itself; zero until it was heard.
	Self wire.Self
	// Session is another one after each start of the peer.
	Session uint64
	// Since is when the condition began.
	Since time.Duration
	// Heard is when the last heartbeat came.
	Heard time.Duration
	// Detect is the silence after which the peer is suspected.
	Detect time.Duration
}

// Change is why a Report is made.
type Change uint8

const (
	// CameUp: the peer is Alive for the first time, or again after it left.
	CameUp Change = iota + 1
	// BecameSuspected: it fell silent.
	BecameSuspected
	// BecameUnheard: it does not hear us any longer, while we hear it.
	BecameUnheard
	// Recovered: it is Alive after it was Suspected or Unheard, in the same session or, after a restart, in another.
	Recovered
	// Restarted: its process was replaced so quickly that it was never suspected.
	Restarted
	// WentAway: it said that it ends.
	WentAway
	// SelfChanged: it says something new about itself.
	SelfChanged
	// Watched: its address is watched from now on. A Session never reports it.
	Watched
	// Forgotten: its address is not watched any longer. A Session never reports it.
	Forgotten
)

func (c Change) String() string {
	switch c {
	case CameUp:
		return "up"
	case BecameSuspected:
		return "suspected"
	case BecameUnheard:
		return "unheard"
	case Recovered:
		return "recovered"
	case Restarted:
		return "restarted"
	case WentAway:
		return "left"
	case SelfChanged:
		return "changed"
	case Watched:
		return "watched"
	case Forgotten:
		return "forgotten"
	}
	return "invalid"
}
