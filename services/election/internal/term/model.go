package term

import (
	"net/netip"
	"time"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// Config is what a Term is made with. The durations must satisfy
// 0 < RetryPeriod < RenewDeadline < LeaseDuration.
type Config struct {
	Shard string
	// ID is this gateway's name, unique among the gateways.
	ID string
	// Incarnation is unique to this start of the process, so that its own writes can be told
	// from those of an earlier process, or of another that was given the same ID.
	Incarnation string
	// LeaseDuration is how long others leave a record alone that does not change.
	LeaseDuration time.Duration
	// RenewDeadline is how long a leader may act after the start of its last
	// successful write.
	RenewDeadline time.Duration
	// RetryPeriod is the time between the starts of two writes of the same purpose.
	RetryPeriod time.Duration
	// HandoverTimeout is how long a leader that hands over waits for its successor
	// to converge.
	HandoverTimeout time.Duration
	// UnhealthyGrace is how long a leader that does not stand any more keeps leading although
	// another gateway could.
	UnhealthyGrace time.Duration
	// Blind says that the other gateways are not watched, so that nothing is known of their health.
	Blind bool
	// Preferred is the ID, ENI or zone of the gateway that shall lead whenever it can; empty for none.
	Preferred string
}

// prefers tells whether the gateway is one that shall lead whenever it can.
func (c *Config) prefers(g Gateway) bool {
	return c.Preferred != "" && (c.Preferred == g.ID || c.Preferred == g.ENI || c.Preferred == g.Zone)
}

// maxForeignDuration bounds how long the record of a holder that states a longer lease
// than ours is left alone. It is four times what client-go's callers commonly use, and
// keeps an absurd value from blocking the shard for ever.
const maxForeignDuration = time.Minute

// Gateway is what the record tells about its holder. Only ID is known of a holder that is
// not a gateway, such as a stock client-go contender for the same Lease.
type Gateway struct {
	ID     string
	NodeIP netip.Addr
	ENI    string
	Zone   string
	MAC    netaddr.MAC
}

// Record is the content of the register.
type Record struct {
	// Holder is who holds the record; nobody does when its ID is empty.
	Holder Gateway
	// Epoch counts the record's transitions.
	Epoch uint64
	// Incarnation is the process that wrote the record; empty when a foreign contender did.
	Incarnation string
	// Write counts the writes of an incarnation, so that each is told from its others.
	Write uint64
	// Duration is the lease the holder states.
	Duration time.Duration
	// Renewed is when the holder last wrote, by the holder's own wall clock. It is only
	// ever compared with another Renewed, and not set in records to be written: the
	// register's edge stamps them.
	Renewed time.Time
	// Converged is the epoch under which the holder last found its routes in place;
	// zero when it did not say.
	Converged uint64
	// Handover is set in a record that a gateway gave up on purpose: for anybody when there is no
	// Holder, else for the Holder, which has not written it yet.
	Handover *Handover
}

// Handover says by whom a record was given up.
type Handover struct {
	// From is the ID of the gateway that gave the record up.
	From string
	// Traceparent is the W3C trace context of the hand-over, for the successor's spans to join. Who
	// carries out the write sets it.
	Traceparent string
}

// converged tells whether the record's holder has its routes in place.
func (r Record) converged() bool {
	return r.Holder.ID != "" && r.Converged != 0 && r.Converged >= r.Epoch
}

// sameSignOfLife tells whether nothing in the record shows that its holder wrote it anew. An
// annotation that somebody else added does not.
func (r Record) sameSignOfLife(o Record) bool {
	return r.Holder.ID == o.Holder.ID && r.Epoch == o.Epoch && r.Incarnation == o.Incarnation &&
		r.Write == o.Write && r.Renewed.Equal(o.Renewed)
}

// Leadership is what the other services are told.
type Leadership struct {
	Shard string
	// Epoch never decreases, even when the record was deleted and made anew.
	Epoch uint64
	// Holder is zero when nobody holds the record.
	Holder Gateway
	Role   Role
	// ValidUntil is when this gateway's authority ends; zero unless Role is Active.
	ValidUntil time.Duration
	Cause      Cause
	// Converged is true when the holder recorded that its routes are in place.
	Converged bool
	// Departure says whether this gateway is about to leave.
	Departure Departure
}

// Departure says whether this gateway is about to leave, and what it leaves behind.
type Departure uint8

const (
	// Staying means that it was not told to stop.
	Staying Departure = iota
	// Leaving means that it was, and that another gateway may take over, or it may come back itself.
	Leaving
	// Last means that every other gateway that it ever heard has left by its own word, so that nobody is left to forward
	// anything: what was written outside is to be removed while ValidUntil lasts.
	Last
)

// Role is this gateway's own part in the shard.
type Role uint8

const (
	// Observer does not stand for election; one in reserve may lead all the same.
	Observer Role = iota + 1
	// Standby stands for election and does not hold the record.
	Standby
	// Active holds the record.
	Active
)

func (r Role) String() string {
	switch r {
	case Observer:
		return "observer"
	case Standby:
		return "standby"
	case Active:
		return "active"
	}
	return "invalid"
}

// Cause is why the leadership changed.
type Cause uint8

const (
	// Vacant means that nobody held the record.
	Vacant Cause = iota + 1
	// Expired means that the last holder did not renew in time.
	Expired
	// HandedOver means that the last holder gave the record up on purpose.
	HandedOver
	// Restarted means that the record was this gateway's own, from before it stopped leading.
	Restarted
	// Renewed means that the holder extended its validity.
	Renewed
	// Lost means that this gateway no longer holds the record, or cannot prove that it does.
	Lost
	// Observed means that another gateway holds the record, or nobody does.
	Observed
	// Converged means that the holder recorded that its routes are in place.
	Converged
	// Suspected means that the last holder's heartbeats stopped.
	Suspected
)

func (c Cause) String() string {
	switch c {
	case Vacant:
		return "vacant"
	case Expired:
		return "expired"
	case HandedOver:
		return "handover"
	case Restarted:
		return "restarted"
	case Renewed:
		return "renewed"
	case Lost:
		return "lost"
	case Observed:
		return "observed"
	case Converged:
		return "converged"
	case Suspected:
		return "suspected"
	}
	return "invalid"
}
