package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// GatewayTag marks, with the value "true", the network interfaces of gateways.
const GatewayTag = "eks-hybrid-nodes-gateway"

// Key names a route: its table's id and its destination, masked.
type Key struct {
	Table       string
	Destination netip.Prefix
}

func (k Key) String() string { return k.Table + " " + k.Destination.String() }

// Kind is what sort of thing a route points to.
type Kind uint8

const (
	// Absent means: there is no such route.
	Absent Kind = iota
	// Interface means: a network interface.
	Interface
	// Other means: anything else, such as a transit gateway or a peering connection.
	Other
)

// Route is a route as EC2 tells it. The zero Route says that there is none.
type Route struct {
	Kind Kind
	// Target is the AWS id of what the route points to.
	Target string
	// Instance is the instance that the interface is attached to, empty when it is not known.
	Instance string
	// Blackhole says that the target cannot take traffic.
	Blackhole bool
}

// Table is what a route table says about destinations; what is not in it has no route.
type Table map[netip.Prefix]Route

// Leadership is what election says about one shard.
type Leadership struct {
	Shard string
	// Epoch grows with each transition of the record; 0 is none.
	Epoch uint64
	// Active says that this gateway holds the record, until ValidUntil.
	Active     bool
	ValidUntil time.Duration
	// Holder is the network interface of the gateway that holds the record, if it is known.
	Holder string
	// Converged says that the holder's routes are in place.
	Converged bool
}

// Outcome says how a call to EC2 ended.
type Outcome uint8

const (
	// Done means: it took effect.
	Done Outcome = iota
	// NoRoute means: ReplaceRoute found no route to replace.
	NoRoute
	// Exists means: CreateRoute found a route.
	Exists
	// NoTable means: the route table does not exist.
	NoTable
	// NoInterface means: the network interface does not exist.
	NoInterface
	// Throttled means: EC2 refuses for now; nothing happened.
	Throttled
	// Denied means: the credentials lack a permission.
	Denied
	// Quota means: the table is full.
	Quota
	// Unknown means: no answer came, so it may have taken effect or not.
	Unknown
	// Failed means: any other error; nothing happened.
	Failed
	// Fenced means: it was not sent, since leadership had ended.
	Fenced
)

func (o Outcome) String() string {
	names := [...]string{"ok", "no-route", "exists", "no-table", "no-interface", "throttled", "denied", "quota", "unknown", "failed", "fenced"}
	if int(o) < len(names) {
		return names[o]
	}
	return "invalid"
}

// Failure tells whether the outcome is an error, rather than success or a step of the procedure.
func (o Outcome) Failure() bool {
	switch o {
	case Done, NoRoute, Exists, Fenced:
		return false
	}
	return true
}

// Result is how a call ended, with one line for people when it failed.
type Result struct {
	Outcome Outcome
	Detail  string
}

// ReadResult is what a read of route tables brought.
type ReadResult struct {
	// Tables are those that were read, which may be some even when Result is a failure.
	Tables map[string]Table
	// Absent are those that EC2 does not have.
	Absent []string
	Result
}

// Owner says what a lookup found out about a network interface.
type Owner struct {
	// Exists is false when EC2 does not know the interface.
	Exists bool
	// Gateway is true when it carries GatewayTag.
	Gateway bool
}

// Action is one thing to do. It prints as one line.
type Action interface {
	fmt.Stringer
	action()
}

// Verb is the call that a Write makes.
type Verb uint8

const (
	// Replace is ReplaceRoute.
	Replace Verb = iota
	// Create is CreateRoute.
	Create
)

func (v Verb) String() string {
	if v == Create {
		return "create"
	}
	return "replace"
}

// Reason says why a route is written.
type Reason uint8

const (
	// Takeover means: this gateway became active.
	Takeover Reason = iota
	// Drift means: somebody changed or deleted the route.
	Drift
	// Reassert means: what was written a moment ago does not seem to stand.
	Reassert
)

func (r Reason) String() string { return [...]string{"takeover", "drift", "reassert"}[r] }

type (
	// Write points one route to Interface. WriteDone reports its end.
	Write struct {
		Key
		Verb      Verb
		Interface string
		// Epoch is the epoch under which the write is made.
		Epoch uint64
		// Attempt counts the calls for this route since it was last in place.
		Attempt int
		Reason  Reason
	}
	// Read reads all tables. ReadDone reports its end. There is one at a time.
	Read struct {
		Tables []string
		Began  time.Duration
	}
	// Lookup asks who network interfaces belong to. LookupDone reports its end. There is one
	// at a time.
	Lookup struct{ Interfaces []string }
	// Cancel ends the writes of an epoch that are under way: leadership is lost.
	Cancel struct{ Epoch uint64 }
)

func (Write) action()  {}
func (Read) action()   {}
func (Lookup) action() {}
func (Cancel) action() {}

func (w Write) String() string {
	return fmt.Sprintf("%s %s -> %s epoch %d attempt %d (%s)", w.Verb, w.Key, w.Interface, w.Epoch, w.Attempt, w.Reason)
}
func (r Read) String() string   { return "read " + strings.Join(r.Tables, " ") }
func (l Lookup) String() string { return "lookup " + strings.Join(l.Interfaces, " ") }
func (c Cancel) String() string { return fmt.Sprintf("cancel epoch %d", c.Epoch) }

// Condition is how a route is.
type Condition uint8

const (
	// Unowned means: this gateway is not active, so the route is not its business.
	Unowned Condition = iota
	// InSync means: the route points to this gateway.
	InSync
	// Pending means: it has still to be written.
	Pending
	// Conflict means: it is foreign and is left alone.
	Conflict
	// Errored means: the last read or write failed; it is tried again.
	Errored
)

func (c Condition) String() string {
	return [...]string{"unowned", "in-sync", "pending", "conflict", "error"}[c]
}

// Status is what there is to tell about one route.
type Status struct {
	Key
	// Target is what the route was last seen to point to.
	Target    string
	Condition Condition
	// Detail says what is wrong and how to mend it, for Conflict and Errored.
	Detail string
	// Epoch is the epoch under which this gateway last wrote or verified the route.
	Epoch uint64
}
