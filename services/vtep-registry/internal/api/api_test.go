package api

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/hybridgateway/gateway/libs/netaddr"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

func TestEncode(t *testing.T) {
	for _, c := range []struct {
		vtep registry.VTEP
		want *vtepsv1.Vtep
	}{
		{
			registry.VTEP{Node: "a", Admitted: true, Address: netip.MustParseAddr("192.168.1.1"), PodCIDRs: []netip.Prefix{netip.MustParsePrefix("100.64.1.0/24")}},
			&vtepsv1.Vtep{Node: "a", Ip: "192.168.1.1", PodCidrs: []string{"100.64.1.0/24"}, State: vtepsv1.State_STATE_ADMITTED, Source: vtepsv1.Source_SOURCE_CILIUM_NODE},
		},
		{
			registry.VTEP{Node: "registered/a", Source: registry.Registered, Stale: true, Admitted: true, Address: netip.MustParseAddr("192.168.1.1")},
			&vtepsv1.Vtep{Node: "registered/a", Ip: "192.168.1.1", State: vtepsv1.State_STATE_ADMITTED, Stale: true, Source: vtepsv1.Source_SOURCE_REGISTERED},
		},
		{
			registry.VTEP{Node: "b", Refusals: []registry.Refusal{{Reason: registry.NoAddress, Detail: "one"}, {Reason: registry.BadCIDR, Detail: "two"}}},
			&vtepsv1.Vtep{Node: "b", State: vtepsv1.State_STATE_QUARANTINED, Reason: "one; two", Source: vtepsv1.Source_SOURCE_CILIUM_NODE},
		},
	} {
		if diff := cmp.Diff(c.want, encode(c.vtep), protocmp.Transform(), protocmp.FilterField(&vtepsv1.Vtep{}, "pod_cidrs", cmpopts.EquateEmpty())); diff != "" {
			t.Error(diff)
		}
	}
}

func TestDecode(t *testing.T) {
	message := func(change func(*leadershipv1.Leadership)) *leadershipv1.Leadership {
		m := &leadershipv1.Leadership{Shard: "default", Epoch: 7, Role: leadershipv1.Role_ROLE_ACTIVE, ValidUntilBoottime: int64(time.Minute),
			Holder: &leadershipv1.Gateway{Id: "gw-a", NodeIp: "10.0.1.10", VtepMac: "02:68:0A:00:01:0a"}}
		change(m)
		return m
	}
	full := Leadership{ValidUntil: time.Minute, Holder: publish.Leadership{Epoch: 7, Active: true, Gateway: "gw-a",
		VTEP: netip.MustParseAddr("10.0.1.10"), MAC: netaddr.MAC{2, 0x68, 10, 0, 1, 10}}}
	for _, c := range []struct {
		name   string
		change func(*leadershipv1.Leadership)
		want   func(*Leadership)
		err    string
	}{
		{"active", func(*leadershipv1.Leadership) {}, func(*Leadership) {}, ""},
		{"standby may not write, whatever the message says", func(m *leadershipv1.Leadership) { m.Role = leadershipv1.Role_ROLE_STANDBY },
			func(l *Leadership) { l.Holder.Active, l.ValidUntil = false, 0 }, ""},
		{"observer", func(m *leadershipv1.Leadership) { m.Role = leadershipv1.Role_ROLE_OBSERVER },
			func(l *Leadership) { l.Holder.Active, l.ValidUntil = false, 0 }, ""},
		{"no holder", func(m *leadershipv1.Leadership) { m.Holder, m.Role = nil, leadershipv1.Role_ROLE_STANDBY },
			func(l *Leadership) { *l = Leadership{Holder: publish.Leadership{Epoch: 7}} }, ""},
		{"no MAC yet", func(m *leadershipv1.Leadership) { m.Holder.VtepMac = "" }, func(l *Leadership) { l.Holder.MAC = netaddr.MAC{} }, ""},
		{"bad MAC", func(m *leadershipv1.Leadership) { m.Holder.VtepMac = "02:68" }, nil, "MAC of the holder of shard default"},
		{"bad address", func(m *leadershipv1.Leadership) { m.Holder.NodeIp = "fd00::1" }, nil, "address of the holder of shard default"},
		{"another key", func(m *leadershipv1.Leadership) { m.Shard = "b" }, nil, `leadership of shard "b" has the key "default"`},
		{"no shard", func(m *leadershipv1.Leadership) { m.Shard = "" }, nil, `leadership of shard "" has the key "default"`},
	} {
		got, err := decode("default", message(c.change))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %v, want %s", c.name, err, c.err)
			}
			continue
		}
		want := full
		c.want(&want)
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		}
	}
	if _, err := decode("default", nil); err == nil {
		t.Error("an empty message was taken")
	}
}
