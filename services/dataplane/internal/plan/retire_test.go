package plan

import (
	"net/netip"
	"slices"
	"testing"
)

// TestRetire: what is ours goes, wherever it is, and nothing else; what is desired afterwards changes nothing.
func TestRetire(t *testing.T) {
	v := vtep("a", "192.168.1.11", "100.64.1.0/24")
	d := desired(v)
	d.Guard, d.ClampMSS = true, true
	l := NewLedger(d)
	a := bare()
	a.Host.Carried = []netip.Addr{netip.MustParseAddr("198.18.0.10")}
	run(&a, Plan(d, a).Ops)
	a.Host.Carried = []netip.Addr{netip.MustParseAddr("198.18.0.10")}
	stray := foreign("100.64.9.0/24", "10.0.1.1", "eth0", 0)
	stray.Protocol = RouteProtocol
	addRoute(&a, stray)
	addRoute(&a, foreign("100.64.8.0/24", "10.0.1.1", "eth0", 0))
	l.See(a)
	l.Retire()
	want := []string{
		"route delete 100.64.9.0/24 via 10.0.1.1 dev eth0 proto 104",
		"device delete hybrid_vxlan0: the gateway is purged",
		"address delete 198.18.0.10 dev lo",
		"clamp delete",
		"guard delete",
	}
	r := l.Plan()
	if got := lines(r.Ops); !slices.Equal(got, want) || len(r.Findings) > 0 {
		t.Errorf("ops %q, findings %v", got, r.Findings)
	}
	l.Applied(r.Ops)
	l.Put(vtep("b", "192.168.1.12", "100.64.2.0/24"))
	if again := l.Plan(); len(again.Ops) > 0 {
		t.Errorf("a second plan has %v", again.Ops)
	}
	vteps, routes := l.Programmed()
	if vteps != 0 || routes != 0 || len(l.Actual().Routes) != len(bare().Routes)+1 {
		t.Errorf("%d VTEPs, %d routes programmed, routes %v", vteps, routes, l.Actual().Routes)
	}
}
