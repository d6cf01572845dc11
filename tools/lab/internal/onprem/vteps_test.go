package onprem

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func endpoint(cidr, tunnel string, last byte) Endpoint {
	return Endpoint{
		CIDR: netip.MustParsePrefix(cidr), TunnelEndpoint: netip.MustParseAddr(tunnel),
		MAC: []byte{2, 0, 0, 0, 0, last},
	}
}

func TestPlanVTEPs(t *testing.T) {
	one := []Endpoint{endpoint("10.0.0.0/16", "10.0.1.10", 1)}
	for _, tt := range []struct {
		name       string
		have, want []Endpoint
		ops        []string
	}{
		{"nothing", nil, nil, nil},
		{"first", nil, one, []string{
			"hop set 169.254.66.1 02:00:00:00:00:01",
			"route set 10.0.0.0/16 tunnel 10.0.1.10 via 169.254.66.1",
		}},
		{"same", one, one, nil},
		{"fail-over", one, []Endpoint{endpoint("10.0.0.0/16", "10.0.2.10", 2)}, []string{
			"hop set 169.254.66.2 02:00:00:00:00:02",
			"route set 10.0.0.0/16 tunnel 10.0.2.10 via 169.254.66.2",
			"hop del 169.254.66.1 02:00:00:00:00:01",
		}},
		{"address only", one, []Endpoint{endpoint("10.0.0.0/16", "10.0.2.10", 1)}, []string{
			"route set 10.0.0.0/16 tunnel 10.0.2.10 via 169.254.66.1",
		}},
		{"second CIDR of one gateway", one, append(one, endpoint("10.1.0.0/16", "10.0.1.10", 1)), []string{
			"route set 10.1.0.0/16 tunnel 10.0.1.10 via 169.254.66.1",
		}},
		{"gone", one, nil, []string{
			"route del 10.0.0.0/16",
			"hop del 169.254.66.1 02:00:00:00:00:01",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newVTEPState()
			walk(t, s, tt.have)
			ops, err := planVTEPs(tt.want, s)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range ops {
				got = append(got, o.String())
			}
			if d := cmp.Diff(tt.ops, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPlanVTEPsRefuses(t *testing.T) {
	good := endpoint("10.0.0.0/16", "10.0.1.10", 1)
	noMAC, six, twice := good, good, good
	noMAC.MAC = nil
	six.TunnelEndpoint = netip.MustParseAddr("fd00::1")
	twice.CIDR = netip.MustParsePrefix("10.0.9.9/16")
	for _, list := range [][]Endpoint{{noMAC}, {six}, {good, twice}, {{}}} {
		if _, err := planVTEPs(list, newVTEPState()); err == nil {
			t.Errorf("accepted %v", list)
		}
	}
}

// walk goes to the wanted map, and looks at every state on the way: what was
// there before and stays always has a route, and no route lacks its hop.
func walk(t *testing.T, s vtepState, want []Endpoint) {
	t.Helper()
	ops, err := planVTEPs(want, s)
	if err != nil {
		t.Fatal(err)
	}
	before := map[netip.Prefix]bool{}
	for c := range s.routes {
		before[c] = true
	}
	for _, o := range ops {
		s.apply(o)
		known := map[netip.Addr]bool{}
		for _, a := range s.hops {
			if known[a] {
				t.Fatalf("after %s: hop %s is used twice", o, a)
			}
			known[a] = true
		}
		for c, h := range s.routes {
			if !known[h.next] {
				t.Fatalf("after %s: route %s has no hop", o, c)
			}
		}
		for _, e := range want {
			if _, ok := s.routes[e.CIDR]; !ok && before[e.CIDR] {
				t.Fatalf("after %s: no route %s", o, e.CIDR)
			}
		}
	}
	if len(s.routes) != len(want) {
		t.Fatalf("%d routes, want %d", len(s.routes), len(want))
	}
}

func TestPlanVTEPsWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := newVTEPState()
	for range 1000 {
		var want []Endpoint
		for i := range 8 {
			if r.IntN(3) > 0 {
				want = append(want, endpoint(fmt.Sprintf("10.%d.0.0/16", i), fmt.Sprintf("10.0.1.%d", r.IntN(4)), byte(r.IntN(4))))
			}
		}
		walk(t, s, want)
	}
}

func TestTunnelEncap(t *testing.T) {
	e := &tunnelEncap{id: 2, dst: netip.MustParseAddr("10.0.1.10")}
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := []byte{12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 8, 0, 2, 0, 10, 0, 1, 10}
	if d := cmp.Diff(want, b); d != "" {
		t.Error(d)
	}
	var got tunnelEncap
	if err := got.Decode(b); err != nil || !got.Equal(e) {
		t.Errorf("decoded %s, %v", &got, err)
	}
	if _, err := (&tunnelEncap{dst: netip.MustParseAddr("::1")}).Encode(); err == nil {
		t.Error("encoded an IPv6 address")
	}
}
