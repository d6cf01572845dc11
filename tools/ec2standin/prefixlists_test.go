package ec2standin_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/hybridgateway/gateway/tools/ec2standin"
)

// cidrs makes entries without descriptions.
func cidrs(list ...string) []ec2standin.PrefixListEntry {
	var out []ec2standin.PrefixListEntry
	for _, c := range list {
		out = append(out, ec2standin.PrefixListEntry{CIDR: prefix(c)})
	}
	return out
}

// listOf says what a list is like: state, version, maximum and entries.
func listOf(s *ec2standin.Server, id string) string {
	l, ok := s.Snapshot().PrefixList(id)
	if !ok {
		return "absent"
	}
	out := fmt.Sprintf("%s v%d max %d:", l.State, l.Version, l.MaxEntries)
	for _, e := range l.Entries {
		out += " " + e.CIDR.String()
	}
	return out
}

func TestEffectiveRoutesFollowThePriorities(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-1", MaxEntries: 5,
		Entries: cidrs("100.64.0.0/16", "100.65.0.0/16", "100.66.9.9/24", "10.0.0.0/16", "10.0.2.0/24")}))
	must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-2", MaxEntries: 5, Entries: cidrs("100.64.0.0/16", "100.67.0.0/16")}))
	must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-6", MaxEntries: 5, IPv6: true, Entries: cidrs("2001:db8::/32")}))
	tgw := ec2standin.Target{Kind: ec2standin.TargetTransitGateway, ID: "tgw-1"}
	must(t, s.SetListRoute("rtb-a", "pl-2", tgw))
	must(t, s.SetListRoute("rtb-a", "pl-1", ec2standin.ToENI("eni-gw1")))
	must(t, s.SetListRoute("rtb-a", "pl-6", ec2standin.ToENI("eni-gw1")))
	must(t, s.SetRoute("rtb-a", prefix("100.65.0.0/16"), ec2standin.ToENI("eni-gw2")))
	must(t, s.SetRoute("rtb-a", prefix("100.66.0.0/16"), ec2standin.ToENI("eni-gw2")))
	must(t, s.SetRoute("rtb-a", prefix("100.64.7.0/24"), ec2standin.ToENI("eni-gw2")))

	check := func(to, want string) {
		t.Helper()
		if got := via(s.Snapshot(), "subnet-a", to); got != want {
			t.Errorf("to %s: %s, want %s", to, got, want)
		}
	}
	check("100.64.1.1", "eni-gw1 active") // of two lists always the same
	check("100.64.7.1", "eni-gw2 active") // the longer prefix is that of the CIDR route
	check("100.65.1.1", "eni-gw2 active") // of equal prefixes the CIDR route
	check("100.66.1.1", "eni-gw2 active")
	check("100.66.9.1", "eni-gw1 active") // the longer prefix is in the list
	check("100.67.1.1", "tgw-1 active")
	check("10.0.1.1", "local active")
	check("2001:db8::1", "eni-gw1 active")

	table, _ := s.Snapshot().Table("rtb-a")
	if r, _ := table.Lookup(netip.MustParseAddr("100.66.9.1")); r.PrefixList != "pl-1" || r.Destination != prefix("100.66.9.0/24") {
		t.Errorf("route from a list: %+v", r)
	}
	if _, ok := table.Route(prefix("100.67.0.0/16")); ok {
		t.Error("an entry of a list passes for a route to a CIDR")
	}
	must(t, s.DeleteENI("eni-gw1"))
	check("100.64.1.1", "eni-gw1 blackhole")
	must(t, s.RemoveListRoute("rtb-a", "pl-1"))
	must(t, s.RemoveListRoute("rtb-a", "pl-1"))
	check("100.64.1.1", "tgw-1 active")
	must(t, s.SetPrefixListEntries("pl-2", cidrs("100.68.0.0/16")...))
	check("100.64.1.1", "nowhere")
	check("100.68.1.1", "tgw-1 active")
	if got := listOf(s, "pl-2"); got != "modify-complete v2 max 5: 100.68.0.0/16" {
		t.Errorf("list: %s", got)
	}
}

