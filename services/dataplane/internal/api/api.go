// Package api is where the dataplane's protobuf ends: the tunnel's state out, the registry's VTEPs in.
package api

import (
	"context"
	"fmt"
	"net/netip"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
	"github.com/hybridgateway/gateway/services/dataplane/internal/tunnel"
)

// TunnelServer serves TunnelService from a log of states, keyed by the device's name.
type TunnelServer struct {
	tunnelv1.UnimplementedTunnelServiceServer
	Log *feed.Log[tunnel.State]
	// Remove is [tunnel.Loop.Purge].
	Remove func(context.Context) (left []string, err error)
}

// Purge implements TunnelService.
func (s *TunnelServer) Purge(ctx context.Context, _ *tunnelv1.PurgeRequest) (*tunnelv1.PurgeResponse, error) {
	left, err := s.Remove(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, status.FromContextError(ctx.Err()).Err()
	case err != nil:
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &tunnelv1.PurgeResponse{Left: left}, nil
}

// Watch implements TunnelService.
func (s *TunnelServer) Watch(r *tunnelv1.WatchRequest, stream grpc.ServerStreamingServer[tunnelv1.WatchResponse]) error {
	return wire.Serve(stream, s.Log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[tunnel.State]) *tunnelv1.WatchResponse {
		m := &tunnelv1.WatchResponse{Header: h}
		if e.Kind == feed.Upsert {
			m.Tunnel = encode(e.Value)
		}
		return m
	})
}

func encode(s tunnel.State) *tunnelv1.Tunnel {
	return &tunnelv1.Tunnel{
		Device: s.Device,
		Ready:  s.Ready,
		Reason: s.Reason,
		VtepIp: s.Local.String(),
		Mac:    s.MAC.String(),
		Mtu:    uint32(s.MTU),
		Vni:    s.VNI,
		Port:   uint32(s.Port),
		Vteps:  uint32(s.VTEPs),
		Routes: uint32(s.Routes),
		Counters: &tunnelv1.Counters{
			RxPackets: s.Counters.RxPackets, TxPackets: s.Counters.TxPackets,
			RxBytes: s.Counters.RxBytes, TxBytes: s.Counters.TxBytes,
			RxDropped: s.Counters.RxDropped, TxDropped: s.Counters.TxDropped,
		},
		Problems: s.Problems,
	}
}

// Vteps is the registry's stream behind conn. An item that cannot be read is told to skipped and is as if it were not there.
func Vteps(conn grpc.ClientConnInterface, skipped func(key string, err error)) feed.Source[tunnel.Item] {
	return wire.Source(vtepsv1.NewVtepsServiceClient(conn).Watch,
		func(p *feedv1.Position) *vtepsv1.WatchRequest { return &vtepsv1.WatchRequest{ResumeFrom: p} },
		func(m *vtepsv1.WatchResponse) (*feedv1.Header, func() (tunnel.Item, error)) {
			return m.GetHeader(), func() (tunnel.Item, error) { return decode(m.GetHeader().GetKey(), m.GetVtep()) }
		}, skipped)
}

// decode is strict about what is no address at all; whether an address makes sense for a VTEP is package plan's to say. A VTEP that is
// not to be programmed needs no address.
func decode(key string, m *vtepsv1.Vtep) (tunnel.Item, error) {
	item := tunnel.Item{VTEP: plan.VTEP{Node: key}, Stale: m.GetStale()}
	switch m.GetState() {
	case vtepsv1.State_STATE_ADMITTED:
		item.Admitted = true
	case vtepsv1.State_STATE_QUARANTINED:
		return item, nil
	default:
		return item, fmt.Errorf("vtep %s has the unknown state %v", key, m.GetState())
	}
	var err error
	if item.VTEP.Underlay, err = netip.ParseAddr(m.GetIp()); err != nil {
		return item, fmt.Errorf("address of vtep %s: %w", key, err)
	}
	for _, s := range m.GetPodCidrs() {
		cidr, err := netip.ParsePrefix(s)
		if err != nil {
			return item, fmt.Errorf("pod network of vtep %s: %w", key, err)
		}
		item.VTEP.PodCIDRs = append(item.VTEP.PodCIDRs, cidr)
	}
	return item, nil
}
