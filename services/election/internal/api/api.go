// Package api is where election's protobuf ends: leadership out, the state of the tunnel
// and of the VPC's routes in.
package api

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	"github.com/hybridgateway/gateway/libs/netaddr"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// LeadershipServer serves LeadershipService from a log keyed by shard.
type LeadershipServer struct {
	leadershipv1.UnimplementedLeadershipServiceServer
	Log *feed.Log[Leadership]
	// Hand hands a shard over and waits for the end of it. Its error is ErrNoSuchShard or that of ctx.
	Hand func(ctx context.Context, shard, to string) (term.Transferred, error)
}

// Watch implements LeadershipService.
func (s *LeadershipServer) Watch(r *leadershipv1.WatchRequest, stream grpc.ServerStreamingServer[leadershipv1.WatchResponse]) error {
	return wire.Serve(stream, s.Log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[Leadership]) *leadershipv1.WatchResponse {
		m := &leadershipv1.WatchResponse{Header: h}
		if e.Kind == feed.Upsert {
			m.Leadership = encode(e.Value)
		}
		return m
	})
}

// Leadership is an item of the stream.
type Leadership struct {
	term.Leadership
	// Peers are the other gateways that this one watches. Nobody changes the slice.
	Peers []Peer
}

// Peer is another gateway. Of one that was never heard, whose Condition is zero, only Gateway.NodeIP is known.
type Peer struct {
	Gateway   term.Gateway
	Condition term.Condition
	// Since is when the condition began, for one that is silent or has left when it was last heard.
	Since     time.Duration
	Standing  bool
	Converged uint64
}

func encode(l Leadership) *leadershipv1.Leadership {
	m := &leadershipv1.Leadership{
		Shard:              l.Shard,
		Epoch:              l.Epoch,
		Role:               role(l.Role),
		ValidUntilBoottime: int64(l.ValidUntil),
		Cause:              cause(l.Cause),
		HolderConverged:    l.Converged,
		Departure:          departure(l.Departure),
	}
	if l.Holder.ID != "" {
		m.Holder = encodeGateway(l.Holder)
	}
	for _, p := range l.Peers {
		m.Peers = append(m.Peers, &leadershipv1.Peer{
			Gateway:        encodeGateway(p.Gateway),
			Condition:      peerCondition(p.Condition),
			SinceBoottime:  int64(p.Since),
			Standing:       p.Standing,
			ConvergedEpoch: p.Converged,
		})
	}
	return m
}

func peerCondition(c term.Condition) leadershipv1.PeerCondition {
	switch c {
	case term.Hearing:
		return leadershipv1.PeerCondition_PEER_CONDITION_HEARD
	case term.Deaf:
		return leadershipv1.PeerCondition_PEER_CONDITION_ONE_WAY
	case term.Silent:
		return leadershipv1.PeerCondition_PEER_CONDITION_SILENT
	case term.Left:
		return leadershipv1.PeerCondition_PEER_CONDITION_LEFT
	}
	return leadershipv1.PeerCondition_PEER_CONDITION_NEVER_HEARD
}

func encodeGateway(g term.Gateway) *leadershipv1.Gateway {
	m := &leadershipv1.Gateway{Id: g.ID, EniId: g.ENI, Zone: g.Zone}
	if g.NodeIP.IsValid() {
		m.NodeIp = g.NodeIP.String()
	}
	if !g.MAC.IsZero() {
		m.VtepMac = g.MAC.String()
	}
	return m
}

func departure(d term.Departure) leadershipv1.Departure {
	switch d {
	case term.Leaving:
		return leadershipv1.Departure_DEPARTURE_LEAVING
	case term.Last:
		return leadershipv1.Departure_DEPARTURE_LAST
	case term.Staying:
	}
	return leadershipv1.Departure_DEPARTURE_UNSPECIFIED
}

func role(r term.Role) leadershipv1.Role {
	switch r {
	case term.Active:
		return leadershipv1.Role_ROLE_ACTIVE
	case term.Standby:
		return leadershipv1.Role_ROLE_STANDBY
	case term.Observer:
		return leadershipv1.Role_ROLE_OBSERVER
	}
	return leadershipv1.Role_ROLE_UNSPECIFIED
}

