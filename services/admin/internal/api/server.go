package api

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/hybridgateway/gateway/libs/boottime"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	joined "github.com/hybridgateway/gateway/services/admin/internal/status"
)

// watchInterval is the least time between two statuses on one WatchStatus stream.
const watchInterval = 100 * time.Millisecond

// Server answers AdminService: reads from a joined status, the rest by asking the services.
type Server struct {
	adminv1.UnimplementedAdminServiceServer
	Joined    *joined.Joined
	Election  leadershipv1.LeadershipServiceClient
	RouteSync routesv1.RoutesServiceClient
	Vteps     vtepsv1.VtepsServiceClient
	Dataplane tunnelv1.TunnelServiceClient
}

// GetStatus implements AdminService.
func (s *Server) GetStatus(context.Context, *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	st, _ := s.Joined.Status(now())
	return &adminv1.GetStatusResponse{Status: st}, nil
}

// WatchStatus implements AdminService. Changes that come faster than the client
// reads, or than watchInterval, are joined into one.
func (s *Server) WatchStatus(_ *adminv1.WatchStatusRequest, stream grpc.ServerStreamingServer[adminv1.WatchStatusResponse]) error {
	ctx := stream.Context()
	for {
		st, changed := s.Joined.Status(now())
		if err := stream.Send(&adminv1.WatchStatusResponse{Status: st}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchInterval):
		}
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-changed:
		}
	}
}

func now() joined.Time { return joined.Time{Wall: time.Now(), Boot: boottime.Now()} }
