package plan

import "net/netip"

// FindingKind says how far a finding reaches.
type FindingKind uint8

// The kinds of findings.
const (
	Blocking FindingKind = iota // the tunnel as a whole cannot work; Reason says what to do
	Refused                     // one VTEP, or one pod network of it, is not programmed
	Conflict                    // somebody else has a route for a pod network
	Warning                     // works, but not as it should
)

func (k FindingKind) String() string {
	switch k {
	case Blocking:
		return "blocking"
	case Refused:
		return "refused"
	case Conflict:
		return "conflict"
	default:
		return "warning"
	}
}

// Finding is something the plan cannot or must not change.
type Finding struct {
	Kind    FindingKind
	Node    string       // the VTEP concerned; empty when none is
	PodCIDR netip.Prefix // the pod network concerned; invalid when none or all are
	Reason  string
}

func (f Finding) String() string {
	s := f.Kind.String()
	if f.Node != "" {
		s += " node " + f.Node
	}
	if f.PodCIDR.IsValid() {
		s += " " + f.PodCIDR.String()
	}
	return s + ": " + f.Reason
}
