package plan

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Source says that packets from Inner may come out of the tunnel when their outer source is Outer.
type Source struct {
	Outer netip.Addr
	Inner netip.Prefix
}

func (s Source) String() string { return s.Inner.String() + " from " + s.Outer.String() }

// GuardRules is what the guard judges by, besides the sources: it never changes while the dataplane runs.
type GuardRules struct {
	VNI  uint32
	Port uint16
	VPC  []netip.Prefix // inner destinations that are let through
}

// Guard is the packet guard as found.
type Guard struct {
	Sound   bool                // its chains and rules are exactly those that we make for Lengths
	Lengths Lengths             // prefix lengths of inner networks that it can judge
	Sources map[Source]struct{} // who may send what
	Outers  map[netip.Addr]struct{}
}

// Lengths is a set of prefix lengths: bit n stands for /n.
type Lengths uint64

// Has tells whether n is in the set.
func (l Lengths) Has(n int) bool { return l&(1<<n) != 0 }

// All returns the lengths, the longest first.
func (l Lengths) All() []int {
	var out []int
	for n := 32; n >= 0; n-- {
		if l.Has(n) {
			out = append(out, n)
		}
	}
	return out
}

// The guard operations. Each is one transaction of the kernel: no packet sees half of it.
type (
	// SetGuard makes the guard anew, with these sources, in the place of whatever is there. Its counters go on.
	SetGuard struct {
		Lengths Lengths
		Sources []Source
	}
	// Admit adds sources.
	Admit struct{ Sources []Source }
	// Expel removes sources; Outers are the outer sources that nothing may come from any more.
	Expel struct {
		Sources []Source
		Outers  []netip.Addr
	}
	// DeleteGuard removes the guard: everything is let through.
	DeleteGuard struct{}
)

func (SetGuard) kind() string    { return "guard-set" }
func (Admit) kind() string       { return "guard-admit" }
func (Expel) kind() string       { return "guard-expel" }
func (DeleteGuard) kind() string { return "guard-delete" }

func (o SetGuard) String() string {
	return fmt.Sprintf("guard set sources %d lengths %v", len(o.Sources), o.Lengths.All())
}
func (o Admit) String() string     { return "guard admit " + firstOf(o.Sources) }
func (o Expel) String() string     { return "guard expel " + firstOf(o.Sources) }
func (DeleteGuard) String() string { return "guard delete" }

func firstOf(sources []Source) string {
	switch len(sources) {
	case 0:
		return "no source"
	case 1:
		return sources[0].String()
	}
	return fmt.Sprintf("%s and %d more", sources[0], len(sources)-1)
}

// ForGuard tells whether an op concerns nftables: the guard or the clamp.
func ForGuard(o Op) bool {
	switch o.(type) {
	case SetGuard, Admit, Expel, DeleteGuard, SetClamp, DeleteClamp:
		return true
	}
	return false
}

// sources is who may send what, by the routes that are wanted.
func (t *Target) sources() map[Source]struct{} {
	out := make(map[Source]struct{}, len(t.routes))
	for dst, own := range t.routes {
		out[Source{Outer: own.via, Inner: dst}] = struct{}{}
	}
	return out
}

// planGuard returns what to do before anything else, so that a node is admitted before it is programmed, and what to do after
// everything else.
//
// As long as the registry has not sent its whole list, whoever was let through stays so: where there is no guard, that is
// everybody whose pod network has a route of ours.
func (t *Target) planGuard(a Actual) (before, after []Op) {
	if !t.desired.Guard {
		if a.Guard != nil {
			return nil, []Op{DeleteGuard{}}
		}
		return nil, nil
	}
	want := t.sources()
	if !t.desired.Complete {
		t.keepSources(a, want)
	}
	var lengths Lengths
	for s := range want {
		lengths |= 1 << s.Inner.Bits()
	}
	if a.Guard == nil || !a.Guard.Sound || lengths&^a.Guard.Lengths != 0 {
		return []Op{SetGuard{Lengths: lengths, Sources: sortedSources(want)}}, nil
	}
	admit, expel := admission{}, expulsion{}
	for s := range want {
		admit.look(a.Guard, s)
	}
	if !t.desired.Complete {
		return admit.ops(), nil
	}
	for s := range a.Guard.Sources {
		if _, wanted := want[s]; !wanted {
			expel.Sources = append(expel.Sources, s)
		}
	}
	for addr := range a.Guard.Outers {
		if t.vias[addr] == 0 {
			expel.Outers = append(expel.Outers, addr)
		}
	}
	return admit.ops(), expel.ops()
}

