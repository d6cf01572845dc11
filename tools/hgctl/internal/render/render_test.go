package render_test

import (
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/render"
)

var rewrite = flag.Bool("rewrite", false, "write what is rendered into testdata")

var now = timestamppb.New(time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC))

func TestPublication(t *testing.T) {
	for name, p := range map[string]*vtepsv1.GetPublicationResponse{
		"published": {
			Mode: vtepsv1.Mode_MODE_PUBLISHED, ApiVersion: "cilium.io/v2alpha1", Object: "hybrid-gateway", Epoch: 7,
			Endpoints: []*vtepsv1.EndpointStatus{{Node: "node1", Endpoint: "vpc-gateway", Synced: true}, {Node: "node2", Endpoint: "vpc-gateway", Error: "no\x1b[31m"}},
			Problems:  []string{"another CiliumVTEPConfig claims 10.0.0.0/16"},
		},
		"nocrd":     {Mode: vtepsv1.Mode_MODE_PUBLISHED},
		"unwritten": {Mode: vtepsv1.Mode_MODE_PUBLISHED, ApiVersion: "cilium.io/v2", Object: "hybrid-gateway"},
		"floating": {
			Mode: vtepsv1.Mode_MODE_FLOATING, Problems: []string{"vtep-mask is \"\""}, NodesBehind: []string{"node1", "node2"},
			CiliumSettings: "# Values\nvtep:\n  enabled: true\n",
		},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, func(w io.Writer) error { return render.Publication(w, p) }) })
	}
}

func TestTable(t *testing.T) {
	for name, r := range map[string]struct {
		write  func(io.Writer, *adminv1.Status) error
		status *adminv1.Status
	}{
		"healthy":  {render.Table, healthy()},
		"troubled": {render.Table, troubled()},
		"sharded":  {render.Table, sharded()},
		"empty":    {render.Table, &adminv1.Status{}},
		"routes":   {render.Routes, troubled()},
		"vteps":    {render.Vteps, troubled()},
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name, func(w io.Writer) error { return r.write(w, r.status) })
		})
	}
}

// golden is that what is written stands in testdata.
func golden(t *testing.T, name string, write func(io.Writer) error) {
	t.Helper()
	var got strings.Builder
	if err := write(&got); err != nil {
		t.Fatal(err)
	}
	file := "testdata/" + name + ".txt"
	if *rewrite {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got.String(), want)
	}
}

func healthy() *adminv1.Status {
	up := func(name string) *adminv1.ServiceStatus {
		return &adminv1.ServiceStatus{Name: name, Connected: true, Since: now, Revision: 12}
	}
	return &adminv1.Status{
		GatewayId: "gw1", Version: "v1.2.3", Time: now,
		Services: []*adminv1.ServiceStatus{up("election"), up("vtep-registry"), up("dataplane"), up("route-sync")},
		Shards: []*adminv1.ShardStatus{{
			Leadership: &leadershipv1.Leadership{
				Shard: "default", Epoch: 7, Role: leadershipv1.Role_ROLE_ACTIVE, HolderConverged: true,
				Holder: &leadershipv1.Gateway{Id: "gw1", NodeIp: "10.0.1.10", EniId: "eni-1", Zone: "eu-west-1a", VtepMac: "02:00:0a:00:01:0a"},
			},
			ValidFor: durationpb.New(1734 * time.Millisecond), ConvergedEpoch: 7,
			Peers: []*adminv1.PeerStatus{{Since: now, Peer: &leadershipv1.Peer{
				Gateway:   &leadershipv1.Gateway{Id: "gw2", NodeIp: "10.0.2.10", EniId: "eni-2", Zone: "eu-west-1b"},
				Condition: leadershipv1.PeerCondition_PEER_CONDITION_HEARD, Standing: true, ConvergedEpoch: 5,
			}}},
		}},
		Tunnels: []*tunnelv1.Tunnel{{
			Device: "hybrid_vxlan0", Ready: true, VtepIp: "10.0.1.10", Mac: "02:00:0a:00:01:0a", Mtu: 1450, Vni: 2, Port: 8472,
			Vteps: 2, Routes: 3, Counters: &tunnelv1.Counters{RxPackets: 100, TxPackets: 90},
		}},
		Vteps: []*vtepsv1.Vtep{
			{Node: "node1", Ip: "192.168.1.11", PodCidrs: []string{"100.64.1.0/24"}, State: vtepsv1.State_STATE_ADMITTED},
			{Node: "node2", Ip: "192.168.1.12", PodCidrs: []string{"100.64.2.0/24", "100.65.2.0/24"}, State: vtepsv1.State_STATE_ADMITTED},
		},
		Routes: []*routesv1.Route{
			{TableId: "rtb-1", Destination: "100.64.0.0/16", Target: "eni-1", State: routesv1.State_STATE_IN_SYNC, Epoch: 7},
			{TableId: "rtb-2", Destination: "100.64.0.0/16", Target: "eni-1", State: routesv1.State_STATE_IN_SYNC, Epoch: 7},
		},
		OwnInterface: &routesv1.Interface{EniId: "eni-1", Region: "eu-west-1", Zone: "eu-west-1a", SourceDestCheck: routesv1.SourceDestCheck_SOURCE_DEST_CHECK_OFF},
	}
}

