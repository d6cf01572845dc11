package plan

import (
	"net/netip"
	"slices"
	"time"
)

// listing is what is known of prefix lists, and when to look again.
type listing struct {
	busy, writing bool
	// read says that known is the truth, as of a read that began at began.
	read  bool
	began time.Duration
	// known are by id.
	known    map[string]PrefixList
	at       time.Duration
	changed  time.Duration // when the last write ended
	retryAt  time.Duration
	failures int // of writes, in a row
	failure  string
	// readFailures are those of reads, in a row.
	readFailures int
	readFailure  string
	// made counts the lists that EC2 said it made.
	made int
	// polls counts the looks in a row at a list that is being changed.
	polls int
	// strays are lists that tables have routes to and that nobody told us about.
	strays []string
}

// needed tells whether there is a reason to know prefix lists at all.
func (s *State) listsNeeded() bool {
	return s.config.Lists.used() || len(s.lists.strays) > 0 || len(s.lists.known) > 0
}

// managed is the list that is ours for an address family: of several, the first.
func (s *State) managed(ipv6 bool) (PrefixList, bool) {
	name := s.listName(ipv6)
	var found PrefixList
	for _, l := range s.lists.known {
		if name != "" && l.own && l.Name == name && l.IPv6 == ipv6 && (found.ID == "" || l.ID < found.ID) {
			found = l
		}
	}
	return found, found.ID != ""
}

func (s *State) listName(ipv6 bool) string {
	names := s.config.Lists.ManagedNames()
	switch {
	case len(names) == 0:
		return ""
	case ipv6:
		return names[1]
	}
	return names[0]
}

// wantedLists are the ids of the lists that every table shall have a route to.
func (s *State) wantedLists() []string {
	ids := slices.Clone(s.config.Lists.IDs)
	for _, ipv6 := range []bool{false, true} {
		if l, found := s.managed(ipv6); found && !l.Creating && len(s.entries[ipv6]) > 0 {
			ids = append(ids, l.ID)
		}
	}
	return ids
}

// ours tells whether a list is this installation's own. Another one may share the tables, and what it made carries
// the same tag. A list that an earlier configuration made may have another name, and entries that have been given up.
func (s *State) ours(l PrefixList) bool {
	switch {
	case !l.Tagged:
		return false
	case slices.Contains(s.config.Lists.ManagedNames(), l.Name):
		return true
	case slices.Contains(families(s.config.Lists.Former), l.Name):
		return slices.ContainsFunc(l.Entries, s.ownTraffic)
	}
	return len(l.Entries) > 0 && !slices.ContainsFunc(l.Entries, func(e netip.Prefix) bool { return !s.ownTraffic(e) })
}

// entriesOf are the destinations by whether they are of IPv6, in order.
func entriesOf(destinations []netip.Prefix) map[bool][]netip.Prefix {
	entries := make(map[bool][]netip.Prefix)
	for _, d := range slices.SortedFunc(slices.Values(destinations), netip.Prefix.Compare) {
		entries[d.Addr().Is6()] = append(entries[d.Addr().Is6()], d)
	}
	return entries
}

// listsUnderWay tells whether a managed list is about to carry what it does not carry yet.
func (s *State) listsUnderWay() bool {
	if s.config.Lists.Managed == "" || s.lists.failures > 0 {
		return false
	}
	_, due := s.listWrite()
	return due || s.lists.writing || s.ownListBusy()
}

// ownListBusy tells whether EC2 is still changing a list of ours.
func (s *State) ownListBusy() bool {
	for _, l := range s.lists.known {
		if l.own && l.Busy {
			return true
		}
	}
	return false
}