// createList makes a list by API, without a network.
func createList(t *testing.T, s *ec2standin.Server, size int, entries ...string) string {
	t.Helper()
	form := []string{"PrefixListName=pods", "AddressFamily=IPv4", fmt.Sprintf("MaxEntries=%d", size)}
	for i, e := range entries {
		form = append(form, fmt.Sprintf("Entry.%d.Cidr=%s", i+1, e))
	}
	w := post(s, signed+strings.Repeat("0a", 32), call("CreateManagedPrefixList", form...))
	_, rest, _ := strings.Cut(w.Body.String(), "<prefixListId>")
	id, _, ok := strings.Cut(rest, "</prefixListId>")
	if w.Code != 200 || !ok || !strings.Contains(w.Body.String(), "<state>create-in-progress</state>") {
		t.Fatalf("create: %d %s", w.Code, w.Body)
	}
	return id
}

func TestChangesOfAListTakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWorld(t, ec2standin.Config{PrefixListDuration: 2 * time.Second})
		want := func(what, id, want string) {
			t.Helper()
			if got := listOf(s, id); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		refused := func(what, wantCode, action string, parameters ...string) {
			t.Helper()
			if status, code := direct(s, action, parameters...); status != 400 || code != wantCode {
				t.Errorf("%s: %d %s, want 400 %s", what, status, code, wantCode)
			}
		}
		pass := func(action string, parameters ...string) {
			t.Helper()
			if status, code := direct(s, action, parameters...); status != 200 {
				t.Errorf("%s: %d %s", action, status, code)
			}
		}
		wait := func(d time.Duration) { time.Sleep(d); synctest.Wait() } // fake time

		id := createList(t, s, 3, "100.64.0.0/16")
		this := "PrefixListId=" + id
		route := []string{"RouteTableId=rtb-a", "DestinationPrefixListId=" + id, "NetworkInterfaceId=eni-gw1"}
		wait(1999 * time.Millisecond)
		want("creating", id, "create-in-progress v1 max 3: 100.64.0.0/16")
		refused("modify while creating", "IncorrectState", "ModifyManagedPrefixList", this, "MaxEntries=4")
		refused("route while creating", "IncorrectState", "CreateRoute", route...)
		wait(time.Millisecond)
		want("created", id, "create-complete v1 max 3: 100.64.0.0/16")
		pass("CreateRoute", route...)

		pass("ModifyManagedPrefixList", this, "CurrentVersion=1", "AddEntry.1.Cidr=100.65.0.0/16", "RemoveEntry.1.Cidr=100.64.0.0/16")
		wait(time.Second)
		want("modifying", id, "modify-in-progress v1 max 3: 100.64.0.0/16")
		refused("modify while modifying", "IncorrectState", "ModifyManagedPrefixList", this, "CurrentVersion=1", "AddEntry.1.Cidr=100.66.0.0/16")
		refused("rename while modifying", "IncorrectState", "ModifyManagedPrefixList", this, "PrefixListName=x")
		refused("delete while modifying", "IncorrectState", "DeleteManagedPrefixList", this)
		pass("ReplaceRoute", route...) // leads elsewhere at once, whatever becomes of the list
		if got := via(s.Snapshot(), "subnet-a", "100.64.1.1"); got != "eni-gw1 active" {
			t.Errorf("while modifying: %s", got)
		}
		wait(time.Second)
		want("modified", id, "modify-complete v2 max 3: 100.65.0.0/16")
		if got := via(s.Snapshot(), "subnet-a", "100.64.1.1") + ", " + via(s.Snapshot(), "subnet-a", "100.65.1.1"); got != "nowhere, eni-gw1 active" {
			t.Errorf("modified: %s", got)
		}
		refused("version 1 is old", "PrefixListVersionMismatch", "ModifyManagedPrefixList", this, "CurrentVersion=1", "AddEntry.1.Cidr=100.66.0.0/16")

		pass("ModifyManagedPrefixList", this, "AddEntry.1.Cidr=100.66.0.0/16")
		must(t, s.SetPrefixListEntries(id)) // overtakes it
		wait(time.Minute)
		want("overtaken", id, "modify-complete v3 max 3:")

		pass("DeleteManagedPrefixList", this)
		want("deleting", id, "delete-in-progress v3 max 3:")
		wait(2 * time.Second)
		want("not deleted", id, "delete-failed v3 max 3:")
		pass("DeleteRoute", "RouteTableId=rtb-a", "DestinationPrefixListId="+id)
		s.SetPrefixListDuration(0)
		pass("DeleteManagedPrefixList", this)
		want("deleted", id, "absent")
	})
}

func TestWatchersSeeTheEndOfAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWorld(t, ec2standin.Config{PrefixListDuration: time.Second})
		var states []string
		id := createList(t, s, 1)
		stop := s.OnChange(func(now ec2standin.Snapshot) {
			l, _ := now.PrefixList(id)
			states = append(states, string(l.State))
		})
		defer stop()
		time.Sleep(time.Second)
		synctest.Wait()
		direct(s, "ModifyManagedPrefixList", "PrefixListId="+id, "AddEntry.1.Cidr=100.65.0.0/16")
		time.Sleep(time.Second)
		synctest.Wait()
		want := []string{"create-in-progress", "create-complete", "modify-in-progress", "modify-complete"}
		if !slices.Equal(states, want) {
			t.Errorf("watcher saw %v, want %v", states, want)
		}
	})
}

func TestSelectableCodesOfLists(t *testing.T) {
	s := newWorld(t, ec2standin.Config{PrefixListNotFoundCode: ec2standin.CodePrefixListNotFoundAlt, ReferencedListCode: "DependencyViolation"})
	must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-1", MaxEntries: 1}))
	must(t, s.SetListRoute("rtb-a", "pl-1", ec2standin.ToENI("eni-gw1")))
	for want, got := range map[string][]string{
		"InvalidPrefixListId.NotFound":  {"GetManagedPrefixListEntries", "PrefixListId=pl-9"},
		"DependencyViolation":           {"DeleteManagedPrefixList", "PrefixListId=pl-1"},
		"InvalidPrefixListId.Malformed": {"DeleteManagedPrefixList", "PrefixListId=list"},
	} {
		if status, code := direct(s, got[0], got[1:]...); status != 400 || code != want {
			t.Errorf("%v: %d %s, want %s", got, status, code, want)
		}
	}
	if got := listOf(s, "pl-1"); got != "create-complete v1 max 1:" {
		t.Errorf("list: %s", got)
	}
}