func cause(c term.Cause) leadershipv1.Cause {
	switch c {
	case term.Vacant:
		return leadershipv1.Cause_CAUSE_VACANT
	case term.Expired:
		return leadershipv1.Cause_CAUSE_EXPIRED
	case term.HandedOver:
		return leadershipv1.Cause_CAUSE_HANDOVER
	case term.Restarted:
		return leadershipv1.Cause_CAUSE_RESTARTED
	case term.Renewed:
		return leadershipv1.Cause_CAUSE_RENEWED
	case term.Lost:
		return leadershipv1.Cause_CAUSE_LOST
	case term.Observed:
		return leadershipv1.Cause_CAUSE_OBSERVED
	case term.Converged:
		return leadershipv1.Cause_CAUSE_CONVERGED
	case term.Suspected:
		return leadershipv1.Cause_CAUSE_SUSPECTED
	}
	return leadershipv1.Cause_CAUSE_UNSPECIFIED
}

// Tunnel is what dataplane says of its device.
type Tunnel struct {
	Ready bool
	// Reason says, when Ready is false, why.
	Reason string
	// VTEP and MAC are set when Ready is true.
	VTEP netip.Addr
	MAC  netaddr.MAC
}

// TunnelSource is dataplane's stream behind conn. An item that cannot be read is told to
// skipped and is as if there were no tunnel.
func TunnelSource(conn grpc.ClientConnInterface, skipped func(key string, err error)) feed.Source[Tunnel] {
	return wire.Source(tunnelv1.NewTunnelServiceClient(conn).Watch,
		func(p *feedv1.Position) *tunnelv1.WatchRequest { return &tunnelv1.WatchRequest{ResumeFrom: p} },
		func(m *tunnelv1.WatchResponse) (*feedv1.Header, func() (Tunnel, error)) {
			return m.GetHeader(), func() (Tunnel, error) { return decodeTunnel(m.GetTunnel()) }
		}, skipped)
}

func decodeTunnel(m *tunnelv1.Tunnel) (Tunnel, error) {
	t := Tunnel{Ready: m.GetReady(), Reason: m.GetReason()}
	if !t.Ready {
		return t, nil
	}
	var err error
	if t.VTEP, err = netaddr.ParseIPv4(m.GetVtepIp()); err != nil {
		return t, fmt.Errorf("address of the tunnel: %w", err)
	}
	if t.MAC, err = netaddr.ParseMAC(m.GetMac()); err != nil {
		return t, fmt.Errorf("MAC of the tunnel: %w", err)
	}
	return t, nil
}

// Routes is what route-sync says; at most one of its fields is set. Neither is for the
// state of one route, which election has no use for.
type Routes struct {
	Interface   *Interface
	Convergence *Convergence
}

// Interface is the network interface that routes to this gateway point to.
type Interface struct{ ENI, Zone string }

// Convergence is the epoch under which all routes of a shard pointed to this gateway, or were Removed; zero
// when neither is so.
type Convergence struct {
	Shard   string
	Epoch   uint64
	Removed bool
}

// RoutesSource is route-sync's stream behind conn. An item that cannot be read is told to
// skipped and is as if it were not there.
func RoutesSource(conn grpc.ClientConnInterface, skipped func(key string, err error)) feed.Source[Routes] {
	return wire.Source(routesv1.NewRoutesServiceClient(conn).Watch,
		func(p *feedv1.Position) *routesv1.WatchRequest { return &routesv1.WatchRequest{ResumeFrom: p} },
		func(m *routesv1.WatchResponse) (*feedv1.Header, func() (Routes, error)) {
			return m.GetHeader(), func() (Routes, error) { return decodeRoutes(m) }
		}, skipped)
}

func decodeRoutes(m *routesv1.WatchResponse) (Routes, error) {
	switch item := m.GetItem().(type) {
	case *routesv1.WatchResponse_Interface:
		i := Interface{ENI: item.Interface.GetEniId(), Zone: item.Interface.GetZone()}
		if i.ENI == "" {
			return Routes{}, errors.New("the network interface has no id")
		}
		return Routes{Interface: &i}, nil
	case *routesv1.WatchResponse_Convergence:
		return Routes{Convergence: &Convergence{
			Shard: item.Convergence.GetShard(), Epoch: item.Convergence.GetEpoch(), Removed: item.Convergence.GetRemoved(),
		}}, nil
	}
	return Routes{}, nil
}
