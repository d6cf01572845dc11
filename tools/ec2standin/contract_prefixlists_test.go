package ec2standin_test

// The contract of managed prefix lists and tags. Against another endpoint the
// tests create lists named after the contract tag, and delete them.

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func prefixListNotFound() []string {
	return []string{"InvalidPrefixListID.NotFound", "InvalidPrefixListId.NotFound"}
}

// newList creates a list and waits until it is usable. It is deleted, and
// routes to it before, when the test has ended.
func (c *contract) newList(t *testing.T, size int32, cidrs ...string) *types.ManagedPrefixList {
	t.Helper()
	out, err := c.CreateManagedPrefixList(t.Context(), &ec2.CreateManagedPrefixListInput{
		PrefixListName: aws.String(contractTag), AddressFamily: aws.String("IPv4"), MaxEntries: &size, Entries: entries(cidrs...),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypePrefixList,
			Tags: []types.Tag{{Key: aws.String(contractTag), Value: aws.String("true")}}}},
	})
	if err != nil {
		t.Fatalf("create a prefix list: %v", err)
	}
	id := *out.PrefixList.PrefixListId
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		for _, table := range c.tables {
			if _, err := c.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: &table, DestinationPrefixListId: &id}); err != nil &&
				!slices.Contains(append(prefixListNotFound(), "InvalidRoute.NotFound"), code(err)) {
				t.Errorf("clean up the route to %s in %s: %v", id, table, err)
			}
		}
		if _, err := c.DeleteManagedPrefixList(ctx, &ec2.DeleteManagedPrefixListInput{PrefixListId: &id}); err != nil &&
			!slices.Contains(prefixListNotFound(), code(err)) {
			t.Errorf("clean up %s: %v", id, err)
		}
	})
	if out.PrefixList.State != types.PrefixListStateCreateInProgress && out.PrefixList.State != types.PrefixListStateCreateComplete {
		t.Errorf("created in state %s", out.PrefixList.State)
	}
	return c.settled(t, id)
}

func entries(cidrs ...string) []types.AddPrefixListEntry {
	var out []types.AddPrefixListEntry
	for _, cidr := range cidrs {
		out = append(out, types.AddPrefixListEntry{Cidr: aws.String(cidr), Description: aws.String("an entry")})
	}
	return out
}

func removals(cidrs ...string) []types.RemovePrefixListEntry {
	var out []types.RemovePrefixListEntry
	for _, cidr := range cidrs {
		out = append(out, types.RemovePrefixListEntry{Cidr: aws.String(cidr)})
	}
	return out
}

// list reads one list; nil if there is none.
func (c *contract) list(t *testing.T, id string) *types.ManagedPrefixList {
	t.Helper()
	out, err := c.DescribeManagedPrefixLists(t.Context(), &ec2.DescribeManagedPrefixListsInput{PrefixListIds: []string{id}})
	if slices.Contains(prefixListNotFound(), code(err)) {
		return nil
	}
	if err != nil || len(out.PrefixLists) != 1 {
		t.Fatalf("describe %s: %s, %v", id, text(out), err)
	}
	return &out.PrefixLists[0]
}

// settled waits until nothing is in progress for a list; nil if it is gone.
func (c *contract) settled(t *testing.T, id string) *types.ManagedPrefixList {
	t.Helper()
	deadline, tick := time.After(2*time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for {
		l := c.list(t, id)
		if l == nil {
			return nil
		}
		switch l.State {
		case types.PrefixListStateCreateInProgress, types.PrefixListStateModifyInProgress, types.PrefixListStateDeleteInProgress:
		case types.PrefixListStateDeleteComplete:
			return nil
		default:
			return l
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s is still %s", id, l.State)
		}
	}
}

// entriesOf reads all entries of a list: description by CIDR.
func (c *contract) entriesOf(t *testing.T, id string, version *int64) map[string]string {
	t.Helper()
	out := map[string]string{}
	pages := ec2.NewGetManagedPrefixListEntriesPaginator(c.Client, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id, TargetVersion: version})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("read the entries of %s: %v", id, err)
		}
		for _, e := range page.Entries {
			out[*e.Cidr] = aws.ToString(e.Description)
		}
	}
	return out
}

