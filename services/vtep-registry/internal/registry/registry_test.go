package registry

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var scope = Scope{
	Nodes:    prefixes("192.168.0.0/16"),
	Pods:     prefixes("100.64.0.0/10", "172.20.0.0/16"),
	VPC:      prefixes("10.0.0.0/16", "10.1.0.0/16"),
	Services: prefixes("100.96.0.0/16"),
	Underlay: prefixes("100.97.7.0/24", "192.0.2.0/24"),
}

func prefixes(texts ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range texts {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// object makes a node; the older, the smaller age. An address of "" is none.
func object(name string, age int, address string, cidrs ...string) Node {
	n := Node{Name: name, Created: time.Unix(int64(age), 0), PodCIDRs: prefixes(cidrs...)}
	if address != "" {
		n.Address = netip.MustParseAddr(address)
	} else {
		n.Flaws = []Refusal{{NoAddress, "no InternalIP"}}
	}
	return n
}

func up(nodes ...Node) []Event {
	var events []Event
	for _, n := range nodes {
		events = append(events, Event{Node: n})
	}
	return events
}

func gone(name string) Event { return Event{Node: Node{Name: name}, Deleted: true} }

func lines(changes []Change) string {
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintln(&b, c)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func wantChanges(t *testing.T, changes []Change, want ...string) {
	t.Helper()
	if got := lines(changes); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestJudgement(t *testing.T) {
	many := make([]string, MaxCIDRs+1)
	for i := range many {
		many[i] = fmt.Sprintf("100.64.%d.0/24", i)
	}
	for _, c := range []struct {
		name string
		node Node
		want string
	}{
		{"good", object("n", 1, "192.168.1.1", "100.64.1.0/24"), "admitted n 192.168.1.1 100.64.1.0/24"},
		{"several networks, sorted", object("n", 1, "192.168.1.1", "172.20.3.0/24", "100.64.1.0/24"), "admitted n 192.168.1.1 100.64.1.0/24 172.20.3.0/24"},
		{"one in another", object("n", 1, "192.168.1.1", "100.64.1.128/25", "100.64.1.0/24", "100.64.1.0/24"), "admitted n 192.168.1.1 100.64.1.0/24"},
		{"no address", object("n", 1, "", "100.64.1.0/24"), "quarantined n 100.64.1.0/24: no InternalIP"},
		{"address outside", object("n", 1, "10.0.1.1", "100.64.1.0/24"), "quarantined n 10.0.1.1 100.64.1.0/24: the node address 10.0.1.1 is not in the node networks 192.168.0.0/16"},
		{"no network yet", object("n", 1, "192.168.1.1"), "quarantined n 192.168.1.1: no pod network is listed yet"},
		{"outside", object("n", 1, "192.168.1.1", "203.0.113.0/24"), "quarantined n 192.168.1.1 203.0.113.0/24: the pod network 203.0.113.0/24 is not inside the pod networks 100.64.0.0/10, 172.20.0.0/16"},
		{"in the VPC", object("n", 1, "192.168.1.1", "10.0.7.0/24"), "quarantined n 192.168.1.1 10.0.7.0/24: the pod network 10.0.7.0/24 overlaps the VPC's 10.0.0.0/16"},
		{"around the VPC", object("n", 1, "192.168.1.1", "10.0.0.0/8"), "quarantined n 192.168.1.1 10.0.0.0/8: the pod network 10.0.0.0/8 overlaps the VPC's 10.0.0.0/16, 10.1.0.0/16"},
		{"over the nodes", object("n", 1, "192.168.1.1", "192.168.1.0/24"), "quarantined n 192.168.1.1 192.168.1.0/24: the pod network 192.168.1.0/24 overlaps the node networks 192.168.0.0/16"},
		{"wider than a pod network", object("n", 1, "192.168.1.1", "172.16.0.0/12"), "quarantined n 192.168.1.1 172.16.0.0/12: the pod network 172.16.0.0/12 is not inside the pod networks 100.64.0.0/10, 172.20.0.0/16"},
		{"in the services", object("n", 1, "192.168.1.1", "100.96.7.0/24"), "quarantined n 192.168.1.1 100.96.7.0/24: the pod network 100.96.7.0/24 overlaps the service network 100.96.0.0/16"},
		{"around the services", object("n", 1, "192.168.1.1", "100.64.0.0/10"), "quarantined n 192.168.1.1 100.64.0.0/10: the pod network 100.64.0.0/10 overlaps the service network 100.96.0.0/16"},
		{"around the underlay", object("n", 1, "192.168.1.1", "100.97.0.0/16"), "quarantined n 192.168.1.1 100.97.0.0/16: the pod network 100.97.0.0/16 overlaps the underlay's 100.97.7.0/24"},
		{"the underlay outside", object("n", 1, "192.168.1.1", "192.0.2.128/25"), "quarantined n 192.168.1.1 192.0.2.128/25: the pod network 192.0.2.128/25 overlaps the underlay's 192.0.2.0/24"},
		{"beside the services", object("n", 1, "192.168.1.1", "100.95.0.0/16"), "admitted n 192.168.1.1 100.95.0.0/16"},
		{"good among bad", object("n", 1, "192.168.1.1", "10.0.7.0/24", "100.64.1.0/24"), "admitted n 192.168.1.1 100.64.1.0/24: the pod network 10.0.7.0/24 overlaps the VPC's 10.0.0.0/16"},
	} {
		t.Run(c.name, func(t *testing.T) { wantChanges(t, New(scope).Reset(CiliumNode, []Node{c.node}), c.want) })
	}
	t.Run("everything", func(t *testing.T) {
		got := lines(New(scope).Reset(CiliumNode, []Node{object("n", 1, "192.168.1.1", "0.0.0.0/0")}))
		if !strings.HasPrefix(got, "quarantined n 192.168.1.1 0.0.0.0/0: ") {
			t.Error(got)
		}
	})
	t.Run("too many", func(t *testing.T) {
		r := New(scope)
		got := lines(r.Reset(CiliumNode, []Node{object("n", 1, "192.168.1.1", many...)}))
		if !strings.HasSuffix(got, ": 129 pod networks are listed, more than 128") || !strings.HasPrefix(got, "quarantined n") {
			t.Error(got)
		}
		if r.Refused()[TooManyCIDRs] != 1 || len(r.Refused()) != 1 || r.Admitted() != 0 {
			t.Errorf("counted %v", r.Refused())
		}
	})
}

func TestManyRefusalsAreOneBoundedLine(t *testing.T) {
	v := VTEP{}
	for i := range 9 {
		v.Refusals = append(v.Refusals, Refusal{BadCIDR, fmt.Sprint(i)})
	}
	if got := v.Reason(); got != "0; 1; 2; 3; 4; and 4 more" {
		t.Error(got)
	}
}

// script runs batches of events; each step shows the changes it must make.
type step struct {
	what   string
	events []Event
	want   []string
}

func TestScripts(t *testing.T) {
	held := func(what, by string) string {
		return ": the pod network " + what + " overlaps one that is held by node " + by
	}
	addressHeld := func(a, by string) string { return ": the node address " + a + " is held by node " + by }
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"first come keeps, the next is admitted when it goes", []step{
			{"a", up(object("a", 5, "192.168.1.1", "100.64.1.0/24")), []string{"admitted a 192.168.1.1 100.64.1.0/24"}},
			{"an older one comes late", up(object("b", 1, "192.168.1.2", "100.64.1.0/25")),
				[]string{"quarantined b 192.168.1.2 100.64.1.0/25" + held("100.64.1.0/25", "a")}},
			{"resync", up(object("b", 1, "192.168.1.2", "100.64.1.0/25")), nil},
			{"a goes", []Event{gone("a")}, []string{"delete a", "admitted b 192.168.1.2 100.64.1.0/25"}},
			{"twice", []Event{gone("a")}, nil},
			{"a comes back", up(object("a", 9, "192.168.1.1", "100.64.1.0/24")),
				[]string{"quarantined a 192.168.1.1 100.64.1.0/24" + held("100.64.1.0/24", "b")}},
		}},
		{"the same address", []step{
			{"both at once, the older wins", up(object("a", 5, "192.168.1.1", "100.64.1.0/24"), object("b", 1, "192.168.1.1", "100.64.2.0/24")),
				[]string{"quarantined a 192.168.1.1 100.64.1.0/24" + addressHeld("192.168.1.1", "b"), "admitted b 192.168.1.1 100.64.2.0/24"}},
			{"a quarantined node holds no network", up(object("c", 9, "192.168.1.3", "100.64.1.0/24")), []string{"admitted c 192.168.1.3 100.64.1.0/24"}},
			{"b moves away, but a's network is gone", up(object("b", 1, "192.168.1.2", "100.64.2.0/24")),
				[]string{"quarantined a 192.168.1.1 100.64.1.0/24" + held("100.64.1.0/24", "c"), "admitted b 192.168.1.2 100.64.2.0/24"}},
			{"c goes", []Event{gone("c")}, []string{"delete c", "admitted a 192.168.1.1 100.64.1.0/24"}},
		}},
		{"renumbering touches nobody else", []step{
			{"start", up(object("a", 1, "192.168.1.1", "100.64.1.0/24"), object("b", 2, "192.168.1.2", "100.64.2.0/24")),
				[]string{"admitted a 192.168.1.1 100.64.1.0/24", "admitted b 192.168.1.2 100.64.2.0/24"}},
			{"new address", up(object("a", 1, "192.168.1.9", "100.64.1.0/24")), []string{"admitted a 192.168.1.9 100.64.1.0/24"}},
			{"new network", up(object("a", 1, "192.168.1.9", "100.64.9.0/24")), []string{"admitted a 192.168.1.9 100.64.9.0/24"}},
			{"one more", up(object("a", 1, "192.168.1.9", "100.64.9.0/24", "100.64.10.0/24")), []string{"admitted a 192.168.1.9 100.64.9.0/24 100.64.10.0/24"}},
		}},
		{"swapping addresses, one event at a time", []step{
			{"start", up(object("a", 1, "192.168.1.1", "100.64.1.0/24"), object("b", 2, "192.168.1.2", "100.64.2.0/24")),
				[]string{"admitted a 192.168.1.1 100.64.1.0/24", "admitted b 192.168.1.2 100.64.2.0/24"}},
			{"a", up(object("a", 1, "192.168.1.2", "100.64.1.0/24")), []string{"quarantined a 192.168.1.2 100.64.1.0/24" + addressHeld("192.168.1.2", "b")}},
			{"b", up(object("b", 2, "192.168.1.1", "100.64.2.0/24")), []string{"admitted a 192.168.1.2 100.64.1.0/24", "admitted b 192.168.1.1 100.64.2.0/24"}},
		}},
		{"swapping networks in one batch", []step{
			{"start", up(object("a", 1, "192.168.1.1", "100.64.1.0/24"), object("b", 2, "192.168.1.2", "100.64.2.0/24")),
				[]string{"admitted a 192.168.1.1 100.64.1.0/24", "admitted b 192.168.1.2 100.64.2.0/24"}},
			{"swap", up(object("a", 1, "192.168.1.1", "100.64.2.0/24"), object("b", 2, "192.168.1.2", "100.64.1.0/24")),
				[]string{"admitted a 192.168.1.1 100.64.2.0/24", "admitted b 192.168.1.2 100.64.1.0/24"}},
		}},
		{"swapping networks, one event at a time", []step{
			{"start", up(object("a", 1, "192.168.1.1", "100.64.1.0/24", "100.64.11.0/24"), object("b", 2, "192.168.1.2", "100.64.2.0/24")),
				[]string{"admitted a 192.168.1.1 100.64.1.0/24 100.64.11.0/24", "admitted b 192.168.1.2 100.64.2.0/24"}},
			{"a", up(object("a", 1, "192.168.1.1", "100.64.2.0/24", "100.64.11.0/24")),
				[]string{"admitted a 192.168.1.1 100.64.11.0/24" + held("100.64.2.0/24", "b")}},
			{"b", up(object("b", 2, "192.168.1.2", "100.64.1.0/24")),
				[]string{"admitted a 192.168.1.1 100.64.2.0/24 100.64.11.0/24", "admitted b 192.168.1.2 100.64.1.0/24"}},
		}},
		{"a wider and a narrower network keep what was held, whoever waits", []step{
			{"start", up(object("a", 5, "192.168.1.1", "100.64.1.0/25"), object("w", 1, "192.168.1.9")),
				[]string{"quarantined w 192.168.1.9: no pod network is listed yet", "admitted a 192.168.1.1 100.64.1.0/25"}},
			{"an older one waits", up(object("w", 1, "192.168.1.9", "100.64.1.0/24")), []string{"quarantined w 192.168.1.9 100.64.1.0/24" + held("100.64.1.0/24", "a")}},
			{"wider", up(object("a", 5, "192.168.1.1", "100.64.1.0/24")), []string{"admitted a 192.168.1.1 100.64.1.0/24"}},
			{"narrower", up(object("a", 5, "192.168.1.1", "100.64.1.128/25")), []string{"admitted a 192.168.1.1 100.64.1.128/25"}},
		}},
		{"a wider network that is not free costs what was held", []step{
			{"start", up(object("a", 1, "192.168.1.1", "100.64.1.0/25"), object("b", 2, "192.168.1.2", "100.64.1.128/25"), object("w", 3, "192.168.1.9", "100.64.1.0/26")),
				[]string{"quarantined w 192.168.1.9 100.64.1.0/26" + held("100.64.1.0/26", "a"), "admitted a 192.168.1.1 100.64.1.0/25", "admitted b 192.168.1.2 100.64.1.128/25"}},
			{"a grows over b", up(object("a", 1, "192.168.1.1", "100.64.1.0/24")),
				[]string{"quarantined a 192.168.1.1 100.64.1.0/24" + held("100.64.1.0/24", "b"), "admitted w 192.168.1.9 100.64.1.0/26"}},
		}},
		{"a snapshot forgets what it does not list", []step{
			{"start", up(object("a", 1, "192.168.1.1", "100.64.1.0/24"), object("b", 2, "192.168.1.2", "100.64.1.0/24")),
				[]string{"quarantined b 192.168.1.2 100.64.1.0/24" + held("100.64.1.0/24", "a"), "admitted a 192.168.1.1 100.64.1.0/24"}},
			{"b only", nil, []string{"delete a", "admitted b 192.168.1.2 100.64.1.0/24"}},
		}},
		{"several events of one node: the last counts", []step{
			{"start", []Event{{Node: object("a", 1, "192.168.1.1", "100.64.1.0/24")}, gone("a"), {Node: object("a", 2, "192.168.1.2", "100.64.1.0/24")}},
				[]string{"admitted a 192.168.1.2 100.64.1.0/24"}},
			{"re-created", []Event{gone("a"), {Node: object("a", 3, "192.168.1.2", "100.64.1.0/24")}}, nil},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := New(scope)
			for _, s := range c.steps {
				t.Log(s.what)
				if s.events == nil {
					wantChanges(t, r.Reset(CiliumNode, []Node{object("b", 2, "192.168.1.2", "100.64.1.0/24")}), s.want...)
					continue
				}
				wantChanges(t, r.Apply(s.events...), s.want...)
			}
		})
	}
}
