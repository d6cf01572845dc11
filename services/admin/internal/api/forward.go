package api

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hybridgateway/gateway/libs/daemon"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
)

// How long a service may take for what an operator asks for, if the operator does not
// give up before.
const (
	// answerWithin is for what a service does in memory.
	answerWithin = 10 * time.Second
	// registerWithin is beyond vtep-registry's own bound of its calls to the API server, 10 s.
	registerWithin = 15 * time.Second
	// transferWithin is beyond election's own bound, --handover-timeout.
	transferWithin = 2 * time.Minute
	// purgeWithin covers 10,000 routes at the five writes a second that EC2 grants an account.
	purgeWithin = time.Hour
	// wayBack is what is kept of the operator's patience for the answer, but no more than a fifth.
	wayBack = time.Second
)

// TransferLeadership implements AdminService.
func (s *Server) TransferLeadership(ctx context.Context, r *adminv1.TransferLeadershipRequest) (*adminv1.TransferLeadershipResponse, error) {
	ctx, cancel := bounded(ctx, transferWithin)
	defer cancel()
	answer, err := s.Election.Transfer(ctx, &leadershipv1.TransferRequest{Shard: r.GetShard(), To: r.GetTo()})
	if err != nil {
		return nil, forwarded(daemon.Election, err)
	}
	return &adminv1.TransferLeadershipResponse{Holder: answer.GetHolder(), Epoch: answer.GetEpoch()}, nil
}

// AdoptRoute implements AdminService.
func (s *Server) AdoptRoute(ctx context.Context, r *adminv1.AdoptRouteRequest) (*adminv1.AdoptRouteResponse, error) {
	ctx, cancel := bounded(ctx, answerWithin)
	defer cancel()
	if _, err := s.RouteSync.Adopt(ctx, &routesv1.AdoptRequest{TableId: r.GetTableId(), Destination: r.GetDestination()}); err != nil {
		return nil, forwarded(daemon.RouteSync, err)
	}
	return &adminv1.AdoptRouteResponse{}, nil
}

// PurgeRoutes implements AdminService. When the caller gives up, what was begun goes on.
func (s *Server) PurgeRoutes(ctx context.Context, _ *adminv1.PurgeRoutesRequest) (*adminv1.PurgeRoutesResponse, error) {
	ctx, cancel := bounded(ctx, purgeWithin)
	defer cancel()
	answer, err := s.RouteSync.Purge(ctx, &routesv1.PurgeRequest{})
	if err != nil {
		return nil, forwarded(daemon.RouteSync, err)
	}
	return &adminv1.PurgeRoutesResponse{Led: answer.GetLed(), Left: answer.GetLeft()}, nil
}

