package api

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
)

// ErrNoSuchShard says that this gateway does not take part in the election for a shard.
var ErrNoSuchShard = errors.New("no such shard")

// defaultShard is meant by a request that names none.
const defaultShard = "default"

// Transfer implements LeadershipService.
func (s *LeadershipServer) Transfer(ctx context.Context, r *leadershipv1.TransferRequest) (*leadershipv1.TransferResponse, error) {
	shard := r.GetShard()
	if shard == "" {
		shard = defaultShard
	}
	t, err := s.Hand(ctx, shard, r.GetTo())
	switch {
	case errors.Is(err, ErrNoSuchShard):
		return nil, status.Errorf(codes.NotFound, "transfer of shard %q: this gateway has no such shard", shard)
	case err != nil:
		return nil, status.FromContextError(err).Err()
	case t.Refused:
		return nil, status.Errorf(codes.FailedPrecondition, "transfer of shard %q: %s", shard, t.Problem)
	case t.Problem != "":
		return nil, status.Errorf(codes.Aborted, "transfer of shard %q: %s", shard, t.Problem)
	}
	return &leadershipv1.TransferResponse{Holder: encodeGateway(t.Holder), Epoch: t.Epoch}, nil
}
