package ec2standin

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// busy is the error for a change of a list that is in progress.
func (l list) busy() *apiError {
	return errorf(codeIncorrectState, "The request cannot be completed while the prefix list (%s) is in the current state (%s)", l.ID, l.State)
}

func (l list) inProgress() bool { return strings.HasSuffix(string(l.State), "-in-progress") }

// clientToken is what a token has been used for. A call that repeats one gets
// the same answer and has no further effect.
type clientToken struct {
	fingerprint string // of the other parameters
	list        string
}

type prefixListAnswer struct {
	root
	List prefixListXML `xml:"prefixList"`
}

type prefixListsAnswer struct {
	root
	Lists []prefixListXML `xml:"prefixListSet>item"`
	Next  string          `xml:"nextToken,omitempty"`
}

type prefixListXML struct {
	ID           string   `xml:"prefixListId"`
	Family       string   `xml:"addressFamily"`
	State        string   `xml:"state"`
	StateMessage string   `xml:"stateMessage,omitempty"`
	ARN          string   `xml:"prefixListArn"`
	Name         string   `xml:"prefixListName"`
	MaxEntries   int      `xml:"maxEntries"`
	Version      int64    `xml:"version"`
	Owner        string   `xml:"ownerId"`
	Tags         []tagXML `xml:"tagSet>item"`
}

func (s *Server) prefixListXML(l list) prefixListXML {
	family := "IPv4"
	if l.IPv6 {
		family = "IPv6"
	}
	return prefixListXML{ID: l.ID, Family: family, State: string(l.State), StateMessage: l.StateMessage,
		ARN: s.arn("prefix-list", l.ID), Name: l.Name, MaxEntries: l.MaxEntries, Version: l.Version,
		Owner: s.config.AccountID, Tags: tagsXML(l.Tags)}
}

// begin puts a change of a list under way: its state says so, in the answer
// too. It takes effect after the set duration. The returned function, called
// once the state is published, sees to that.
func (s *Server) begin(st *state, l list, in PrefixListState, c listChange) (list, func()) {
	c.serial = st.revision + 1
	l.State, l.StateMessage, l.pending = in, "", &c
	st.lists[l.ID] = l
	settle := func(st *state) error { return st.settle(l.ID, c.serial, s.config.RoutesPerTable) }
	d := time.Duration(s.listDuration.Load())
	if d <= 0 {
		_ = settle(st) // what has just begun is under way
		return l, func() {}
	}
	return l, func() { time.AfterFunc(d, func() { _ = s.commit(settle) }) } // may be overtaken
}

// CreateManagedPrefixList

func createManagedPrefixListAction() action {
	return action{
		mutating: true,
		params:   []string{"PrefixListName", "AddressFamily", "MaxEntries", "Entry", "TagSpecification", "ClientToken"},
		parse:    parseCreateList,
		needs:    needsToCreateList,
	}
}

func parseCreateList(r *request) (work, *apiError) {
	l, err := r.newList()
	if err != nil {
		return nil, err
	}
	token, fingerprint := r.text("ClientToken"), r.form
	return func() (answer, *apiError) {
		out := &prefixListAnswer{}
		var wait func()
		err := r.server.commitCall(func(st *state) *apiError {
			wait = func() {}
			if token != "" {
				if used, ok := st.tokens[token]; ok && used.fingerprint != fingerprint.Encode() {
					return errorf("IdempotentParameterMismatch", "The client token is used with other parameters already.")
				} else if old, exists := st.lists[used.list]; ok && exists {
					out.List = r.server.prefixListXML(old)
					return nil
				}
			}
			fresh := l
			fresh.ID = derivedID("pl-", fmt.Sprint(l.Name, " ", st.revision))
			fresh.versions = [][]PrefixListEntry{l.Entries}
			if token != "" {
				st.tokens[token] = clientToken{fingerprint.Encode(), fresh.ID}
			}
			fresh, wait = r.server.begin(st, fresh, ListCreateInProgress, listChange{})
			out.List = r.server.prefixListXML(fresh)
			return nil
		})
		if err == nil {
			wait()
		}
		return out, err
	}, nil
}

