package ec2standin

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// PrefixList is a customer-managed prefix list. Routes may have it as their
// destination; MaxEntries, not the number of entries, counts against the
// quota of each table with such a route.
type PrefixList struct {
	ID         string
	Name       string
	IPv6       bool // address family; default: IPv4
	MaxEntries int
	Entries    []PrefixListEntry // by CIDR
	Tags       map[string]string

	Version      int64           // default: 1; one more with each change of entries
	State        PrefixListState // default: create-complete
	StateMessage string          // why the last change failed
}

// PrefixListEntry is one CIDR of a prefix list.
type PrefixListEntry struct {
	CIDR        netip.Prefix
	Description string
}

// PrefixListState is the state of a prefix list. What has ended well or badly
// can be changed again; what is in progress cannot.
type PrefixListState string

// States of a prefix list, as EC2 names them.
const (
	ListCreateInProgress PrefixListState = "create-in-progress"
	ListCreateComplete   PrefixListState = "create-complete"
	ListModifyInProgress PrefixListState = "modify-in-progress"
	ListModifyComplete   PrefixListState = "modify-complete"
	ListModifyFailed     PrefixListState = "modify-failed"
	ListDeleteInProgress PrefixListState = "delete-in-progress"
	ListDeleteComplete   PrefixListState = "delete-complete"
	ListDeleteFailed     PrefixListState = "delete-failed"
)

const (
	maxListEntries = 1000 // of one list
	maxListChange  = 100  // entries to add, or to remove, in one call
	namedTables    = 10   // tables named in a state message
)

// AddPrefixList adds a prefix list, complete and usable.
func (s *Server) AddPrefixList(l PrefixList) error {
	return s.change(func(st *state) error { return st.addList(l) })
}

// SetPrefixListEntries replaces a list's entries at once and behind the
// clients' back: the version grows, no API call is logged, no state is passed
// through. What is in progress for the list is forgotten.
func (s *Server) SetPrefixListEntries(id string, entries ...PrefixListEntry) error {
	return s.change(func(st *state) error { return st.setListEntries(id, entries) })
}

// DeletePrefixList removes a list that no route leads to.
func (s *Server) DeletePrefixList(id string) error {
	return s.change(func(st *state) error { return st.deleteList(id) })
}

// SetListRoute writes a route to a prefix list behind the clients' back, as
// SetRoute does one to a CIDR.
func (s *Server) SetListRoute(table, list string, target Target) error {
	return s.change(func(st *state) error {
		t, ok := st.tables[table]
		if !ok {
			return missing("table", table)
		}
		if _, ok := st.lists[list]; !ok {
			return missing("prefix list", list)
		}
		st.putRoute(t, destination{list: list}, target)
		return nil
	})
}

// RemoveListRoute deletes a route to a prefix list behind the clients' back;
// deleting what is absent succeeds.
func (s *Server) RemoveListRoute(table, list string) error {
	return s.change(func(st *state) error {
		t, ok := st.tables[table]
		if !ok {
			return missing("table", table)
		}
		st.dropRoute(t, destination{list: list})
		return nil
	})
}

// SetPrefixListDuration sets for how long lists that clients create, modify or
// delete from now on are in progress; see Config.PrefixListDuration.
func (s *Server) SetPrefixListDuration(d time.Duration) { s.listDuration.Store(int64(d)) }

// list is a prefix list with its history and what is under way.
type list struct {
	PrefixList
	versions [][]PrefixListEntry // versions[i] are the entries of version i+1
	pending  *listChange
}

// listChange is a change that has been accepted and not taken effect yet.
type listChange struct {
	serial  uint64            // tells it from other changes of the list
	entries []PrefixListEntry // to be; nil: stay as they are
	max     int               // to be; 0: stays as it is
	remove  bool              // the whole list
}

// destination is what a route is for: a prefix or a prefix list.
type destination struct {
	prefix netip.Prefix
	list   string
}

func (d destination) String() string {
	if d.list != "" {
		return d.list
	}
	return d.prefix.String()
}

// sortEntries returns a list's own copy of entries: masked, by CIDR.
func sortEntries(entries []PrefixListEntry) []PrefixListEntry {
	out := slices.Clone(entries)
	if out == nil {
		out = []PrefixListEntry{}
	}
	for i := range out {
		out[i].CIDR = out[i].CIDR.Masked()
	}
	slices.SortFunc(out, func(a, b PrefixListEntry) int { return a.CIDR.Compare(b.CIDR) })
	return out
}