func (c *contract) wantEntries(t *testing.T, id string, version *int64, cidrs ...string) {
	t.Helper()
	want := map[string]string{}
	for _, cidr := range cidrs {
		want[cidr] = "an entry"
	}
	if got := c.entriesOf(t, id, version); !maps.Equal(got, want) {
		t.Errorf("entries of %s: %v, want %v", id, got, want)
	}
}

func (c *contract) modify(t *testing.T, id string, in ec2.ModifyManagedPrefixListInput) error {
	in.PrefixListId = &id
	_, err := c.ModifyManagedPrefixList(t.Context(), &in)
	return err
}

// listRoute reads the route to a list; nil if the table lacks it.
func (c *contract) listRoute(t *testing.T, table, list string) *types.Route {
	t.Helper()
	out, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
	if err != nil || len(out.RouteTables) != 1 {
		t.Fatalf("describe %s: %s, %v", table, text(out), err)
	}
	for _, r := range out.RouteTables[0].Routes {
		if aws.ToString(r.DestinationPrefixListId) == list {
			return &r
		}
	}
	return nil
}

func TestContractPrefixListLife(t *testing.T) {
	c := newContract(t)
	l := c.newList(t, 4, "198.51.100.0/25", "203.0.113.77/24")
	id := *l.PrefixListId
	if *l.PrefixListName != contractTag || *l.AddressFamily != "IPv4" || *l.MaxEntries != 4 || *l.Version != 1 ||
		l.State != types.PrefixListStateCreateComplete || len(l.Tags) != 1 || *l.Tags[0].Key != contractTag ||
		!strings.HasSuffix(*l.PrefixListArn, fmt.Sprintf(":ec2:%s:%s:prefix-list/%s", c.Options().Region, *l.OwnerId, id)) {
		t.Errorf("created list: %s", text(l))
	}
	c.wantEntries(t, id, nil, "198.51.100.0/25", "203.0.113.0/24")

	out, err := c.ModifyManagedPrefixList(t.Context(), &ec2.ModifyManagedPrefixListInput{PrefixListId: &id, CurrentVersion: l.Version,
		AddEntries: entries("198.51.100.128/25"), RemoveEntries: removals("203.0.113.0/24")})
	if err != nil || out.PrefixList.State != types.PrefixListStateModifyInProgress {
		t.Fatalf("modify: %s, %v", text(out), err)
	}
	if l = c.settled(t, id); *l.Version != 2 || l.State != types.PrefixListStateModifyComplete {
		t.Errorf("modified list: %s", text(l))
	}
	c.wantEntries(t, id, nil, "198.51.100.0/25", "198.51.100.128/25")
	c.wantEntries(t, id, aws.Int64(1), "198.51.100.0/25", "203.0.113.0/24")

	if err := c.modify(t, id, ec2.ModifyManagedPrefixListInput{PrefixListName: aws.String(contractTag + "-renamed"), MaxEntries: aws.Int32(2)}); err != nil {
		t.Fatalf("rename and resize: %v", err)
	}
	if l = c.settled(t, id); *l.Version != 2 || *l.MaxEntries != 2 || *l.PrefixListName != contractTag+"-renamed" {
		t.Errorf("renamed and resized list: %s", text(l))
	}
	if _, err := c.DeleteManagedPrefixList(t.Context(), &ec2.DeleteManagedPrefixListInput{PrefixListId: &id}); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if l := c.settled(t, id); l != nil {
		t.Errorf("deleted list: %s", text(l))
	}
}

