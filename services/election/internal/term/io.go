package term

import (
	"fmt"
	"strings"
	"time"
)

// Input is one thing that happened: Observation, Result, Candidacy, Peers, RoutesConverged, RoutesRemoved,
// Transfer, Stop or Tick.
type Input interface{ input() }

// Observation is the content of the register as it was at some version.
type Observation struct {
	// Version orders the states of the register: a greater one is newer. It is the
	// version at which the record was written, or as of which it was absent.
	Version uint64
	// Present is false when there is no record.
	Present bool
	Record  Record
	// Rollback says that the register has truly gone back to an older version, as one
	// does that was restored from a backup; without it older observations are ignored.
	Rollback bool
	// EpochFloor is as great as any epoch that the register has ever held, where the register can
	// tell although there is no record that says it; else zero.
	EpochFloor uint64
}

// Result is what became of a CompareAndSwap.
type Result struct {
	Write   uint64
	Outcome Outcome
	// Version is the new version when Outcome is Swapped.
	Version uint64
}

// Outcome of a compare-and-swap.
type Outcome uint8

const (
	// Swapped means that the record is what was written.
	Swapped Outcome = iota + 1
	// Conflict means that the register was not as expected, perhaps because an earlier try of the
	// same write was applied.
	Conflict
	// Failed means that the write was refused, or never reached the register.
	Failed
	// Unknown means that the write may have been applied, or may be applied later.
	Unknown
)

func (o Outcome) String() string {
	switch o {
	case Swapped:
		return "swapped"
	case Conflict:
		return "conflict"
	case Failed:
		return "failed"
	case Unknown:
		return "unknown"
	}
	return "invalid"
}

// Candidacy says whether this gateway can lead, and what it would put into the record.
// A leader that loses its candidacy keeps leading.
type Candidacy struct {
	Standing bool
	// Reserve is true of a gateway that does not stand and could lead if nobody else did: it takes a record that nobody
	// who stands has taken for a whole LeaseDuration, and its own.
	Reserve bool
	// Gateway is complete when Standing or Reserve is true; its ID is ignored.
	Gateway Gateway
}

// RoutesConverged says that the VPC's routes point to this gateway under the epoch.
type RoutesConverged struct{ Epoch uint64 }

// RoutesRemoved says that nothing is to be removed, or that nobody is there to do so.
type RoutesRemoved struct{}

// Peers is what is known of the other gateways. It replaces what was known before.
type Peers struct {
	// Peers is in the order of their IDs, which are unique.
	Peers []Peer
	// Isolated says that this gateway knows its own network to be at fault. The others' silence
	// then means nothing.
	Isolated bool
}

// Peer is another gateway, as its heartbeats show it.
type Peer struct {
	Gateway Gateway
	// Session is another one after each start of the gateway.
	Session   uint64
	Condition Condition
	// Since is when the condition began. Nothing is decided by it.
	Since time.Duration
	// Heard is when its last heartbeat came, and Detect the silence after which it is Silent.
	Heard, Detect time.Duration
	// Standing is true when it says that it stands for election, Leaving when it was told to stop.
	Standing, Leaving bool
	// Converged is the last epoch under which it found its routes in place.
	Converged uint64
}

// Condition of a peer.
type Condition uint8

const (
	// Hearing means that each of us hears the other.
	Hearing Condition = iota + 1
	// Deaf means that it is heard and does not hear us.
	Deaf
	// Silent means that it was heard, and stopped without a word.
	Silent
	// Left means that it said that it ends.
	Left
)

func (c Condition) String() string {
	switch c {
	case Hearing:
		return "hearing"
	case Deaf:
		return "deaf"
	case Silent:
		return "silent"
	case Left:
		return "left"
	}
	return "invalid"
}

// Transfer asks to hand the record to another gateway and to stay. It is answered by one Transferred.
type Transfer struct {
	// To is the ID of the gateway that shall lead; empty for any that can.
	To string
}

// Stop asks to hand over and end.
type Stop struct{}

// Tick says that a timer set by SetTimer has fired, or just that time has passed.
type Tick struct{}

func (Observation) input()     {}
func (Result) input()          {}
func (Candidacy) input()       {}
func (Peers) input()           {}
func (RoutesConverged) input() {}
func (RoutesRemoved) input()   {}
func (Transfer) input()        {}
func (Stop) input()            {}
func (Tick) input()            {}

