package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// class is what a route's target is to us.
type class uint8

const (
	absent  class = iota // there is no route
	ours                 // it may be replaced
	foreign              // it must not be
	unclear              // its interface has yet to be looked up
)

// recheck is how long it is believed that an interface is not a gateway's. Somebody may tag it.
const recheck = time.Minute

// verdict is what is known about an interface that is not known to be a gateway's.
type verdict struct {
	Owner
	// denied, when not empty, says why nobody knows.
	denied string
	until  time.Duration
}

// classify tells whether a route may be replaced, and for a foreign one why not.
func (s *State) classify(r Route) (class, string) {
	switch r.Kind {
	case Absent:
		return absent, ""
	case Other:
		return foreign, "points to " + r.Target + ", which is not a gateway; it is left alone until that route is deleted"
	}
	if s.gateways[r.Target] {
		return ours, ""
	}
	v, looked := s.owners[r.Target]
	const remedy = "; if it is a gateway's, tag it " + GatewayTag + "=true or list it in --gateway-enis, else delete the route"
	switch {
	case !looked:
		return unclear, ""
	case v.denied != "":
		return foreign, "points to " + r.Target + ", and whose that is cannot be told (" + v.denied + ")" + remedy
	case !v.Exists && r.Blackhole:
		return ours, ""
	case !v.Exists:
		return unclear, ""
	}
	return foreign, "points to " + r.Target + ", which is not known as a gateway's interface" + remedy
}

// judge is classify for a route in its place: a leftover is also foreign when its traffic is not all ours, and
// operators may give foreign ones up.
func (s *State) judge(r *route) (class, string) {
	class, why := s.classify(r.seen)
	d := r.key.Destination
	exact := r.wanted || slices.Contains(s.config.Destinations, d.CIDR)
	switch {
	case class == foreign && !r.wanted && r.seen.Propagated:
		return foreign, "takes traffic of a pod network and was propagated by " + r.seen.Target + "; it is left alone"
	case (class == foreign || class == unclear) && (s.config.Adopt && exact || r.adopted == r.seen.Target && r.adopted != ""):
		return ours, ""
	case r.wanted:
		return class, why
	case class == foreign:
		return foreign, "takes traffic of a pod network: it " + why
	case class == ours && d.List != "" && !s.inside(d.List):
		if r.here(s.config.Interface) {
			return class, why
		}
		return foreign, "leads to " + r.seen.Target + ", for a prefix list with entries outside of the pod networks; it is left alone"
	}
	return class, why
}

// inside tells whether a list has no entries but parts of destinations, or is our own.
func (s *State) inside(list string) bool {
	l := s.lists.known[list]
	return l.own || !slices.ContainsFunc(l.Entries, func(e netip.Prefix) bool { return !s.ownTraffic(e) })
}

// Adopt lets a route be replaced although what it leads to now is not a gateway. The error says why that cannot be.
func (s *State) Adopt(k Key) error {
	r := s.byKey[k]
	switch {
	case s.acting == 0:
		return errors.New("this gateway does not lead: ask the one that does")
	case r == nil:
		return fmt.Errorf("%s is no route of this gateway, and takes no traffic of its pod networks", k)
	}
	class, _ := s.judge(r)
	switch {
	case !r.known || class != foreign:
		return fmt.Errorf("%s is not in conflict", k)
	case r.seen.Propagated && !r.wanted:
		return fmt.Errorf("%s was propagated by %s, and can be neither replaced nor deleted", k, r.seen.Target)
	}
	r.adopted, r.reason = r.seen.Target, Adoption
	r.forgive()
	s.touch(r)
	return nil
}

// looking is when to look up which interfaces.
type looking struct {
	busy     bool
	wanted   []string
	at       time.Duration
	failures int
	failure  string
}

// want asks for the given interfaces instead of those asked for before.
func (l *looking) want(interfaces []string, now time.Duration) {
	l.wanted = interfaces
	if l.failures == 0 {
		l.at = now
	}
}

func (l *looking) wake() time.Duration {
	if l.busy || len(l.wanted) == 0 {
		return never
	}
	return l.at
}

func (l *looking) start(now time.Duration) (Lookup, bool) {
	if now < l.wake() {
		return Lookup{}, false
	}
	l.busy = true
	action := Lookup{Interfaces: l.wanted}
	l.wanted = nil
	return action, true
}

// unclear are the interfaces that routes were seen to point to and of which nothing recent is known.
func (s *State) unclear(now time.Duration) []string {
	var interfaces []string
	for _, r := range s.routes {
		if r.seen.Kind != Interface || s.gateways[r.seen.Target] {
			continue
		}
		if v, known := s.owners[r.seen.Target]; known && now < v.until {
			continue
		}
		if !slices.Contains(interfaces, r.seen.Target) {
			interfaces = append(interfaces, r.seen.Target)
		}
	}
	return interfaces
}

// LookupDone takes the end of a lookup. An interface that owners does not name does not exist.
func (s *State) LookupDone(l Lookup, owners map[string]Owner, result Result, now time.Duration) {
	s.lookup.busy = false
	s.allChanged = true
	if result.Outcome != Done && result.Outcome != Denied {
		s.lookup.failures++
		s.lookup.failure = result.Detail
		s.lookup.at = now + backoff{250 * time.Millisecond, s.config.Interval}.after(s.lookup.failures)
		s.lookup.wanted = l.Interfaces
		return
	}
	s.lookup.failures, s.lookup.failure = 0, ""
	for _, id := range l.Interfaces {
		switch {
		case owners[id].Gateway:
			s.gateways[id] = true
			delete(s.owners, id)
		case result.Outcome == Denied:
			s.owners[id] = verdict{denied: result.Detail, until: now + recheck}
		default:
			v := verdict{Owner: owners[id], until: now + recheck}
			if !v.Exists {
				// EC2 may not know a young interface yet.
				v.until = now + s.config.Interval
			}
			s.owners[id] = v
		}
	}
	s.lookup.want(s.unclear(now), now)
}
