package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/libs/ec2policy"
	"github.com/hybridgateway/gateway/libs/netaddr"
)

// ListTag marks, with the value "true", the prefix lists that were made by a gateway, which changes and deletes
// no other, and of these only its installation's. They carry GatewayTag as well, for the sake of IAM policies.
const ListTag = ec2policy.ListTag

const (
	// maxChange is how many entries EC2 lets one call add, and how many remove.
	maxChange = 100
	// listInterval is the time between two looks at prefix lists when nothing is amiss.
	listInterval = time.Minute
	// listBusy is the time between two looks at a list that is being changed.
	listBusy = time.Second
)

// PrefixList is a managed prefix list as EC2 tells it.
type PrefixList struct {
	ID   string
	Name string
	IPv6 bool
	// Entries are complete, for the given Version.
	Entries []netip.Prefix
	Version int64
	// Max is how many entries it can take. It counts against the quota of every table with a route
	// to the list.
	Max int
	// Busy says that a change is under way, Creating that it does not exist yet.
	Busy, Creating bool
	// Tagged says that it carries ListTag, so that some gateway made it.
	Tagged bool
	// Failure says why the last change of it failed; empty when it did not.
	Failure string

	// own says that it is this installation's, so that it may be changed and deleted.
	own bool
}

// covers tells whether what goes to p is within one entry.
func (l PrefixList) covers(p netip.Prefix) bool {
	return !l.Creating && slices.ContainsFunc(l.Entries, func(e netip.Prefix) bool { return netaddr.Contains(e, p) })
}

// Lists says which prefix lists are the destinations of routes. The zero Lists means: none, each
// CIDR gets a route of its own.
type Lists struct {
	// IDs are lists that somebody else looks after.
	IDs []string
	// Managed is the name, without family, of the lists that are made and kept in step with the
	// destinations; empty for none.
	Managed string
	// Former is the name that Managed had, or may have had, before this configuration; empty for none.
	Former string
}

func (l Lists) used() bool { return len(l.IDs) > 0 || l.Managed != "" }

// ManagedNames are the names of the managed list of each address family.
func (l Lists) ManagedNames() []string {
	return families(l.Managed)
}

// families are the names of the lists of each address family.
func families(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name + "-ipv4", name + "-ipv6"}
}

type (
	// ReadLists reads the prefix lists with these ids and, of those that carry ListTag, those with these
	// names. ReadListsDone reports its end. There is one at a time.
	ReadLists struct{ IDs, Names []string }
	// WriteList makes, changes or deletes one prefix list. WriteListDone reports its end. There is
	// one at a time.
	WriteList struct {
		Verb ListVerb
		// ID is empty for CreateList.
		ID, Name    string
		IPv6        bool
		Add, Remove []netip.Prefix
		Max         int
		// Version is the one that the change is based on.
		Version int64
		// Serial tells the list that CreateList asks for from those that were made before. It is the same when a
		// call is repeated because nobody knows how it ended.
		Serial int
		Epoch  uint64
	}
)

// ListVerb is the call that a WriteList makes.
type ListVerb uint8

const (
	// CreateList is CreateManagedPrefixList, with the entries in Add.
	CreateList ListVerb = iota
	// ModifyList is ModifyManagedPrefixList, of entries.
	ModifyList
	// ResizeList is ModifyManagedPrefixList, of the maximum.
	ResizeList
	// DeleteList is DeleteManagedPrefixList.
	DeleteList
)

func (v ListVerb) String() string {
	return [...]string{"create list", "modify list", "resize list", "delete list"}[v]
}

func (ReadLists) action() {}
func (WriteList) action() {}

func (r ReadLists) String() string {
	return strings.TrimSpace("read lists " + strings.Join(append(slices.Clone(r.IDs), r.Names...), " "))
}

func (w WriteList) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", w.Verb, cmp.Or(w.ID, w.Name))
	for _, p := range w.Add {
		fmt.Fprintf(&b, " +%s", p)
	}
	for _, p := range w.Remove {
		fmt.Fprintf(&b, " -%s", p)
	}
	if w.Max != 0 {
		fmt.Fprintf(&b, " max %d", w.Max)
	}
	fmt.Fprintf(&b, " epoch %d", w.Epoch)
	return b.String()
}