// sharded has a second shard, which nobody leads.
func sharded() *adminv1.Status {
	s := healthy()
	peer := proto.CloneOf(s.Shards[0].Peers[0])
	peer.Peer.ConvergedEpoch = 9
	s.Shards[0].Leadership.Shard = "zone-a"
	s.Shards = append(s.Shards, &adminv1.ShardStatus{
		Leadership: &leadershipv1.Leadership{Shard: "zone-b", Epoch: 9, Role: leadershipv1.Role_ROLE_STANDBY}, Peers: []*adminv1.PeerStatus{peer},
	})
	return s
}

func troubled() *adminv1.Status {
	s := healthy()
	s.Services[1] = &adminv1.ServiceStatus{Name: "vtep-registry", Since: now, Error: "connection refused"}
	s.Shards[0].Leadership = &leadershipv1.Leadership{Shard: "default", Epoch: 8, Role: leadershipv1.Role_ROLE_STANDBY}
	s.Shards[0].Peers[0].Peer.Condition = leadershipv1.PeerCondition_PEER_CONDITION_SILENT
	s.Shards[0].Peers = append(s.Shards[0].Peers,
		&adminv1.PeerStatus{Since: now, Peer: &leadershipv1.Peer{
			Gateway: &leadershipv1.Gateway{Id: "gw3", NodeIp: "10.0.3.10"}, Condition: leadershipv1.PeerCondition_PEER_CONDITION_ONE_WAY,
		}},
		&adminv1.PeerStatus{Peer: &leadershipv1.Peer{
			Gateway: &leadershipv1.Gateway{NodeIp: "10.0.4.10"}, Condition: leadershipv1.PeerCondition_PEER_CONDITION_NEVER_HEARD,
		}})
	s.Tunnels[0].Ready, s.Tunnels[0].Reason = false, "net.ipv4.ip_forward is 0: set it to 1"
	s.Tunnels[0].Problems = []string{"route 100.64.9.0/24: another route is there"}
	s.Vteps[1].State, s.Vteps[1].Reason = vtepsv1.State_STATE_QUARANTINED, "100.64.2.0/24 is node1's\x1b[31m\tred"
	s.Routes[0].State, s.Routes[0].Target, s.Routes[0].Detail = routesv1.State_STATE_CONFLICT, "tgw-1", "points to a transit gateway: left alone"
	s.Routes[1].State, s.Routes[1].Detail = routesv1.State_STATE_ERROR, "RequestLimitExceeded"
	s.Routes = append(s.Routes, &routesv1.Route{TableId: "rtb-2", Destination: "100.64.0.0/24", Target: "pcx-1", State: routesv1.State_STATE_CONFLICT, Detail: "takes traffic of a pod network"})
	s.OwnInterface.SourceDestCheck = routesv1.SourceDestCheck_SOURCE_DEST_CHECK_ON
	s.MissingPermissions = []*routesv1.Permission{{Action: "ec2:ReplaceRoute", Resource: "arn:aws:ec2:eu-west-1:111122223333:route-table/rtb-2"}}
	s.Vteps[0].Stale = true
	return s
}