// listAction is the next thing to do about prefix lists, if any.
func (s *State) listAction(now time.Duration) (Action, bool) {
	l := &s.lists
	if l.busy || l.writing || !s.listsNeeded() {
		return nil, false
	}
	if now >= max(l.at, s.reads.ready(0)) {
		l.busy, l.began, l.at = true, now, now+listInterval
		s.reads.spend(now)
		ids := append(slices.Clone(s.config.Lists.IDs), l.strays...)
		for id := range l.known {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		return ReadLists{IDs: slices.Compact(ids), Names: s.config.Lists.ManagedNames()}, true
	}
	if s.acting == 0 || !l.read || now < max(l.retryAt, s.writable(reserveOther)) {
		return nil, false
	}
	w, due := s.listWrite()
	if !due {
		return nil, false
	}
	l.writing = true
	s.spend(now)
	w.Epoch = s.acting
	return w, true
}

func (s *State) listWake() time.Duration {
	l := &s.lists
	if l.busy || l.writing || !s.listsNeeded() {
		return never
	}
	wake := max(l.at, s.reads.ready(0))
	if s.acting != 0 && l.read {
		if _, due := s.listWrite(); due {
			wake = min(wake, max(l.retryAt, s.writable(reserveOther)))
		}
	}
	return wake
}

// listWrite is the change that brings the managed lists in step.
func (s *State) listWrite() (WriteList, bool) {
	if !s.retired {
		for _, ipv6 := range []bool{false, true} {
			if w, due := s.listChange(ipv6); due {
				return w, true
			}
		}
	}
	return s.listRemoval()
}

func (s *State) listChange(ipv6 bool) (WriteList, bool) {
	want := s.entries[ipv6]
	if s.config.Lists.Managed == "" || len(want) == 0 {
		return WriteList{}, false
	}
	have, found := s.managed(ipv6)
	switch {
	case have.Busy:
		return WriteList{}, false
	case !found:
		add := want[:min(len(want), maxChange)]
		return WriteList{Verb: CreateList, Name: s.listName(ipv6), IPv6: ipv6, Add: add, Max: len(want), Serial: s.lists.made}, true
	}
	w := WriteList{ID: have.ID, Name: have.Name, IPv6: ipv6, Version: have.Version}
	present := make(map[netip.Prefix]bool, len(have.Entries))
	for _, p := range have.Entries {
		present[p] = true
	}
	for _, p := range want {
		if !present[p] {
			w.Add = append(w.Add, p)
		}
	}
	for _, p := range have.Entries {
		if _, wanted := slices.BinarySearchFunc(want, p, netip.Prefix.Compare); !wanted {
			w.Remove = append(w.Remove, p)
		}
	}
	if room := len(have.Entries) + len(w.Add); len(w.Add) > 0 && room > have.Max {
		// Entries are added before others go, so there must be room for both.
		return WriteList{Verb: ResizeList, ID: have.ID, Name: have.Name, IPv6: ipv6, Max: room}, true
	}
	switch {
	case len(w.Add) > maxChange:
		w.Remove = nil // not before all is added
		w.Add = w.Add[:maxChange]
	case len(w.Remove) > maxChange:
		w.Remove = w.Remove[:maxChange]
	case len(w.Add)+len(w.Remove) == 0:
		// What is larger than it need be fills up the tables' quota.
		return WriteList{Verb: ResizeList, ID: have.ID, Name: have.Name, IPv6: ipv6, Max: len(want)}, have.Max > len(want)
	}
	w.Verb = ModifyList
	return w, true
}

// listRemoval deletes a list of ours that is not wanted, once no table has a route to it: of several, the first.
func (s *State) listRemoval() (WriteList, bool) {
	var first PrefixList
	for id, l := range s.lists.known {
		if l.own && !l.Busy && (first.ID == "" || id < first.ID) && (s.retired || !slices.Contains(s.wantedLists(), id)) && !s.inUse(id) {
			first = l
		}
	}
	return WriteList{Verb: DeleteList, ID: first.ID, Name: first.Name, IPv6: first.IPv6}, first.ID != ""
}

// inUse tells whether a table has a route to a list, or may have one.
func (s *State) inUse(list string) bool {
	return slices.ContainsFunc(s.config.Tables, func(t string) bool {
		table, read := s.tables[t]
		r := s.byKey[Key{t, ToList(list)}]
		switch {
		case s.missing[t]:
			return false
		case r != nil && (r.known || r.writing):
			return r.writing || r.seen.Kind != Absent
		}
		_, there := table[ToList(list)]
		return !read || there
	})
}

// ReadListsDone takes the end of a ReadLists. Lists that are not there do not exist.
func (s *State) ReadListsDone(_ ReadLists, lists []PrefixList, result Result, now time.Duration) {
	l := &s.lists
	l.busy = false
	if result.Outcome != Done {
		l.readFailures++
		l.readFailure = result.Detail
		l.at = now + backoff{500 * time.Millisecond, listInterval}.after(l.readFailures)
		s.arrange(now)
		s.allChanged = true
		return
	}
	l.readFailures, l.readFailure = 0, ""
	if l.writing || l.began < l.changed {
		l.at = now // what was written meanwhile may be missing
		return
	}
	l.read = true
	if l.polls++; !slices.ContainsFunc(lists, func(list PrefixList) bool { return list.Busy }) {
		l.polls = 0
	}
	poll := now + backoff{listBusy, listInterval}.after(l.polls)
	before := l.known
	l.known = make(map[string]PrefixList)
	for _, list := range lists {
		list.own = s.ours(list)
		l.known[list.ID] = list
		if list.Busy {
			l.at = min(l.at, poll)
		}
		if list.own && list.Failure != "" && before[list.ID].Busy {
			s.listFailed(list.Name+": "+list.Failure, now, stubborn())
		}
	}
	for id, list := range before {
		if _, still := l.known[id]; still || !list.own || !list.Creating {
			continue
		}
		if now >= l.changed+2*settling {
			s.listFailed(list.Name+": EC2 said that it makes "+id+", and does not show it", now, stubborn())
			continue
		}
		// What was just created may not be seen yet.
		l.known[id] = list
		l.at = min(l.at, now+listBusy)
	}
	s.arrange(now)
	s.allChanged = true
}

// WriteListDone takes the end of a WriteList; id is the new list's, for CreateList.
func (s *State) WriteListDone(w WriteList, id string, result Result, now time.Duration) {
	l := &s.lists
	l.writing = false
	if result.Outcome == Fenced {
		return
	}
	l.changed = now
	switch result.Outcome {
	case Done, NoList:
		l.failures, l.failure, l.retryAt = 0, "", 0
		s.listWritten(w, id)
	case Throttled:
		s.throttled(now, now)
	case Busy, Unknown:
		// Look before the next try: a list that was made twice could not be told from the first.
		l.read = false
		l.retryAt = now + transient().first
		if result.Outcome == Unknown {
			s.listFailed(result.Detail, now, transient())
		}
	default:
		s.listFailed(result.Detail, now, stubborn())
	}
	l.at = min(l.at, now+200*time.Millisecond)
	s.arrange(now)
	s.allChanged = true
}

// listFailed notes why the managed lists are not in step.
func (s *State) listFailed(detail string, now time.Duration, wait backoff) {
	s.lists.failures++
	s.lists.failure = detail
	s.lists.retryAt = now + wait.after(s.lists.failures)
}

// listWritten notes what a write has begun.
func (s *State) listWritten(w WriteList, id string) {
	l := &s.lists
	switch w.Verb {
	case CreateList:
		l.made++
		l.known[id] = PrefixList{ID: id, Name: w.Name, IPv6: w.IPv6, Max: w.Max, Busy: true, Creating: true, Tagged: true, own: true}
	case DeleteList:
		delete(l.known, w.ID)
	default:
		if list, known := l.known[w.ID]; known {
			list.Busy = true
			l.known[w.ID] = list
		}
	}
}