// newList returns the list that a call describes.
func (r *request) newList() (list, *apiError) {
	name, err := r.listName()
	if err != nil {
		return list{}, err
	}
	if name == "" {
		return list{}, errorf(codeMissingParameter, "The request must contain the parameter prefixListName")
	}
	l := PrefixList{Name: name, Version: 1}
	family, err := r.required("AddressFamily")
	switch {
	case err != nil:
		return list{}, err
	case family != "IPv4" && family != "IPv6":
		return list{}, invalidValue(family, "AddressFamily", "Expecting IPv4 or IPv6.")
	}
	l.IPv6 = family == "IPv6"
	if _, err := r.required("MaxEntries"); err != nil {
		return list{}, err
	}
	if l.MaxEntries, err = r.maxEntries(); err != nil {
		return list{}, err
	}
	if l.Tags, err = r.tagSpecification("prefix-list"); err != nil {
		return list{}, err
	}
	entries, err := r.listEntries("Entry")
	if err != nil {
		return list{}, err
	}
	l.Entries, err = changedEntries(l, entries, nil)
	return list{PrefixList: l}, err
}

func (p params) listName() (string, *apiError) {
	name := p.text("PrefixListName")
	switch {
	case strings.HasPrefix(name, "com.amazonaws"):
		return "", invalidValue(name, "PrefixListName", "The name must not begin with com.amazonaws.")
	case len(name) > 255:
		return "", invalidValue(name, "PrefixListName", "The name must not be longer than 255 characters.")
	}
	return name, nil
}

// maxEntries returns a list's maximum size, 0 when it was not given.
func (p params) maxEntries() (int, *apiError) {
	n, given, err := p.integer("MaxEntries", 1)
	if err == nil && given && n > maxListEntries {
		err = invalidValue(p.text("MaxEntries"), "MaxEntries", fmt.Sprintf("Expecting at most %d.", maxListEntries))
	}
	return int(n), err
}

// listEntries returns entries by a parameter's name, host bits cleared.
func (p params) listEntries(name string) ([]PrefixListEntry, *apiError) {
	given, err := p.structures(name)
	if err != nil {
		return nil, err
	}
	if len(given) > maxListChange {
		return nil, errorf(codeInvalidParameter, "The request contains %d entries in %s; the maximum is %d", len(given), name, maxListChange)
	}
	out := make([]PrefixListEntry, 0, len(given))
	for _, g := range given {
		cidr, err := g.required("Cidr")
		if err != nil {
			return nil, err
		}
		c, err := parseCIDR(cidr, "Cidr", netip.Addr.IsValid)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(e PrefixListEntry) bool { return e.CIDR == c }) {
			return nil, errorf(codeInvalidParameter, "The request contains the Cidr %s more than once in %s", c, name)
		}
		out = append(out, PrefixListEntry{CIDR: c, Description: g.text("Description")})
	}
	return out, nil
}

// changedEntries returns a list's entries after a change.
func changedEntries(l PrefixList, add, remove []PrefixListEntry) ([]PrefixListEntry, *apiError) {
	byCIDR := map[netip.Prefix]PrefixListEntry{}
	for _, e := range l.Entries {
		byCIDR[e.CIDR] = e
	}
	for _, e := range remove {
		if _, there := byCIDR[e.CIDR]; !there {
			return nil, errorf("InvalidPrefixListModification", "An entry with the CIDR (%s) does not exist.", e.CIDR)
		}
		delete(byCIDR, e.CIDR)
	}
	for _, e := range add {
		old, there := byCIDR[e.CIDR]
		switch {
		case e.CIDR.Addr().Is6() != l.IPv6:
			return nil, invalidValue(e.CIDR.String(), "Cidr", "The CIDR is not of the prefix list's address family.")
		case there && old == e:
			return nil, errorf("InvalidPrefixListModification", "An entry with the CIDR (%s) and description (%s) already exists.", e.CIDR, e.Description)
		case there:
			return nil, errorf("InvalidRequest", "The request received was invalid.")
		}
		byCIDR[e.CIDR] = e
	}
	out := make([]PrefixListEntry, 0, len(byCIDR))
	for _, e := range byCIDR {
		out = append(out, e)
	}
	if len(out) > l.MaxEntries {
		return nil, errorf("PrefixListMaxEntriesExceeded", "You've reached the maximum number of entries for the prefix list.")
	}
	return sortEntries(out), nil
}

// ModifyManagedPrefixList

func modifyManagedPrefixListAction() action {
	return action{
		mutating:    true,
		params:      []string{"PrefixListId", "CurrentVersion", "PrefixListName", "AddEntry", "RemoveEntry", "MaxEntries"},
		unsupported: []string{"IpamPrefixListResolverSyncEnabled"},
		parse:       parseModifyList,
		needs:       needsOf("PrefixListId"),
	}
}

// listModification is what ModifyManagedPrefixList asks for.
type listModification struct {
	id          string
	version     int64 // 0: any
	name        string
	add, remove []PrefixListEntry
	max         int
}