func TestContractPrefixListRefusals(t *testing.T) {
	c := newContract(t)
	l := c.newList(t, 2, "198.51.100.0/25")
	id, now := *l.PrefixListId, l.Version
	for _, test := range []struct {
		name  string
		in    ec2.ModifyManagedPrefixListInput
		codes []string
	}{
		{"stale version", ec2.ModifyManagedPrefixListInput{CurrentVersion: aws.Int64(99), AddEntries: entries("203.0.113.0/24")},
			[]string{"PrefixListVersionMismatch"}},
		{"version 0", ec2.ModifyManagedPrefixListInput{CurrentVersion: aws.Int64(0), AddEntries: entries("203.0.113.0/24")},
			[]string{"InvalidParameterValue"}},
		{"entries and size", ec2.ModifyManagedPrefixListInput{CurrentVersion: now, AddEntries: entries("203.0.113.0/24"), MaxEntries: aws.Int32(3)},
			[]string{"InvalidParameterCombination"}},
		{"too many entries", ec2.ModifyManagedPrefixListInput{CurrentVersion: now, AddEntries: entries("203.0.113.0/25", "203.0.113.128/25")},
			[]string{"PrefixListMaxEntriesExceeded"}},
		{"an entry that is there", ec2.ModifyManagedPrefixListInput{CurrentVersion: now, AddEntries: entries("198.51.100.0/25")},
			[]string{"InvalidPrefixListModification"}},
		{"an entry that is not there", ec2.ModifyManagedPrefixListInput{CurrentVersion: now, RemoveEntries: removals("203.0.113.0/24")},
			[]string{"InvalidPrefixListModification", "InvalidParameterValue"}},
		{"the same added and removed", ec2.ModifyManagedPrefixListInput{CurrentVersion: now,
			AddEntries: entries("198.51.100.0/25"), RemoveEntries: removals("198.51.100.0/25")}, []string{"InvalidParameterValue"}},
		{"the other family", ec2.ModifyManagedPrefixListInput{CurrentVersion: now, AddEntries: entries("2001:db8::/32")},
			[]string{"InvalidParameterValue"}},
		{"not a CIDR", ec2.ModifyManagedPrefixListInput{CurrentVersion: now, AddEntries: entries("pods")}, []string{"InvalidParameterValue"}},
		{"reserved name", ec2.ModifyManagedPrefixListInput{PrefixListName: aws.String("com.amazonaws.x")}, []string{"InvalidParameterValue"}},
	} {
		wantError(t, test.name, c.modify(t, id, test.in), 400, test.codes...)
	}
	if l := c.settled(t, id); *l.Version != *now || *l.MaxEntries != 2 {
		t.Errorf("after refusals: %s", text(l))
	}
	none := "pl-0aaaaaaaaaaaaaaaa"
	wantError(t, "modify no list", c.modify(t, none, ec2.ModifyManagedPrefixListInput{MaxEntries: aws.Int32(2)}), 400, prefixListNotFound()...)
	_, err := c.DeleteManagedPrefixList(t.Context(), &ec2.DeleteManagedPrefixListInput{PrefixListId: &none})
	wantError(t, "delete no list", err, 400, prefixListNotFound()...)
	_, err = c.GetManagedPrefixListEntries(t.Context(), &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &none})
	wantError(t, "entries of no list", err, 400, prefixListNotFound()...)
	_, err = c.DescribeManagedPrefixLists(t.Context(), &ec2.DescribeManagedPrefixListsInput{PrefixListIds: []string{none}})
	wantError(t, "describe no list", err, 400, prefixListNotFound()...)
}

