// Package api is admin's gRPC: the streams it follows and the API it serves.
package api

import (
	"fmt"

	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/admin/internal/status"
)

// Skipped is told of items that could not be read.
type Skipped = func(key string, err error)

// Leadership follows election.
func Leadership(conn *grpc.ClientConn, skipped Skipped) feed.Source[*leadershipv1.Leadership] {
	return wire.Source(leadershipv1.NewLeadershipServiceClient(conn).Watch,
		func(p *feedv1.Position) *leadershipv1.WatchRequest { return &leadershipv1.WatchRequest{ResumeFrom: p} },
		func(m *leadershipv1.WatchResponse) (*feedv1.Header, func() (*leadershipv1.Leadership, error)) {
			return m.GetHeader(), present(m.GetLeadership())
		}, skipped)
}

// Tunnel follows dataplane.
func Tunnel(conn *grpc.ClientConn, skipped Skipped) feed.Source[*tunnelv1.Tunnel] {
	return wire.Source(tunnelv1.NewTunnelServiceClient(conn).Watch,
		func(p *feedv1.Position) *tunnelv1.WatchRequest { return &tunnelv1.WatchRequest{ResumeFrom: p} },
		func(m *tunnelv1.WatchResponse) (*feedv1.Header, func() (*tunnelv1.Tunnel, error)) {
			return m.GetHeader(), present(m.GetTunnel())
		}, skipped)
}

// Vteps follows vtep-registry.
func Vteps(conn *grpc.ClientConn, skipped Skipped) feed.Source[*vtepsv1.Vtep] {
	return wire.Source(vtepsv1.NewVtepsServiceClient(conn).Watch,
		func(p *feedv1.Position) *vtepsv1.WatchRequest { return &vtepsv1.WatchRequest{ResumeFrom: p} },
		func(m *vtepsv1.WatchResponse) (*feedv1.Header, func() (*vtepsv1.Vtep, error)) {
			return m.GetHeader(), present(m.GetVtep())
		}, skipped)
}

// Routes follows route-sync.
func Routes(conn *grpc.ClientConn, skipped Skipped) feed.Source[status.RouteItem] {
	return wire.Source(routesv1.NewRoutesServiceClient(conn).Watch,
		func(p *feedv1.Position) *routesv1.WatchRequest { return &routesv1.WatchRequest{ResumeFrom: p} },
		func(m *routesv1.WatchResponse) (*feedv1.Header, func() (status.RouteItem, error)) {
			return m.GetHeader(), func() (status.RouteItem, error) {
				item := status.RouteItem{Interface: m.GetInterface(), Route: m.GetRoute(), Convergence: m.GetConvergence(), Permission: m.GetPermission()}
				if item == (status.RouteItem{}) {
					return item, errEmpty
				}
				return item, nil
			}
		}, skipped)
}

var errEmpty = fmt.Errorf("the event has no item that this version knows")

// present reads an item that is taken as it is.
func present[V any](item *V) func() (*V, error) {
	return func() (*V, error) {
		if item == nil {
			return nil, errEmpty
		}
		return item, nil
	}
}
