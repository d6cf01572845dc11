package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/libs/ec2policy"
)

// GatewayTag marks, with the value "true", the network interfaces of gateways.
const GatewayTag = ec2policy.GatewayTag

// Destination is where a route applies: a CIDR, masked, or a managed prefix list by its id. It is
// comparable, and exactly one field is set.
type Destination struct {
	CIDR netip.Prefix
	List string
}

// To is the destination of a CIDR.
func To(cidr netip.Prefix) Destination { return Destination{CIDR: cidr.Masked()} }

// ToList is the destination of a prefix list.
func ToList(id string) Destination { return Destination{List: id} }

func (d Destination) String() string {
	if d.List != "" {
		return d.List
	}
	return d.CIDR.String()
}

// ParseDestination reads what String writes.
func ParseDestination(text string) (Destination, error) {
	if strings.HasPrefix(text, "pl-") {
		return ToList(text), nil
	}
	cidr, err := netip.ParsePrefix(text)
	if err != nil || cidr != cidr.Masked() {
		return Destination{}, fmt.Errorf("%q is neither a CIDR such as 100.64.0.0/16 nor the id of a prefix list such as pl-0123456789abcdef0", text)
	}
	return To(cidr), nil
}

// Key names a route: its table's id and its destination.
type Key struct {
	Table       string
	Destination Destination
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
	// Blackhole says that the target cannot take traffic.
	Blackhole bool
	// Propagated says that a virtual private gateway made it: it cannot be replaced, but a static
	// route to the same destination overrides it.
	Propagated bool
}

// Table is what a route table says about destinations; what is not in it has no route.
type Table map[Destination]Route

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
	// Departure says whether this gateway is leaving.
	Departure Departure
}

// Departure says whether this gateway is leaving.
type Departure uint8

const (
	// Staying means: it is not.
	Staying Departure = iota
	// Leaving means: it was told to stop, and another gateway may take over.
	Leaving
	// Last means: the installation is being removed and nobody is left to take over.
	Last
)

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
	// NoList means: the prefix list does not exist.
	NoList
	// Busy means: the prefix list is being changed, or was since it was read; nothing happened.
	Busy
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
	names := [...]string{"ok", "no-route", "exists", "no-table", "no-interface", "no-list", "busy", "throttled", "denied", "quota", "unknown", "failed", "fenced"}
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
	// Hedges are the further calls that were made because the first was slow to answer.
	Hedges int
}

// ReadResult is what a read of route tables brought.
type ReadResult struct {
	// Tables are those that were read, which may be some even when Result is a failure.
	Tables map[string]Table
	// Absent are those that EC2 does not have.
	Absent []string
	// Account is the AWS account that the tables belong to.
	Account string
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
	// Delete is DeleteRoute.
	Delete
)

func (v Verb) String() string { return [...]string{"replace", "create", "delete"}[v] }

// Reason says why a route is written.
type Reason uint8

const (
	// Takeover means: this gateway became active.
	Takeover Reason = iota
	// Drift means: somebody changed or deleted the route.
	Drift
	// Reassert means: what was written a moment ago does not seem to stand.
	Reassert
	// Adoption means: an operator let us have the route.
	Adoption
	// Leftover means: other routes of ours have taken the route's traffic.
	Leftover
	// Purge means: the gateways leave for good.
	Purge
)

func (r Reason) String() string {
	return [...]string{"takeover", "drift", "reassert", "adoption", "leftover", "purge"}[r]
}

type (
	// Write points one route to Interface, or deletes it. WriteDone reports its end.
	Write struct {
		Key
		Verb      Verb
		Interface string
		// Epoch is the epoch under which the write is made.
		Epoch uint64
		// Attempt counts the calls for this route since it was last in place.
		Attempt int
		Reason  Reason
		// Hedge allows for the call to be made once more when its answer is late.
		Hedge bool
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
	if w.Verb == Delete {
		return fmt.Sprintf("%s %s epoch %d attempt %d (%s)", w.Verb, w.Key, w.Epoch, w.Attempt, w.Reason)
	}
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
	// Gone says that there is nothing to tell about it any more.
	Gone bool
}