func TestRefusedListCalls(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-1", MaxEntries: 2, Entries: cidrs("100.64.0.0/16", "100.65.0.0/16")}))
	many := []string{"PrefixListId=pl-1"}
	for i := range 101 {
		many = append(many, fmt.Sprintf("AddEntry.%d.Cidr=100.66.%d.0/24", i+1, i))
	}
	create := func(more ...string) []string {
		return append([]string{"CreateManagedPrefixList", "PrefixListName=x", "MaxEntries=1", "AddressFamily=IPv4"}, more...)
	}
	for i, test := range []struct {
		code string
		call []string
	}{
		{"MissingParameter", []string{"CreateManagedPrefixList", "MaxEntries=1", "AddressFamily=IPv4"}},
		{"MissingParameter", []string{"CreateManagedPrefixList", "PrefixListName=x", "AddressFamily=IPv4"}},
		{"MissingParameter", []string{"CreateManagedPrefixList", "PrefixListName=x", "MaxEntries=1"}},
		{"InvalidParameterValue", create("AddressFamily=IPv5")},
		{"InvalidParameterValue", create("MaxEntries=1001")},
		{"InvalidParameterValue", create("MaxEntries=0")},
		{"InvalidParameterValue", create("PrefixListName=" + strings.Repeat("x", 256))},
		{"MissingParameter", create("Entry.1.Description=x")},
		{"InvalidParameterValue", create("Entry.1.Cidr=100.64.0.0/16", "Entry.2.Cidr=100.64.9.9/16")},
		{"PrefixListMaxEntriesExceeded", create("Entry.1.Cidr=100.64.0.0/16", "Entry.2.Cidr=100.65.0.0/16")},
		{"InvalidParameterValue", create("TagSpecification.1.ResourceType=vpc", "TagSpecification.1.Tag.1.Key=x")},
		{"InvalidParameterValue", create("TagSpecification.1.ResourceType=prefix-list", "TagSpecification.1.Tag.1.Key=x", "TagSpecification.1.Tag.2.Key=x")},
		{"UnknownParameter", create("Entry.x=1")},
		{"InvalidParameterValue", append([]string{"ModifyManagedPrefixList"}, many...)},
		{"InvalidParameterValue", []string{"ModifyManagedPrefixList", "PrefixListId=pl-1", "MaxEntries=1"}},
		{"InvalidRequest", []string{"ModifyManagedPrefixList", "PrefixListId=pl-1"}},
		{"InvalidRequest", []string{"ModifyManagedPrefixList", "PrefixListId=pl-1", "AddEntry.1.Cidr=100.64.0.0/16", "AddEntry.1.Description=new"}},
		{"UnsupportedOperation", []string{"ModifyManagedPrefixList", "PrefixListId=pl-1", "IpamPrefixListResolverSyncEnabled=true"}},
		{"InvalidParameterValue", []string{"GetManagedPrefixListEntries", "PrefixListId=pl-1", "TargetVersion=2"}},
		{"InvalidParameterCombination", []string{"DeleteRoute", "RouteTableId=rtb-a", "DestinationPrefixListId=pl-1", "DestinationCidrBlock=100.64.0.0/16"}},
		{"InvalidPrefixListID.NotFound", []string{"ReplaceRoute", "RouteTableId=rtb-a", "DestinationPrefixListId=pl-9", "NetworkInterfaceId=eni-gw1"}},
		{"InvalidPrefixListId.Malformed", []string{"DeleteRoute", "RouteTableId=rtb-a", "DestinationPrefixListId=list"}},
		{"MissingParameter", []string{"CreateTags", "Tag.1.Key=x"}},
		{"MissingParameter", []string{"CreateTags", "ResourceId.1=pl-1"}},
		{"MissingParameter", []string{"CreateTags", "ResourceId.1=pl-1", "Tag.1.Value=x"}},
		{"InvalidID", []string{"CreateTags", "ResourceId.1=sg-1", "Tag.1.Key=x"}},
		{"InvalidNetworkInterfaceID.NotFound", []string{"CreateTags", "ResourceId.1=pl-1", "ResourceId.2=eni-9", "Tag.1.Key=x"}},
	} {
		before := s.Snapshot().Revision
		status, code := direct(s, test.call[0], test.call[1:]...)
		if status != 400 || code != test.code || s.Snapshot().Revision != before {
			t.Errorf("call %d, %v: %d %s, want %s and no change", i, test.call[:2], status, code, test.code)
		}
	}
	for want, err := range map[string]error{
		"must begin with pl-":       s.AddPrefixList(ec2standin.PrefixList{ID: "list"}),
		"must be 1 to 1000":         s.AddPrefixList(ec2standin.PrefixList{ID: "pl-2"}),
		"more than its maximum":     s.SetPrefixListEntries("pl-1", cidrs("100.64.0.0/16", "100.65.0.0/16", "100.66.0.0/16")...),
		"occurs twice":              s.SetPrefixListEntries("pl-1", cidrs("100.64.0.0/16", "100.64.9.9/16")...),
		"not of its address family": s.SetPrefixListEntries("pl-1", cidrs("2001:db8::/32")...),
		`prefix list "pl-9"`:        s.SetListRoute("rtb-a", "pl-9", ec2standin.ToENI("eni-gw1")),
		`table "rtb-9"`:             s.RemoveListRoute("rtb-9", "pl-1"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	must(t, s.SetListRoute("rtb-a", "pl-1", ec2standin.ToENI("eni-gw1")))
	if err := s.DeletePrefixList("pl-1"); err == nil || !strings.Contains(err.Error(), "rtb-a has a route to it") {
		t.Errorf("delete a referenced list: %v", err)
	}
	must(t, s.RemoveListRoute("rtb-a", "pl-1"))
	must(t, s.DeletePrefixList("pl-1"))
}

func TestListsCountInTheQuotaOfTheirFamily(t *testing.T) {
	s := newWorld(t, ec2standin.Config{RoutesPerTable: 10})
	must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-4", MaxEntries: 8}))
	must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-6", MaxEntries: 10, IPv6: true}))
	create := func(to string) string {
		_, code := direct(s, "CreateRoute", "RouteTableId=rtb-a", to, "NetworkInterfaceId=eni-gw1")
		return code
	}
	for _, step := range [][2]string{
		{"DestinationPrefixListId=pl-4", ""}, {"DestinationPrefixListId=pl-6", ""},
		{"DestinationCidrBlock=100.64.0.0/24", ""}, {"DestinationCidrBlock=100.64.1.0/24", ""},
		{"DestinationCidrBlock=100.64.2.0/24", "RouteLimitExceeded"}, {"DestinationIpv6CidrBlock=2001:db8::/32", "RouteLimitExceeded"},
	} {
		if code := create(step[0]); code != step[1] {
			t.Errorf("%s: %q, want %q", step[0], code, step[1])
		}
	}
	direct(s, "ModifyManagedPrefixList", "PrefixListId=pl-4", "MaxEntries=9")
	if l, _ := s.Snapshot().PrefixList("pl-4"); l.State != ec2standin.ListModifyFailed || l.MaxEntries != 8 || !strings.Contains(l.StateMessage, "rtb-a") {
		t.Errorf("resize beyond the quota: %+v", l)
	}
	direct(s, "ModifyManagedPrefixList", "PrefixListId=pl-4", "MaxEntries=7")
	if code := create("DestinationCidrBlock=100.64.2.0/24"); code != "" {
		t.Errorf("after shrinking the list: %s", code)
	}
}

// The SDK gives every creation a token, so that its retry of a call whose
// reply was lost creates nothing twice.
func TestLostReplyToTheCreationOfAList(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	c := ec2.New(newClient(t, s).Options(), func(o *ec2.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		})
	})
	s.LoseNext("CreateManagedPrefixList", 1)
	out, err := c.CreateManagedPrefixList(t.Context(), &ec2.CreateManagedPrefixListInput{
		PrefixListName: aws.String("pods"), AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(1)})
	if n := s.CallCounts()["CreateManagedPrefixList"]; err != nil || n != 2 {
		t.Fatalf("%v after %d calls", err, n)
	}
	if lists := s.Snapshot().PrefixLists; len(lists) != 1 || lists[0].ID != *out.PrefixList.PrefixListId {
		t.Errorf("lists: %+v", lists)
	}
}

func TestStaleReadsOfAList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWorld(t, ec2standin.Config{})
		must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-1", MaxEntries: 2}))
		s.SetFaults(ec2standin.Faults{StaleReads: time.Second})
		read := func() bool {
			w := post(s, signed+strings.Repeat("0a", 32), call("GetManagedPrefixListEntries", "PrefixListId=pl-1"))
			return strings.Contains(w.Body.String(), "100.64.0.0/16")
		}
		time.Sleep(time.Second)
		direct(s, "ModifyManagedPrefixList", "PrefixListId=pl-1", "AddEntry.1.Cidr=100.64.0.0/16")
		if read() {
			t.Error("a read saw the entry too early")
		}
		time.Sleep(time.Second)
		if !read() {
			t.Error("a read did not see the entry in time")
		}
	})
}
