package api

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/grpctest"
	"github.com/hybridgateway/gateway/libs/netaddr"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
	"github.com/hybridgateway/gateway/services/dataplane/internal/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDecode(t *testing.T) {
	cases := []struct {
		name string
		in   *vtepsv1.Vtep
		want string // part of the error; empty for none
	}{
		{"nothing", nil, "unknown state"},
		{"state of a newer registry", &vtepsv1.Vtep{State: 9}, "unknown state"},
		{"no address", &vtepsv1.Vtep{State: vtepsv1.State_STATE_ADMITTED}, "address of vtep n1"},
		{"no network", &vtepsv1.Vtep{State: vtepsv1.State_STATE_ADMITTED, Ip: "192.168.1.11", PodCidrs: []string{"100.64.1.0"}}, "pod network of vtep n1"},
		{"quarantined", &vtepsv1.Vtep{State: vtepsv1.State_STATE_QUARANTINED, Ip: "nonsense"}, ""},
		{"good", &vtepsv1.Vtep{State: vtepsv1.State_STATE_ADMITTED, Ip: "192.168.1.11", PodCidrs: []string{"100.64.1.0/24", "100.65.1.0/24"}}, ""},
	}
	for _, c := range cases {
		item, err := decode("n1", c.in)
		if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
		if err == nil && item.Admitted != (c.in.State == vtepsv1.State_STATE_ADMITTED) {
			t.Errorf("%s: got %+v", c.name, item)
		}
		if item.Admitted && err == nil && len(item.VTEP.PodCIDRs) != 2 {
			t.Errorf("%s: got %+v", c.name, item)
		}
	}
}

func TestWatch(t *testing.T) {
	log := feed.NewLog[tunnel.State](8)
	local := netip.MustParseAddr("10.0.1.10")
	log.Set(t.Context(), "hybrid_vxlan0", tunnel.State{
		Status: tunnel.Status{Device: "hybrid_vxlan0", Ready: true, Local: local, MAC: netaddr.VTEPMAC(local), MTU: 1450, VNI: 2, Port: 8472,
			VTEPs: 3, Routes: 4, Counters: plan.Counters{RxPackets: 1, TxPackets: 2, RxBytes: 3, TxBytes: 4, RxDropped: 5, TxDropped: 6}},
		Problems: []string{"one"},
	})
	log.MarkSynced()
	conn := grpctest.Serve(t, func(s *grpc.Server) { tunnelv1.RegisterTunnelServiceServer(s, &TunnelServer{Log: log}) })
	stream, err := tunnelv1.NewTunnelServiceClient(conn).Watch(t.Context(), &tunnelv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got *tunnelv1.Tunnel
	for got == nil {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got = m.GetTunnel()
	}
	want := &tunnelv1.Tunnel{Device: "hybrid_vxlan0", Ready: true, VtepIp: "10.0.1.10", Mac: "02:68:0a:00:01:0a", Mtu: 1450, Vni: 2, Port: 8472,
		Vteps: 3, Routes: 4, Counters: &tunnelv1.Counters{RxPackets: 1, TxPackets: 2, RxBytes: 3, TxBytes: 4, RxDropped: 5, TxDropped: 6},
		Problems: []string{"one"}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
