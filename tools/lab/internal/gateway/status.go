package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

// statusTimeout bounds one question to admin.
const statusTimeout = 2 * time.Second

// Operator is somebody who may ask the gateways, from a seat in the world.
type Operator struct {
	Seat *netns.Host
	Cert tls.Certificate
	CA   *x509.CertPool
}

// Status asks a gateway's admin.
func (o Operator) Status(ctx context.Context, g *Gateway) (*adminv1.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	conn, err := o.dial(g)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	resp, err := adminv1.NewAdminServiceClient(conn).GetStatus(ctx, &adminv1.GetStatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask %s for its status: %w", g.Name, err)
	}
	return resp.GetStatus(), nil
}

// Transfer asks the leader's admin to hand the default shard to another gateway,
// and returns when that one's routes are in place. ctx bounds it.
func (o Operator) Transfer(ctx context.Context, from, to *Gateway) error {
	conn, err := o.dial(from)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = adminv1.NewAdminServiceClient(conn).TransferLeadership(ctx, &adminv1.TransferLeadershipRequest{To: to.Name})
	if err != nil {
		return fmt.Errorf("ask %s to hand over to %s: %w", from.Name, to.Name, err)
	}
	return nil
}

// dial makes a connection to a gateway's admin, which the caller closes.
func (o Operator) dial(g *Gateway) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///"+g.AdminAddress(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			Certificates: []tls.Certificate{o.Cert}, RootCAs: o.CA, MinVersion: tls.VersionTLS13,
		})),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return o.Seat.Dial(ctx, "tcp4", addr)
		}))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", g.Name, err)
	}
	return conn, nil
}

// Role is a gateway's part in a shard, as its status tells it.
type Role struct {
	Active    bool
	Standby   bool
	Converged bool // the holder has recorded that the VPC's routes point to it
	Epoch     uint64
	Holder    string
}

// RoleIn reads a status for the first shard, which is the only one by default.
func RoleIn(s *adminv1.Status) Role {
	for _, shard := range s.GetShards() {
		return RoleInShard(s, shard.GetLeadership().GetShard())
	}
	return Role{}
}

// RoleInShard reads a status for one of several shards.
func RoleInShard(s *adminv1.Status, name string) Role {
	for _, shard := range s.GetShards() {
		if l := shard.GetLeadership(); l.GetShard() == name {
			return Role{
				Active:    l.GetRole() == leadershipv1.Role_ROLE_ACTIVE,
				Standby:   l.GetRole() == leadershipv1.Role_ROLE_STANDBY,
				Converged: l.GetHolderConverged(),
				Epoch:     l.GetEpoch(),
				Holder:    l.GetHolder().GetId(),
			}
		}
	}
	return Role{}
}