func parseModifyList(r *request) (work, *apiError) {
	m, err := r.listModification()
	if err != nil {
		return nil, err
	}
	return func() (answer, *apiError) {
		out := &prefixListAnswer{}
		var wait func()
		err := r.server.commitCall(func(st *state) *apiError {
			l, w, err := r.server.modifyList(st, m)
			wait, out.List = w, r.server.prefixListXML(l)
			return err
		})
		if err == nil {
			wait()
		}
		return out, err
	}, nil
}

func (r *request) listModification() (m listModification, err *apiError) {
	if m.id, err = r.listID(); err != nil {
		return m, err
	}
	version, given, err := r.integer("CurrentVersion", 1)
	if err != nil {
		return m, errorf(codeInvalidParameter, "The specified value for version is not valid. The value must be greater than (1).")
	}
	if given {
		m.version = version
	}
	if m.name, err = r.listName(); err != nil {
		return m, err
	}
	if m.max, err = r.maxEntries(); err != nil {
		return m, err
	}
	if m.add, err = r.listEntries("AddEntry"); err != nil {
		return m, err
	}
	if m.remove, err = r.listEntries("RemoveEntry"); err != nil {
		return m, err
	}
	for _, e := range m.add {
		if slices.ContainsFunc(m.remove, func(o PrefixListEntry) bool { return o.CIDR == e.CIDR }) {
			return m, errorf(codeInvalidParameter,
				"Request cannot contain Cidr %s in both AddPrefixListEntries and RemovePrefixListEntries", e.CIDR)
		}
	}
	entries := len(m.add)+len(m.remove) > 0
	switch {
	case entries && m.max != 0:
		return m, errorf(codeParameterCombination,
			"You cannot modify the entries and the maximum entries for the prefix list in the same request.")
	case !entries && m.max == 0 && m.name == "":
		return m, errorf("InvalidRequest", "The request received was invalid.")
	}
	return m, nil
}

func (r *request) listID() (string, *apiError) {
	id, err := r.required("PrefixListId")
	if err != nil {
		return "", err
	}
	return id, r.server.prefixListResource().wellFormed(id)
}

// modifyList begins a change. A change of nothing but the name is done at once.
func (s *Server) modifyList(st *state, m listModification) (list, func(), *apiError) {
	l, ok := st.lists[m.id]
	switch {
	case !ok:
		return list{}, nil, s.prefixListResource().absent(m.id)
	case l.inProgress():
		return list{}, nil, l.busy()
	case m.version != 0 && m.version != l.Version:
		return list{}, nil, errorf("PrefixListVersionMismatch", "The prefix list has the incorrect version number.")
	case m.max != 0 && m.max < len(l.Entries):
		return list{}, nil, invalidValue(fmt.Sprint(m.max), "MaxEntries", "The prefix list has more entries than that.")
	}
	if m.name != "" {
		l.Name = m.name
	}
	if m.max != 0 {
		l, wait := s.begin(st, l, ListModifyInProgress, listChange{max: m.max})
		return l, wait, nil
	}
	if len(m.add)+len(m.remove) == 0 {
		l.State, l.StateMessage = ListModifyComplete, ""
		st.lists[l.ID] = l
		return l, func() {}, nil
	}
	entries, err := changedEntries(l.PrefixList, m.add, m.remove)
	if err != nil {
		return list{}, nil, err
	}
	l, wait := s.begin(st, l, ListModifyInProgress, listChange{entries: entries})
	return l, wait, nil
}

// DeleteManagedPrefixList

func deleteManagedPrefixListAction() action {
	return action{
		mutating: true,
		params:   []string{"PrefixListId"},
		needs:    needsOf("PrefixListId"),
		parse: func(r *request) (work, *apiError) {
			id, err := r.listID()
			if err != nil {
				return nil, err
			}
			return func() (answer, *apiError) {
				out := &prefixListAnswer{}
				var wait func()
				err := r.server.commitCall(func(st *state) *apiError {
					l, ok := st.lists[id]
					switch code := r.server.config.ReferencedListCode; {
					case !ok:
						return r.server.prefixListResource().absent(id)
					case l.inProgress():
						return l.busy()
					case code != "" && len(st.tablesWith(id)) > 0:
						return errorf(code, "The prefix list (%s) is referenced by: %s", id, firstTables(st.tablesWith(id)))
					}
					l, wait = r.server.begin(st, l, ListDeleteInProgress, listChange{remove: true})
					out.List = r.server.prefixListXML(l)
					return nil
				})
				if err == nil {
					wait()
				}
				return out, err
			}, nil
		},
	}
}
