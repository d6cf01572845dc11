package plan

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// A route is either wanted, or a leftover: one that some table has, that we did not ask for, and that takes
// traffic that ought to come by a wanted route. Leftovers come from another configuration, such as routes to
// CIDRs once a prefix list carries them, or from somebody else.

// giveUpLists is after how many failed reads of prefix lists in a row the destinations of managed ones get routes
// of their own.
const giveUpLists = 4

// desired are the keys of the wanted routes. The tables take turns.
func (s *State) desired() []Key {
	var keys []Key
	add := func(d Destination, tables []string) {
		for _, t := range tables {
			keys = append(keys, Key{t, d})
		}
	}
	for _, id := range s.wantedLists() {
		add(ToList(id), s.config.Tables)
	}
	wantedAlone := s.wantedAlone()
	for _, d := range s.config.Destinations {
		if wantedAlone(d) {
			add(To(d), s.config.Tables)
		}
	}
	if s.config.Floating.IsValid() {
		add(To(s.config.Floating), s.config.FloatingTables)
	}
	return keys
}

// wantedAlone returns what tells whether a destination needs a route of its own, because no list carries it. While lists
// are about to carry it none is made; if there is one it is kept. It holds until the lists or the routes change.
func (s *State) wantedAlone() func(netip.Prefix) bool {
	if !s.config.Lists.used() {
		return func(netip.Prefix) bool { return true }
	}
	alone := !s.listsUnderWay()
	if !s.lists.read {
		alone = s.config.Lists.Managed != "" && s.lists.readFailures >= giveUpLists
	}
	listed := s.listed()
	return func(d netip.Prefix) bool { return alone && !listed(d) }
}

// listed returns what tells whether one of the wanted lists carries a destination. It holds until the lists change.
func (s *State) listed() func(netip.Prefix) bool {
	var lists []PrefixList
	for _, id := range s.wantedLists() {
		lists = append(lists, s.lists.known[id])
	}
	return func(d netip.Prefix) bool {
		return slices.ContainsFunc(lists, func(l PrefixList) bool { return l.covers(d) })
	}
}

// arrange sorts the routes into wanted ones and leftovers, after either may have changed.
func (s *State) arrange(now time.Duration) {
	before := s.byKey
	s.routes, s.byKey = nil, make(map[Key]*route, len(before))
	for _, k := range s.desired() {
		if s.byKey[k] != nil {
			continue
		}
		r := before[k]
		if r == nil {
			r = s.fresh(k)
			s.touch(r)
		}
		if !r.wanted {
			r.wanted = true
			r.reason = Takeover
			s.touch(r)
		}
		s.add(r)
	}
	s.wantedCount = len(s.routes)
	for _, r := range s.leftovers(before, now) {
		s.add(r)
	}
	for k, r := range before {
		if s.byKey[k] == nil {
			r.dropped = true
			s.gone = append(s.gone, k)
		}
	}
	s.byTable = s.routes
	if s.config.Bucket.Burst > 0 {
		tables := make(map[string]int)
		for i, t := range s.config.AllTables() {
			tables[t] = i
		}
		s.byTable = slices.Clone(s.routes)
		slices.SortStableFunc(s.byTable, func(a, b *route) int { return cmp.Compare(tables[a.key.Table], tables[b.key.Table]) })
	}
	s.cover()
	unread := len(s.config.Lists.IDs) > 0 && !s.lists.read // somebody else looks after the list
	listed, wantedAlone := s.listed(), s.wantedAlone()
	s.uncarried = !unread && slices.ContainsFunc(s.config.Destinations, func(d netip.Prefix) bool {
		return !listed(d) && !wantedAlone(d)
	})
}

func (s *State) add(r *route) {
	s.routes = append(s.routes, r)
	s.byKey[r.key] = r
}

// fresh is a route as the last read showed it.
func (s *State) fresh(k Key) *route {
	r := &route{key: k}
	if table, read := s.tables[k.Table]; read {
		r.seen, r.known = table[k.Destination], true
	}
	return r
}

