package publish

import (
	"net/netip"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

var (
	oneCIDR  = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
	twoCIDRs = append(oneCIDR, netip.MustParsePrefix("10.1.0.0/16"))
	mac      = netaddr.MAC{2, 0x68, 10, 0, 1, 10}
	leading  = Leadership{Epoch: 7, Active: true, Gateway: "gw-a", VTEP: netip.MustParseAddr("10.0.1.10"), MAC: mac}
)

func endpoint(name, cidr string) Endpoint {
	return Endpoint{Name: name, TunnelEndpoint: "10.0.1.10", CIDR: cidr, MAC: "02:68:0a:00:01:0a"}
}

// written is what the API server has after a write.
func written(c Content) *Object {
	return &Object{Name: "hybrid-gateway", Version: "41", Epoch: strconv.FormatUint(c.Epoch, 10), Gateway: c.Gateway, Endpoints: c.Endpoints}
}

func TestContent(t *testing.T) {
	got := Decide(leading, oneCIDR, nil)
	want := Decision{Verdict: Create, Fresh: true, Reason: "it does not exist", Content: Content{Epoch: 7, Gateway: "gw-a",
		Endpoints: []Endpoint{endpoint("vpc-gateway", "10.0.0.0/16")}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = Decide(leading, twoCIDRs, nil)
	if diff := cmp.Diff([]Endpoint{endpoint("vpc-gateway-0", "10.0.0.0/16"), endpoint("vpc-gateway-1", "10.1.0.0/16")}, got.Content.Endpoints); diff != "" {
		t.Error(diff)
	}
}

func TestDecide(t *testing.T) {
	content := Decide(leading, twoCIDRs, nil).Content
	for _, c := range []struct {
		name   string
		lead   func(*Leadership)
		change func(*Object)
		want   Verdict
		reason string
	}{
		{"as it should be", nil, nil, Nothing, ""},
		{"another order, another case", nil, func(o *Object) {
			first := o.Endpoints[0]
			first.MAC = "02:68:0A:00:01:0A"
			o.Endpoints = []Endpoint{o.Endpoints[1], first}
		}, Nothing, ""},
		{"not active", func(l *Leadership) { l.Active = false }, func(o *Object) { o.Endpoints = nil }, Nothing, "this gateway is not active"},
		{"no address", func(l *Leadership) { l.VTEP = netip.Addr{} }, nil, Incomplete, "the record of epoch 7 does not tell this gateway's address and MAC"},
		{"no MAC", func(l *Leadership) { l.MAC = netaddr.MAC{} }, nil, Incomplete, "the record of epoch 7 does not tell this gateway's address and MAC"},
		{"older epoch", nil, func(o *Object) { o.Epoch, o.Gateway = "6", "gw-b" }, Update, `it was written by gateway "gw-b" under epoch "6"`},
		{"newer epoch", nil, func(o *Object) { o.Epoch, o.Gateway = "8", "gw-b" }, Newer, `it was written by gateway "gw-b" under epoch 8, ours is 7`},
		{"newer epoch, and all else wrong", nil, func(o *Object) { *o = Object{Version: "41", Epoch: "18446744073709551615"} }, Newer, `it was written by gateway "" under epoch 18446744073709551615, ours is 7`},
		{"no epoch", nil, func(o *Object) { o.Epoch = "" }, Update, `it was written by gateway "gw-a" under epoch ""`},
		{"no number", nil, func(o *Object) { o.Epoch = "-1" }, Update, `it was written by gateway "gw-a" under epoch "-1"`},
		{"larger than any epoch", nil, func(o *Object) { o.Epoch = "18446744073709551616" }, Update, `it was written by gateway "gw-a" under epoch "18446744073709551616"`},
		{"another gateway's name", nil, func(o *Object) { o.Gateway = "x" }, Update, `it was written by gateway "x" under epoch "7"`},
		{"endpoint gone", nil, func(o *Object) { o.Endpoints = o.Endpoints[:1] }, Update, "endpoint vpc-gateway-1 is missing or was changed"},
		{"endpoint added", nil, func(o *Object) { o.Endpoints = append(o.Endpoints, endpoint("x", "10.9.0.0/16")) }, Update, "it has endpoints that are not ours"},
		{"endpoint renamed", nil, func(o *Object) { o.Endpoints[0].Name = "x" }, Update, "endpoint vpc-gateway-0 is missing or was changed"},
		{"address changed", nil, func(o *Object) { o.Endpoints[0].TunnelEndpoint = "10.0.1.11" }, Update, "endpoint vpc-gateway-0 is missing or was changed"},
		{"network changed", nil, func(o *Object) { o.Endpoints[1].CIDR = "10.2.0.0/16" }, Update, "endpoint vpc-gateway-1 is missing or was changed"},
		{"MAC changed", nil, func(o *Object) { o.Endpoints[1].MAC = "02:00:00:00:00:01" }, Update, "endpoint vpc-gateway-1 is missing or was changed"},
		{"something else wrong", nil, func(o *Object) { o.Flaw = "it has VNI 7" }, Update, "it has VNI 7"},
		{"unreadable", nil, func(o *Object) { o.Endpoints = nil }, Update, "endpoint vpc-gateway-0 is missing or was changed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, o := leading, written(content)
			o.Endpoints = append([]Endpoint(nil), o.Endpoints...)
			if c.lead != nil {
				c.lead(&l)
			}
			if c.change != nil {
				c.change(o)
			}
			d := Decide(l, twoCIDRs, o)
			if d.Verdict != c.want || d.Reason != c.reason {
				t.Errorf("got %v because %q", d.Verdict, d.Reason)
			}
			if (d.Verdict == Update) != (d.Version == "41") || (d.Verdict == Update) != (d.Content.Epoch == 7) {
				t.Errorf("an update, and nothing else, needs version and content: %+v", d)
			}
			if d.Verdict == Update && d.Fresh != (!sameEndpoints(o.Endpoints, content.Endpoints)) {
				t.Errorf("fresh is %v", d.Fresh)
			}
			if d.Verdict == Update {
				if again := Decide(l, twoCIDRs, written(d.Content)); again.Verdict != Nothing {
					t.Errorf("after the update: %v because %q", again.Verdict, again.Reason)
				}
			}
		})
	}
}

func TestConflicts(t *testing.T) {
	object := func(name string, cidrs ...string) Object {
		o := Object{Name: name}
		for i, c := range cidrs {
			o.Endpoints = append(o.Endpoints, Endpoint{Name: "e" + strconv.Itoa(i), CIDR: c})
		}
		return o
	}
	var got []string
	for _, c := range Conflicts("hybrid-gateway", twoCIDRs, []Object{
		object("wide", "10.0.0.0/8"), object("hybrid-gateway", "10.0.0.0/16"), object("same", "172.16.0.0/12", "10.0.0.0/16"),
		object("inside", "10.1.2.3/24"), object("absurd", "", "10.0.0.0", "fd00::/8"),
	}) {
		got = append(got, c.String())
	}
	want := []string{
		"CiliumVTEPConfig inside endpoint e0 claims 10.1.2.0/24, which overlaps the VPC's 10.1.0.0/16: the longer prefix wins",
		"CiliumVTEPConfig same endpoint e1 claims 10.0.0.0/16, which overlaps the VPC's 10.0.0.0/16: Cilium applies neither",
		"CiliumVTEPConfig wide endpoint e0 claims 10.0.0.0/8, which overlaps the VPC's 10.0.0.0/16: the longer prefix wins",
		"CiliumVTEPConfig wide endpoint e0 claims 10.0.0.0/8, which overlaps the VPC's 10.1.0.0/16: the longer prefix wins",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