// guardFits tells whether the guard is such that changeGuard can change it.
func (t *Target) guardFits(a Actual, s *scope) bool {
	if !t.desired.Guard || a.Guard == nil || !a.Guard.Sound {
		return !t.desired.Guard && a.Guard == nil
	}
	for source := range s.sources {
		if !a.Guard.Lengths.Has(source.Inner.Bits()) && t.wants(source) {
			return false
		}
	}
	return true
}

func (t *Target) wants(s Source) bool { return t.routes[s.Inner].via == s.Outer }

// changeGuard is planGuard for what is in s.
func (t *Target) changeGuard(a Actual, s *scope) (before, after []Op) {
	if !t.desired.Guard {
		return nil, nil
	}
	admit, expel := admission{}, expulsion{}
	for source := range s.sources {
		if t.wants(source) {
			admit.look(a.Guard, source)
		} else if _, there := a.Guard.Sources[source]; there {
			expel.Sources = append(expel.Sources, source)
		}
		if _, there := a.Guard.Outers[source.Outer]; there && t.vias[source.Outer] == 0 {
			expel.Outers = append(expel.Outers, source.Outer)
		}
	}
	if !t.desired.Complete {
		return admit.ops(), nil
	}
	return admit.ops(), expel.ops()
}

// admission collects the sources to admit.
type admission []Source

func (d *admission) look(g *Guard, s Source) {
	_, there := g.Sources[s]
	_, outer := g.Outers[s.Outer]
	if !there || !outer {
		*d = append(*d, s)
	}
}

func (d admission) ops() []Op {
	if len(d) == 0 {
		return nil
	}
	slices.SortFunc(d, compareSources)
	return []Op{Admit{Sources: d}}
}

// expulsion collects what to expel.
type expulsion Expel

func (e expulsion) ops() []Op {
	if len(e.Sources)+len(e.Outers) == 0 {
		return nil
	}
	slices.SortFunc(e.Sources, compareSources)
	slices.SortFunc(e.Outers, netip.Addr.Compare)
	e.Outers = slices.Compact(e.Outers)
	return []Op{Expel(e)}
}

// keepSources adds to want whoever is let through now.
func (t *Target) keepSources(a Actual, want map[Source]struct{}) {
	if a.Guard != nil {
		maps.Copy(want, a.Guard.Sources)
	}
	for dst, routes := range a.Routes {
		for _, r := range routes {
			if r.Ours() && r.Via.IsValid() && r.Dev == t.desired.Device.Name {
				want[Source{Outer: r.Via, Inner: dst}] = struct{}{}
			}
		}
	}
}

func sortedSources(m map[Source]struct{}) []Source {
	return slices.SortedFunc(maps.Keys(m), compareSources)
}

func compareSources(a, b Source) int {
	return cmp.Or(comparePrefixes(a.Inner, b.Inner), a.Outer.Compare(b.Outer))
}

// applyToGuard changes the picture of the guard as op changes the kernel's.
func (a *Actual) applyToGuard(op Op) {
	switch o := op.(type) {
	case SetGuard:
		a.Guard = &Guard{Sound: true, Lengths: o.Lengths, Sources: map[Source]struct{}{}, Outers: map[netip.Addr]struct{}{}}
		a.Guard.admit(o.Sources)
	case DeleteGuard:
		a.Guard = nil
	case Admit:
		if a.Guard != nil {
			a.Guard.admit(o.Sources)
		}
	case Expel:
		if a.Guard != nil {
			for _, s := range o.Sources {
				delete(a.Guard.Sources, s)
			}
			for _, addr := range o.Outers {
				delete(a.Guard.Outers, addr)
			}
		}
	}
}

func (g *Guard) admit(sources []Source) {
	for _, s := range sources {
		g.Sources[s] = struct{}{}
		g.Outers[s.Outer] = struct{}{}
	}
}

func (g *Guard) clone() *Guard {
	if g == nil {
		return nil
	}
	c := *g
	c.Sources, c.Outers = maps.Clone(g.Sources), maps.Clone(g.Outers)
	return &c
}

// explainsGuard tells whether a already accounts for a change of the guard. Elements of its sets are told one by one; anything
// else about it is news.
func (t *Target) explainsGuard(a Actual, c Change) bool {
	if !t.desired.Guard || a.Guard == nil {
		return a.Guard == nil && c.Gone
	}
	if !c.Source.Inner.IsValid() {
		if !c.Source.Outer.IsValid() {
			return false
		}
		_, there := a.Guard.Outers[c.Source.Outer]
		return there != c.Gone
	}
	_, there := a.Guard.Sources[c.Source]
	return there != c.Gone
}