// leftovers are the routes beside the wanted ones, in order.
func (s *State) leftovers(before map[Key]*route, now time.Duration) []*route {
	var left []*route
	for k, r := range before {
		if s.byKey[k] != nil {
			continue
		}
		present := r.known && r.seen.Kind != Absent && s.relevant(k.Destination, r.seen)
		recent := r.goneAt != 0 && now < r.goneAt+2*settling
		if present || recent || r.writing {
			if r.wanted {
				r.wanted = false
				s.touch(r)
			}
			left = append(left, r)
		}
	}
	for id, table := range s.tables {
		if !slices.Contains(s.config.Tables, id) {
			continue
		}
		for d, seen := range table {
			k := Key{id, d}
			if s.byKey[k] == nil && before[k] == nil && s.relevant(d, seen) {
				r := s.fresh(k)
				s.touch(r)
				left = append(left, r)
			}
		}
	}
	slices.SortFunc(left, func(a, b *route) int {
		return cmp.Or(strings.Compare(a.key.Table, b.key.Table), strings.Compare(a.key.Destination.String(), b.key.Destination.String()))
	})
	return left
}

// relevant tells whether a route takes traffic of one of the destinations, if it is not the wanted one.
func (s *State) relevant(d Destination, seen Route) bool {
	if d.List == "" {
		return s.ownTraffic(d.CIDR)
	}
	if strings.HasPrefix(seen.Target, "vpce-") {
		return false // the addresses of an AWS service
	}
	list := s.lists.known[d.List]
	return list.own || slices.ContainsFunc(list.Entries, s.ownTraffic)
}

// ownTraffic tells whether a CIDR is part of a destination.
func (s *State) ownTraffic(c netip.Prefix) bool {
	return slices.ContainsFunc(s.config.Destinations, func(own netip.Prefix) bool { return netaddr.Contains(own, c) })
}

// cover notes by which wanted routes each leftover's traffic comes once it is gone.
func (s *State) cover() {
	if s.wantedCount == len(s.routes) {
		return
	}
	wanted := make(map[string][]*route)
	for _, r := range s.routes[:s.wantedCount] {
		wanted[r.key.Table] = append(wanted[r.key.Table], r)
	}
	for _, r := range s.routes[s.wantedCount:] {
		_, known := s.lists.known[r.key.Destination.List]
		r.covers, r.covered = nil, known || r.key.Destination.List == ""
		for _, c := range s.traffic(r.key.Destination) {
			i := slices.IndexFunc(wanted[r.key.Table], func(w *route) bool { return s.carries(w, c) })
			if i < 0 {
				r.covers, r.covered = nil, false
				break
			}
			if w := wanted[r.key.Table][i]; !slices.Contains(r.covers, w) {
				r.covers = append(r.covers, w)
			}
		}
	}
}

// traffic is what a leftover takes that must not be lost. In a list of our own, what is no part of a
// destination has been given up.
func (s *State) traffic(d Destination) []netip.Prefix {
	if d.List == "" {
		return []netip.Prefix{d.CIDR}
	}
	list := s.lists.known[d.List]
	if !list.own {
		return list.Entries
	}
	return slices.DeleteFunc(slices.Clone(list.Entries), func(e netip.Prefix) bool { return !s.ownTraffic(e) })
}

// carries tells whether a route is for all of a CIDR.
func (s *State) carries(r *route, c netip.Prefix) bool {
	if id := r.key.Destination.List; id != "" {
		return s.lists.known[id].covers(c)
	}
	return netaddr.Contains(r.key.Destination.CIDR, c)
}

// strays are the prefix lists that tables have routes to and that nobody told us about, in order.
func (s *State) strays() []string {
	found := make(map[string]bool)
	for _, t := range s.config.Tables {
		for d, seen := range s.tables[t] {
			if d.List != "" && !strings.HasPrefix(seen.Target, "vpce-") && !slices.Contains(s.config.Lists.IDs, d.List) {
				found[d.List] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}