// fits says whether a list can have these entries.
func (l PrefixList) fits(entries []PrefixListEntry) error {
	seen := map[netip.Prefix]bool{}
	for _, e := range entries {
		switch {
		case !e.CIDR.IsValid() || e.CIDR.Addr().Is6() != l.IPv6:
			return fmt.Errorf("prefix list %q: %s is not of its address family", l.ID, e.CIDR)
		case seen[e.CIDR]:
			return fmt.Errorf("prefix list %q: %s occurs twice", l.ID, e.CIDR)
		}
		seen[e.CIDR] = true
	}
	if len(entries) > l.MaxEntries {
		return fmt.Errorf("prefix list %q: %d entries are more than its maximum, %d", l.ID, len(entries), l.MaxEntries)
	}
	return nil
}

func (st *state) addList(l PrefixList) error {
	if err := fresh(st.lists, l.ID, "pl-"); err != nil {
		return err
	}
	if l.MaxEntries < 1 || l.MaxEntries > maxListEntries {
		return fmt.Errorf("prefix list %q: maximum of %d entries: must be 1 to %d", l.ID, l.MaxEntries, maxListEntries)
	}
	l.Version, l.State = orElse(l.Version, 1), orElse(l.State, ListCreateComplete)
	l.Entries, l.Tags = sortEntries(l.Entries), maps.Clone(l.Tags)
	if err := l.fits(l.Entries); err != nil {
		return err
	}
	versions := make([][]PrefixListEntry, l.Version)
	versions[l.Version-1] = l.Entries
	st.lists[l.ID] = list{PrefixList: l, versions: versions}
	return nil
}

func (st *state) setListEntries(id string, entries []PrefixListEntry) error {
	l, ok := st.lists[id]
	if !ok {
		return missing("prefix list", id)
	}
	entries = sortEntries(entries)
	if err := l.fits(entries); err != nil {
		return err
	}
	l.pending, l.State, l.StateMessage = nil, ListModifyComplete, ""
	st.lists[id] = l.next(entries)
	return nil
}

// next is the list with its next version.
func (l list) next(entries []PrefixListEntry) list {
	l.Entries = entries
	l.Version++
	l.versions = append(slices.Clip(l.versions), entries)
	return l
}

func (st *state) deleteList(id string) error {
	if _, ok := st.lists[id]; !ok {
		return missing("prefix list", id)
	}
	if by := st.tablesWith(id); len(by) > 0 {
		return fmt.Errorf("prefix list %q: %s has a route to it", id, by[0].ID)
	}
	delete(st.lists, id)
	return nil
}

// tablesWith returns the tables with a route to a prefix list, by id.
func (st *state) tablesWith(id string) []table {
	return slices.DeleteFunc(sorted(st.tables), func(t table) bool {
		_, there := t.routes[destination{list: id}]
		return !there
	})
}

// weight is how much a table's routes of one family use of its quota.
func (st *state) weight(t table, ipv6 bool) int {
	n := 0
	for to := range t.routes {
		if to.list == "" {
			if to.prefix.Addr().Is6() == ipv6 {
				n++
			}
		} else if l := st.lists[to.list]; l.IPv6 == ipv6 {
			n += l.MaxEntries
		}
	}
	return n
}

// settle ends the change of a list with a serial number, well or badly. A
// change that was overtaken is an error and changes nothing.
func (st *state) settle(id string, serial uint64, quota int) error {
	l, ok := st.lists[id]
	if !ok || l.pending == nil || l.pending.serial != serial {
		return fmt.Errorf("prefix list %q: change %d is not under way", id, serial)
	}
	c := *l.pending
	l.pending = nil
	switch {
	case l.State == ListCreateInProgress:
		l.State = ListCreateComplete
	case c.remove:
		by := st.tablesWith(id)
		if len(by) == 0 {
			delete(st.lists, id)
			return nil
		}
		l.State, l.StateMessage = ListDeleteFailed, "The prefix list is referenced by: "+firstTables(by)
	case c.max != 0:
		full := slices.DeleteFunc(st.tablesWith(id), func(t table) bool {
			return st.weight(t, l.IPv6)-l.MaxEntries+c.max <= quota
		})
		if len(full) > 0 {
			l.State, l.StateMessage = ListModifyFailed, "The new maximum size is not supported by: "+firstTables(full)
			break
		}
		l.State, l.MaxEntries = ListModifyComplete, c.max
	default:
		l.State = ListModifyComplete
		l = l.next(c.entries)
	}
	st.lists[id] = l
	return nil
}

// firstTables names tables as state messages do: the first ten.
func firstTables(tables []table) string {
	out := ""
	for i, t := range tables[:min(len(tables), namedTables)] {
		if i > 0 {
			out += ", "
		}
		out += t.ID
	}
	return out
}

// cidrs are a list's prefixes, sorted.
func (l list) cidrs() []netip.Prefix {
	out := make([]netip.Prefix, len(l.Entries))
	for i, e := range l.Entries {
		out[i] = e.CIDR
	}
	return out
}