func TestContractPrefixListDryRun(t *testing.T) {
	c := newContract(t)
	l := c.newList(t, 2)
	id, table, eni, yes := *l.PrefixListId, c.tables[0], *c.enis[0].NetworkInterfaceId, aws.Bool(true)
	_, err := c.CreateManagedPrefixList(t.Context(), &ec2.CreateManagedPrefixListInput{
		PrefixListName: aws.String(contractTag), AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(1), DryRun: yes})
	wantError(t, "dry create", err, 412, "DryRunOperation")
	wantError(t, "dry modify", c.modify(t, id, ec2.ModifyManagedPrefixListInput{CurrentVersion: l.Version,
		AddEntries: entries("203.0.113.0/24"), DryRun: yes}), 412, "DryRunOperation")
	_, err = c.DeleteManagedPrefixList(t.Context(), &ec2.DeleteManagedPrefixListInput{PrefixListId: &id, DryRun: yes})
	wantError(t, "dry delete", err, 412, "DryRunOperation")
	_, err = c.DescribeManagedPrefixLists(t.Context(), &ec2.DescribeManagedPrefixListsInput{DryRun: yes})
	wantError(t, "dry describe", err, 412, "DryRunOperation")
	_, err = c.GetManagedPrefixListEntries(t.Context(), &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id, DryRun: yes})
	wantError(t, "dry read of entries", err, 412, "DryRunOperation")
	_, err = c.CreateRoute(t.Context(), &ec2.CreateRouteInput{RouteTableId: &table, DestinationPrefixListId: &id, NetworkInterfaceId: &eni, DryRun: yes})
	wantError(t, "dry create of a route", err, 412, "DryRunOperation")
	_, err = c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("y")}}, DryRun: yes})
	wantError(t, "dry tag", err, 412, "DryRunOperation")
	c.wantEntries(t, id, nil)
	if r := c.listRoute(t, table, id); r != nil {
		t.Errorf("dry run wrote %s", text(r))
	}
}

func TestContractRouteToPrefixList(t *testing.T) {
	c := newContract(t)
	id, table := *c.newList(t, 3, "198.51.100.0/25", "203.0.113.0/24").PrefixListId, c.tables[0]
	first, second := *c.enis[0].NetworkInterfaceId, *c.enis[1].NetworkInterfaceId
	replace := func(eni string) error {
		_, err := c.ReplaceRoute(t.Context(), &ec2.ReplaceRouteInput{RouteTableId: &table, DestinationPrefixListId: &id, NetworkInterfaceId: &eni})
		return err
	}
	wantError(t, "replace what is absent", replace(first), 400, "InvalidParameterValue", "InvalidRoute.NotFound")
	create := func(list string) error {
		_, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{RouteTableId: &table, DestinationPrefixListId: &list, NetworkInterfaceId: &first})
		return err
	}
	wantError(t, "create to no list", create("pl-0aaaaaaaaaaaaaaaa"), 400, prefixListNotFound()...)
	if err := create(id); err != nil {
		t.Fatalf("create: %v", err)
	}
	wantError(t, "create what exists", create(id), 400, "RouteAlreadyExists")
	r := c.listRoute(t, table, id)
	if r == nil || aws.ToString(r.NetworkInterfaceId) != first || r.State != types.RouteStateActive || r.DestinationCidrBlock != nil {
		t.Fatalf("created route: %s", text(r))
	}
	if err := replace(second); err != nil {
		t.Fatalf("replace: %v", err)
	}
	if r := c.listRoute(t, table, id); r == nil || aws.ToString(r.NetworkInterfaceId) != second {
		t.Fatalf("replaced route: %s", text(r))
	}
	// Routes to a CIDR in the list live beside that to the list.
	if err := c.create(t, table, "203.0.113.0/24", first); err != nil {
		t.Errorf("create a route to a CIDR of the list: %v", err)
	}

	// A list is not deleted while a route leads to it: the call is refused, or
	// fails later.
	if _, err := c.DeleteManagedPrefixList(t.Context(), &ec2.DeleteManagedPrefixListInput{PrefixListId: &id}); err == nil {
		if l := c.settled(t, id); l == nil || l.State != types.PrefixListStateDeleteFailed || aws.ToString(l.StateMessage) == "" {
			t.Errorf("deleted while referenced: %s", text(l))
		}
	}
	if r := c.listRoute(t, table, id); r == nil || aws.ToString(r.NetworkInterfaceId) != second {
		t.Fatalf("route after the attempt to delete its list: %s", text(r))
	}
	if _, err := c.DeleteRoute(t.Context(), &ec2.DeleteRouteInput{RouteTableId: &table, DestinationPrefixListId: &id}); err != nil {
		t.Fatalf("delete the route: %v", err)
	}
	_, err := c.DeleteRoute(t.Context(), &ec2.DeleteRouteInput{RouteTableId: &table, DestinationPrefixListId: &id})
	wantError(t, "delete what is absent", err, 400, "InvalidRoute.NotFound")
	if _, err := c.DeleteManagedPrefixList(t.Context(), &ec2.DeleteManagedPrefixListInput{PrefixListId: &id}); err != nil {
		t.Fatalf("delete the list: %v", err)
	}
	if l := c.settled(t, id); l != nil {
		t.Errorf("deleted list: %s", text(l))
	}
}