// PurgeTunnel implements AdminService. It goes by what election has last told, and refuses when that may be out of date.
func (s *Server) PurgeTunnel(ctx context.Context, r *adminv1.PurgeTunnelRequest) (*adminv1.PurgeTunnelResponse, error) {
	if !r.GetForce() {
		if err := s.mayStopForwarding(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := bounded(ctx, answerWithin)
	defer cancel()
	answer, err := s.Dataplane.Purge(ctx, &tunnelv1.PurgeRequest{})
	if err != nil {
		return nil, forwarded(daemon.Dataplane, err)
	}
	return &adminv1.PurgeTunnelResponse{Left: answer.GetLeft()}, nil
}

// mayStopForwarding is an error unless every shard is known to be led by another gateway, which has its routes in place. A gateway that has
// lost its leadership to nobody is still the one that traffic is led to.
func (s *Server) mayStopForwarding() error {
	if !s.Joined.Connected()[daemon.Election] {
		return status.Error(codes.FailedPrecondition, "election of this gateway is not heard, so it is not known whether the gateway leads: nothing is removed")
	}
	st, _ := s.Joined.Status(now())
	for _, shard := range st.GetShards() {
		l := shard.GetLeadership()
		switch holder := l.GetHolder().GetId(); {
		case l.GetRole() == leadershipv1.Role_ROLE_ACTIVE, holder == st.GetGatewayId():
			return status.Errorf(codes.FailedPrecondition, "the gateway leads shard %s: hand that over first; nothing is removed", l.GetShard())
		case holder == "":
			return status.Errorf(codes.FailedPrecondition, "nobody leads shard %s; nothing is removed", l.GetShard())
		case !l.GetHolderConverged():
			return status.Errorf(codes.FailedPrecondition, "%s, which leads shard %s, has not recorded yet that its routes are in place; nothing is removed", holder, l.GetShard())
		}
	}
	return nil
}

// GetIamPolicy implements AdminService.
func (s *Server) GetIamPolicy(ctx context.Context, _ *adminv1.GetIamPolicyRequest) (*adminv1.GetIamPolicyResponse, error) {
	ctx, cancel := bounded(ctx, answerWithin)
	defer cancel()
	answer, err := s.RouteSync.Policy(ctx, &routesv1.PolicyRequest{})
	if err != nil {
		return nil, forwarded(daemon.RouteSync, err)
	}
	return &adminv1.GetIamPolicyResponse{Document: answer.GetDocument()}, nil
}

// RegisterVtep implements AdminService.
func (s *Server) RegisterVtep(ctx context.Context, r *adminv1.RegisterVtepRequest) (*adminv1.RegisterVtepResponse, error) {
	ctx, cancel := bounded(ctx, registerWithin)
	defer cancel()
	answer, err := s.Vteps.RegisterVtep(ctx, &vtepsv1.RegisterVtepRequest{Name: r.GetName(), Ip: r.GetIp(), PodCidrs: r.GetPodCidrs()})
	if err != nil {
		return nil, forwarded(daemon.VtepRegistry, err)
	}
	return &adminv1.RegisterVtepResponse{Vtep: answer.GetVtep()}, nil
}

// DeregisterVtep implements AdminService.
func (s *Server) DeregisterVtep(ctx context.Context, r *adminv1.DeregisterVtepRequest) (*adminv1.DeregisterVtepResponse, error) {
	ctx, cancel := bounded(ctx, registerWithin)
	defer cancel()
	if _, err := s.Vteps.DeregisterVtep(ctx, &vtepsv1.DeregisterVtepRequest{Name: r.GetName()}); err != nil {
		return nil, forwarded(daemon.VtepRegistry, err)
	}
	return &adminv1.DeregisterVtepResponse{}, nil
}

// GetPublication implements AdminService.
func (s *Server) GetPublication(ctx context.Context, _ *adminv1.GetPublicationRequest) (*adminv1.GetPublicationResponse, error) {
	ctx, cancel := bounded(ctx, answerWithin)
	defer cancel()
	answer, err := s.Vteps.GetPublication(ctx, &vtepsv1.GetPublicationRequest{})
	if err != nil {
		return nil, forwarded(daemon.VtepRegistry, err)
	}
	return &adminv1.GetPublicationResponse{Publication: answer}, nil
}

// bounded ends after the limit, or a little before the caller gives up: then the answer that
// says which service is late still reaches the caller.
func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if deadline, ok := ctx.Deadline(); ok {
		patience := time.Until(deadline)
		limit = min(limit, patience-min(wayBack, patience/5))
	}
	return context.WithTimeout(ctx, limit)
}

// forwarded is a service's error as the operator gets it: with its code, the name of the
// service, and a plain word when it is away.
func forwarded(service string, err error) error {
	s := status.Convert(err)
	message := service + ": " + s.Message()
	switch s.Code() {
	case codes.Unavailable:
		message = service + " of this gateway is not available: " + s.Message()
	case codes.DeadlineExceeded:
		message = service + " of this gateway did not answer in time"
	case codes.Unimplemented:
		message = service + " of this gateway is of a version that cannot do this: " + s.Message()
	}
	detailed, failure := status.New(s.Code(), message).WithDetails(&adminv1.Forwarding{Service: service})
	if failure != nil {
		return status.Error(s.Code(), message)
	}
	return detailed.Err()
}
