// Package api is where route-sync's protobuf ends: the state of the routes out, leadership in.
package api

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/services/route-sync/internal/syncer"
)

// RoutesServer serves RoutesService from a log of items.
type RoutesServer struct {
	routesv1.UnimplementedRoutesServiceServer
	Log *feed.Log[syncer.Item]
	// Shards carry requests out; nil as long as it is not known who this gateway is.
	Shards func() *syncer.Shards
}

// Adopt implements RoutesService.
func (s *RoutesServer) Adopt(ctx context.Context, r *routesv1.AdoptRequest) (*routesv1.AdoptResponse, error) {
	destination, err := plan.ParseDestination(r.GetDestination())
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	shards := s.Shards()
	if shards == nil {
		return nil, errEarly
	}
	if err := shards.Adopt(ctx, plan.Key{Table: r.GetTableId(), Destination: destination}); err != nil {
		return nil, failure(ctx, codes.FailedPrecondition, err)
	}
	return &routesv1.AdoptResponse{}, nil
}

// Purge implements RoutesService.
func (s *RoutesServer) Purge(ctx context.Context, _ *routesv1.PurgeRequest) (*routesv1.PurgeResponse, error) {
	shards := s.Shards()
	if shards == nil {
		return nil, errEarly
	}
	purged, err := shards.Purge(ctx)
	if err != nil {
		return nil, failure(ctx, codes.Unavailable, err)
	}
	return &routesv1.PurgeResponse{Led: purged.Led, Left: purged.Left}, nil
}

// Policy implements RoutesService.
func (s *RoutesServer) Policy(ctx context.Context, _ *routesv1.PolicyRequest) (*routesv1.PolicyResponse, error) {
	shards := s.Shards()
	if shards == nil {
		return nil, errEarly
	}
	document, err := shards.Policy(ctx)
	if err != nil {
		return nil, failure(ctx, codes.Unavailable, err)
	}
	return &routesv1.PolicyResponse{Document: document}, nil
}

var errEarly = status.Error(codes.Unavailable, "route-sync does not know yet which network interface this gateway has")

// failure is an error as the client sees it: with the caller's own reason if the caller gave up.
func failure(ctx context.Context, code codes.Code, err error) error {
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	return status.Error(code, err.Error())
}

// Watch implements RoutesService.
func (s *RoutesServer) Watch(r *routesv1.WatchRequest, stream grpc.ServerStreamingServer[routesv1.WatchResponse]) error {
	return wire.Serve(stream, s.Log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[syncer.Item]) *routesv1.WatchResponse {
		m := &routesv1.WatchResponse{Header: h}
		if e.Kind == feed.Upsert {
			encode(m, e.Value)
		}
		return m
	})
}

func encode(m *routesv1.WatchResponse, item syncer.Item) {
	switch v := item.(type) {
	case syncer.Interface:
		m.Item = &routesv1.WatchResponse_Interface{Interface: &routesv1.Interface{
			EniId: v.ID, Region: v.Region, Zone: v.Zone, SourceDestCheck: checkOf(v.Check), Problem: v.Problem,
		}}
	case syncer.Route:
		m.Item = &routesv1.WatchResponse_Route{Route: &routesv1.Route{
			TableId:     v.Table,
			Destination: v.Destination.String(),
			Target:      v.Target,
			State:       stateOf(v.Condition),
			Detail:      v.Detail,
			Epoch:       v.Epoch,
			Shard:       v.Shard,
		}}
	case syncer.Convergence:
		m.Item = &routesv1.WatchResponse_Convergence{Convergence: &routesv1.Convergence{Shard: v.Shard, Epoch: v.Epoch, Removed: v.Removed}}
	case syncer.Permission:
		m.Item = &routesv1.WatchResponse_Permission{Permission: &routesv1.Permission{Action: v.Action, Resource: v.Resource}}
	}
}

func checkOf(c plan.SourceDestCheck) routesv1.SourceDestCheck {
	switch c {
	case plan.CheckUnknown:
	case plan.CheckOff:
		return routesv1.SourceDestCheck_SOURCE_DEST_CHECK_OFF
	case plan.CheckOn:
		return routesv1.SourceDestCheck_SOURCE_DEST_CHECK_ON
	}
	return routesv1.SourceDestCheck_SOURCE_DEST_CHECK_UNSPECIFIED
}

func stateOf(c plan.Condition) routesv1.State {
	switch c {
	case plan.InSync:
		return routesv1.State_STATE_IN_SYNC
	case plan.Pending:
		return routesv1.State_STATE_PENDING
	case plan.Conflict:
		return routesv1.State_STATE_CONFLICT
	case plan.Errored:
		return routesv1.State_STATE_ERROR
	case plan.Unowned:
		return routesv1.State_STATE_UNOWNED
	}
	return routesv1.State_STATE_UNSPECIFIED
}

// Leadership is election's stream behind conn. An item that cannot be read is told to skipped and is as if
// it were not there: nobody leads.
func Leadership(conn grpc.ClientConnInterface, skipped func(key string, err error)) feed.Source[plan.Leadership] {
	return wire.Source(leadershipv1.NewLeadershipServiceClient(conn).Watch,
		func(p *feedv1.Position) *leadershipv1.WatchRequest { return &leadershipv1.WatchRequest{ResumeFrom: p} },
		func(m *leadershipv1.WatchResponse) (*feedv1.Header, func() (plan.Leadership, error)) {
			return m.GetHeader(), func() (plan.Leadership, error) { return decode(m.GetHeader().GetKey(), m.GetLeadership()) }
		}, skipped)
}

func decode(key string, m *leadershipv1.Leadership) (plan.Leadership, error) {
	l := plan.Leadership{
		Shard:     m.GetShard(),
		Epoch:     m.GetEpoch(),
		Active:    m.GetRole() == leadershipv1.Role_ROLE_ACTIVE,
		Holder:    m.GetHolder().GetEniId(),
		Converged: m.GetHolderConverged(),
		Departure: departureOf(m.GetDeparture()),
	}
	switch {
	case l.Shard == "" || l.Shard != key:
		return l, fmt.Errorf("leadership of shard %q has the key %q", l.Shard, key)
	case l.Holder != "" && !strings.HasPrefix(l.Holder, "eni-"):
		return l, fmt.Errorf("the holder of shard %s has the network interface %q", key, l.Holder)
	}
	if l.Active {
		l.ValidUntil = time.Duration(m.GetValidUntilBoottime())
	}
	return l, nil
}

func departureOf(d leadershipv1.Departure) plan.Departure {
	switch d {
	case leadershipv1.Departure_DEPARTURE_LEAVING:
		return plan.Leaving
	case leadershipv1.Departure_DEPARTURE_LAST:
		return plan.Last
	case leadershipv1.Departure_DEPARTURE_UNSPECIFIED:
	}
	return plan.Staying
}