func TestContractRouteQuotaCountsTheMaximumSize(t *testing.T) {
	c := newContract(t)
	table, eni := c.tables[0], *c.enis[0].NetworkInterfaceId
	large, small := *c.newList(t, 1000).PrefixListId, *c.newList(t, 2).PrefixListId
	create := func(list string) error {
		_, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{RouteTableId: &table, DestinationPrefixListId: &list, NetworkInterfaceId: &eni})
		return err
	}
	wantError(t, "route to an empty list of 1000", create(large), 400, "RouteLimitExceeded")
	if err := create(small); err != nil {
		t.Fatalf("route to a small list: %v", err)
	}
	if err := c.modify(t, small, ec2.ModifyManagedPrefixListInput{MaxEntries: aws.Int32(1000)}); err != nil {
		t.Fatalf("resize: %v", err)
	}
	if l := c.settled(t, small); l.State != types.PrefixListStateModifyFailed || *l.MaxEntries != 2 || aws.ToString(l.StateMessage) == "" {
		t.Errorf("resized beyond the table's quota: %s", text(l))
	}
	if err := c.modify(t, small, ec2.ModifyManagedPrefixListInput{MaxEntries: aws.Int32(3)}); err != nil {
		t.Fatalf("resize after a failure: %v", err)
	}
	if l := c.settled(t, small); l.State != types.PrefixListStateModifyComplete || *l.MaxEntries != 3 {
		t.Errorf("resized within the quota: %s", text(l))
	}
}

func TestContractPrefixListPages(t *testing.T) {
	c := newContract(t)
	var all []string
	for i := range 130 {
		all = append(all, fmt.Sprintf("198.51.%d.%d/32", 100+i/100, i%100))
	}
	l := c.newList(t, 200, all[:100]...)
	id := *l.PrefixListId
	if err := c.modify(t, id, ec2.ModifyManagedPrefixListInput{CurrentVersion: l.Version, AddEntries: entries(all[100:]...)}); err != nil {
		t.Fatalf("add entries: %v", err)
	}
	c.settled(t, id)
	c.wantEntries(t, id, nil, all...)
	got := map[string]int{}
	pages := ec2.NewGetManagedPrefixListEntriesPaginator(c.Client, &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id, MaxResults: aws.Int32(7)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil || len(page.Entries) > 7 {
			t.Fatalf("page: %s, %v", text(page), err)
		}
		for _, e := range page.Entries {
			got[*e.Cidr]++
		}
	}
	if len(got) != len(all) || slices.ContainsFunc(all, func(cidr string) bool { return got[cidr] != 1 }) {
		t.Errorf("pages gave %v", got)
	}
	for _, n := range []int32{0, 101} {
		_, err := c.GetManagedPrefixListEntries(t.Context(), &ec2.GetManagedPrefixListEntriesInput{PrefixListId: &id, MaxResults: &n})
		wantError(t, fmt.Sprintf("MaxResults %d", n), err, 400, "InvalidParameterValue", "InvalidMaxResults")
	}

	want := []string{id, *c.newList(t, 1).PrefixListId, *c.newList(t, 1).PrefixListId}
	slices.Sort(want)
	var found []string
	lists := ec2.NewDescribeManagedPrefixListsPaginator(c.Client, &ec2.DescribeManagedPrefixListsInput{MaxResults: aws.Int32(1),
		Filters: []types.Filter{{Name: aws.String("prefix-list-name"), Values: []string{contractTag}}}})
	for lists.HasMorePages() {
		page, err := lists.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page.PrefixLists {
			found = append(found, *l.PrefixListId)
		}
	}
	slices.Sort(found)
	if !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}

