package ec2standin

import "fmt"

// listPage is how many lists, or entries of one, a call returns at most.
const listPage = 100

// DescribeManagedPrefixLists

func describeManagedPrefixListsAction() action {
	return action{
		params: []string{"PrefixListId", "Filter", "MaxResults", "NextToken"},
		parse: func(r *request) (work, *apiError) {
			return func() (answer, *apiError) {
				lists, next, err := r.server.prefixLists(r.world()).page(r.params)
				out := &prefixListsAnswer{Next: next}
				for _, l := range lists {
					out.Lists = append(out.Lists, r.server.prefixListXML(l))
				}
				return out, err
			}, nil
		},
	}
}

func (s *Server) prefixLists(st *state) collection[list] {
	return collection[list]{
		resource:     s.prefixListResource(),
		idsParameter: "PrefixListId",
		filterNames:  []string{"owner-id", "prefix-list-id", "prefix-list-name"},
		maxResults:   [2]int{1, listPage},
		pageSize:     listPage,
		items:        sorted(st.lists),
		id:           func(l list) string { return l.ID },
		fields: func(l list) fields {
			return fields{"owner-id": {s.config.AccountID}, "prefix-list-id": {l.ID}, "prefix-list-name": {l.Name}}.withTags(l.Tags)
		},
	}
}

// GetManagedPrefixListEntries

type entriesAnswer struct {
	root
	Entries []entryXML `xml:"entrySet>item"`
	Next    string     `xml:"nextToken,omitempty"`
}

type entryXML struct {
	CIDR        string `xml:"cidr"`
	Description string `xml:"description,omitempty"`
}

func getManagedPrefixListEntriesAction() action {
	return action{
		params: []string{"PrefixListId", "TargetVersion", "MaxResults", "NextToken"},
		needs:  needsOf("PrefixListId"),
		parse: func(r *request) (work, *apiError) {
			id, err := r.listID()
			if err != nil {
				return nil, err
			}
			version, given, err := r.integer("TargetVersion", 1)
			if err != nil {
				return nil, err
			}
			return func() (answer, *apiError) {
				l, ok := r.world().lists[id]
				if !ok {
					return nil, r.server.prefixListResource().absent(id)
				}
				if !given {
					version = l.Version
				}
				if version > int64(len(l.versions)) {
					return nil, invalidValue(r.text("TargetVersion"), "TargetVersion", "The prefix list has no such version.")
				}
				entries, next, err := entriesOf(l, version).page(r.params)
				out := &entriesAnswer{Next: next}
				for _, e := range entries {
					out.Entries = append(out.Entries, entryXML{e.CIDR.String(), e.Description})
				}
				return out, err
			}, nil
		},
	}
}

// entriesOf lists the entries of one version. Their key is the CIDR in a form
// that sorts as CIDRs do.
func entriesOf(l list, version int64) collection[PrefixListEntry] {
	return collection[PrefixListEntry]{
		resource:   resource{noun: fmt.Sprintf("%s:%d", l.ID, version)},
		maxResults: [2]int{1, listPage},
		pageSize:   listPage,
		items:      l.versions[version-1],
		id: func(e PrefixListEntry) string {
			return fmt.Sprintf("%x/%03d", e.CIDR.Addr().As16(), e.CIDR.Bits())
		},
	}
}
