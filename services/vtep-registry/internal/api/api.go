// Package api is where vtep-registry's protobuf ends: verdicts on nodes out, leadership in.
package api

import (
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	"github.com/hybridgateway/gateway/libs/netaddr"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// VtepsServer serves VtepsService from a log of verdicts.
type VtepsServer struct {
	vtepsv1.UnimplementedVtepsServiceServer
	Log      *feed.Log[registry.VTEP]
	Operator Operator
	Codes    Codes
}

// Watch implements VtepsService.
func (s *VtepsServer) Watch(r *vtepsv1.WatchRequest, stream grpc.ServerStreamingServer[vtepsv1.WatchResponse]) error {
	return wire.Serve(stream, s.Log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[registry.VTEP]) *vtepsv1.WatchResponse {
		m := &vtepsv1.WatchResponse{Header: h}
		if e.Kind == feed.Upsert {
			m.Vtep = encode(e.Value)
		}
		return m
	})
}

func encode(v registry.VTEP) *vtepsv1.Vtep {
	m := &vtepsv1.Vtep{Node: v.Node, PodCidrs: make([]string, len(v.PodCIDRs)), State: vtepsv1.State_STATE_QUARANTINED, Reason: v.Reason(), Stale: v.Stale, Source: vtepsv1.Source_SOURCE_CILIUM_NODE}
	if v.Source == registry.Registered {
		m.Source = vtepsv1.Source_SOURCE_REGISTERED
	}
	if v.Admitted {
		m.State = vtepsv1.State_STATE_ADMITTED
	}
	if v.Address.IsValid() {
		m.Ip = v.Address.String()
	}
	for i, p := range v.PodCIDRs {
		m.PodCidrs[i] = p.String()
	}
	return m
}

// Leadership is what election says of a shard.
type Leadership struct {
	// Holder has Active set when this gateway holds the record, whether or not it may
	// still write.
	Holder publish.Leadership
	// ValidUntil is the CLOCK_BOOTTIME reading until which this gateway may write; zero
	// unless it is active.
	ValidUntil time.Duration
}

// Source is election's stream behind conn. An item that cannot be read is told to
// skipped and is as if it were not there: nobody leads.
func Source(conn grpc.ClientConnInterface, skipped func(key string, err error)) feed.Source[Leadership] {
	return wire.Source(leadershipv1.NewLeadershipServiceClient(conn).Watch,
		func(p *feedv1.Position) *leadershipv1.WatchRequest { return &leadershipv1.WatchRequest{ResumeFrom: p} },
		func(m *leadershipv1.WatchResponse) (*feedv1.Header, func() (Leadership, error)) {
			return m.GetHeader(), func() (Leadership, error) { return decode(m.GetHeader().GetKey(), m.GetLeadership()) }
		}, skipped)
}

func decode(key string, m *leadershipv1.Leadership) (Leadership, error) {
	if m.GetShard() == "" || m.GetShard() != key {
		return Leadership{}, fmt.Errorf("leadership of shard %q has the key %q", m.GetShard(), key)
	}
	l := Leadership{Holder: publish.Leadership{
		Epoch:   m.GetEpoch(),
		Active:  m.GetRole() == leadershipv1.Role_ROLE_ACTIVE,
		Gateway: m.GetHolder().GetId(),
	}}
	if l.Holder.Active {
		l.ValidUntil = time.Duration(m.GetValidUntilBoottime())
	}
	// A holder may not have told its address and MAC yet; what it told must be right.
	var err error
	if text := m.GetHolder().GetNodeIp(); text != "" {
		if l.Holder.VTEP, err = netaddr.ParseIPv4(text); err != nil {
			l.Holder.VTEP = netip.Addr{}
			return l, fmt.Errorf("address of the holder of shard %s: %w", key, err)
		}
	}
	if text := m.GetHolder().GetVtepMac(); text != "" {
		if l.Holder.MAC, err = netaddr.ParseMAC(text); err != nil {
			return l, fmt.Errorf("MAC of the holder of shard %s: %w", key, err)
		}
	}
	return l, nil
}