// Action is one thing to do: CompareAndSwap, Read, Look, Publish, SetTimer, Transferred or Done.
type Action interface {
	action()
	// String is the action on one line.
	String() string
}

// CompareAndSwap asks to write Record if the register is still at version Expected. The
// result is to be given back as a Result with the record's Write.
type CompareAndSwap struct {
	// Expected is zero when there must be no record.
	Expected uint64
	Record   Record
	Purpose  Purpose
	// Cause is why the record is taken, when Purpose is TakeOver.
	Cause Cause
	// LastSign is when the previous holder last gave a sign of life, when Cause is Expired or
	// Suspected.
	LastSign time.Duration
	// Previous is the record that is replaced; zero when there is none.
	Previous Record
	// Timeout is after what the caller gives up and reports Unknown.
	Timeout time.Duration
}

// Purpose of a write.
type Purpose uint8

const (
	// TakeOver begins a new epoch with this gateway as the holder.
	TakeOver Purpose = iota + 1
	// Renew extends the holder's validity.
	Renew
	// Converge is a renewal that records that the routes are in place.
	Converge
	// Release makes the record vacant.
	Release
	// Give makes another gateway the holder.
	Give
)

func (p Purpose) String() string {
	switch p {
	case TakeOver:
		return "take-over"
	case Renew:
		return "renew"
	case Converge:
		return "converge"
	case Release:
		return "release"
	case Give:
		return "give"
	}
	return "invalid"
}

// Read asks to read the register now and give what it holds as an Observation, even if it
// is not new.
type Read struct{}

// Look asks for Peers as they are now, even if nothing is new.
type Look struct{}

// Publish asks to tell the other services.
type Publish struct{ Leadership Leadership }

// SetTimer asks for a Tick at the given time; it replaces the timer set before. A zero
// At stops it.
type SetTimer struct{ At time.Duration }

// HandoverUnderWay is why a Transfer is refused while another hand-over is under way.
const HandoverUnderWay = "a hand-over is under way"

// Transferred ends a hand-over that does not end this gateway, or answers a Transfer.
type Transferred struct {
	// Refused is true when nothing was tried.
	Refused bool
	// Holder and Epoch are who leads, when Problem is empty.
	Holder Gateway
	Epoch  uint64
	// Problem says why the record was not handed over, or was without the successor's routes
	// being in place in time.
	Problem string
}

// Done says that this gateway has nothing more to do with the record. It comes after Stop
// and is the last action.
type Done struct{ Reason string }

func (CompareAndSwap) action() {}
func (Read) action()           {}
func (Look) action()           {}
func (Publish) action()        {}
func (SetTimer) action()       {}
func (Transferred) action()    {}
func (Done) action()           {}

func (a CompareAndSwap) String() string {
	line := fmt.Sprintf("cas %s expect v%d: %s", a.Purpose, a.Expected, a.Record)
	if a.Purpose == TakeOver {
		line += " because " + a.Cause.String()
	}
	return line
}

func (Read) String() string { return "read" }

func (Look) String() string { return "look" }

func (a Publish) String() string {
	l := a.Leadership
	line := fmt.Sprintf("publish %s epoch %d holder %s", l.Role, l.Epoch, orNobody(l.Holder.ID))
	if l.Converged {
		line += " converged"
	}
	if l.ValidUntil != 0 {
		line += " until " + l.ValidUntil.String()
	}
	switch l.Departure {
	case Leaving:
		line += " leaving"
	case Last:
		line += " the last"
	}
	return line + " because " + l.Cause.String()
}

func (a SetTimer) String() string { return "timer " + a.At.String() }

func (a Transferred) String() string {
	if a.Problem != "" {
		return "not transferred: " + a.Problem
	}
	return fmt.Sprintf("transferred to %s under epoch %d", a.Holder.ID, a.Epoch)
}

func (a Done) String() string { return "done: " + a.Reason }

// String is the record on one line.
func (r Record) String() string {
	parts := []string{orNobody(r.Holder.ID), fmt.Sprintf("epoch %d", r.Epoch)}
	if r.Incarnation != "" {
		parts = append(parts, fmt.Sprintf("write %s/%d", r.Incarnation, r.Write))
	}
	if r.Converged != 0 {
		parts = append(parts, fmt.Sprintf("converged %d", r.Converged))
	}
	if r.Handover != nil {
		parts = append(parts, "handed over by "+r.Handover.From)
	}
	return strings.Join(parts, ", ")
}

func orNobody(id string) string {
	if id == "" {
		return "nobody"
	}
	return id
}