func TestContractClientTokenIsIdempotent(t *testing.T) {
	c := newContract(t)
	in := &ec2.CreateManagedPrefixListInput{PrefixListName: aws.String(contractTag), AddressFamily: aws.String("IPv4"),
		MaxEntries: aws.Int32(1), ClientToken: aws.String(fmt.Sprintf("contract-%d", time.Now().UnixNano()))}
	first, err := c.CreateManagedPrefixList(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	id := *first.PrefixList.PrefixListId
	t.Cleanup(func() {
		if _, err := c.DeleteManagedPrefixList(context.Background(), &ec2.DeleteManagedPrefixListInput{PrefixListId: &id}); err != nil {
			t.Errorf("clean up %s: %v", id, err)
		}
	})
	again, err := c.CreateManagedPrefixList(t.Context(), in)
	if err != nil || *again.PrefixList.PrefixListId != id {
		t.Errorf("again: %s, %v, want %s", text(again), err, id)
	}
	in.MaxEntries = aws.Int32(2)
	_, err = c.CreateManagedPrefixList(t.Context(), in)
	wantError(t, "the token with other parameters", err, 400, "IdempotentParameterMismatch")
	c.settled(t, id)
}

func TestContractTags(t *testing.T) {
	c := newContract(t)
	id := *c.newList(t, 1).PrefixListId
	tag := func(pairs ...string) []types.Tag {
		var out []types.Tag
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, types.Tag{Key: &pairs[i], Value: &pairs[i+1]})
		}
		return out
	}
	want := func(want map[string]string) {
		t.Helper()
		got := map[string]string{}
		pages := ec2.NewDescribeTagsPaginator(c.Client, &ec2.DescribeTagsInput{MaxResults: aws.Int32(5),
			Filters: []types.Filter{{Name: aws.String("resource-id"), Values: []string{id}}}})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, tag := range page.Tags {
				if tag.ResourceType != types.ResourceTypePrefixList {
					t.Errorf("tag of a %s", tag.ResourceType)
				}
				got[*tag.Key] = *tag.Value
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("tags %v, want %v", got, want)
		}
	}
	want(map[string]string{contractTag: "true"})
	if _, err := c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{id}, Tags: tag("a", "1", "b", "2", "c", "", contractTag, "yes")}); err != nil {
		t.Fatal(err)
	}
	want(map[string]string{contractTag: "yes", "a": "1", "b": "2", "c": ""})
	if _, err := c.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{id}, Tags: append(tag("a", "other", "b", "2"), types.Tag{Key: aws.String("c")})}); err != nil {
		t.Fatal(err)
	}
	want(map[string]string{contractTag: "yes", "a": "1"})
	found, err := c.DescribeManagedPrefixLists(t.Context(), &ec2.DescribeManagedPrefixListsInput{Filters: []types.Filter{
		{Name: aws.String("tag:" + contractTag), Values: []string{"yes"}}}})
	if err != nil || len(found.PrefixLists) != 1 || *found.PrefixLists[0].PrefixListId != id {
		t.Errorf("lists by tag: %s, %v", text(found), err)
	}
	if _, err := c.DeleteTags(t.Context(), &ec2.DeleteTagsInput{Resources: []string{id}}); err != nil {
		t.Fatal(err)
	}
	want(map[string]string{})
	_, err = c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{id}, Tags: tag("aws:x", "1")})
	wantError(t, "reserved key", err, 400, "InvalidParameterValue")
	_, err = c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{"pl-0aaaaaaaaaaaaaaaa"}, Tags: tag("x", "1")})
	wantError(t, "tag no list", err, 400, prefixListNotFound()...)
}
