package etcd

import (
	"context"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What may have been carried out never counts as refused: a leader that believes so would
// give up a record that it holds.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		err  error
		want verdict
	}{
		{rpctypes.ErrPermissionDenied, refused},
		{rpctypes.ErrUserNotFound, passedOn},
		{rpctypes.ErrInvalidAuthToken, refused},
		{rpctypes.ErrNoSpace, refused},
		{rpctypes.ErrRequestTooLarge, refused},
		{rpctypes.Error(rpctypes.ErrGRPCNotSupportedForLearner), passedOn},
		{rpctypes.ErrTimeout, lost},
		{rpctypes.ErrTimeoutDueToLeaderFail, lost},
		{rpctypes.ErrLeaderChanged, lost},
		{rpctypes.ErrStopped, lost},
		{rpctypes.ErrCorrupt, lost},
		{context.DeadlineExceeded, lost},
		{context.Canceled, lost},
		{status.Error(codes.PermissionDenied, "by a proxy"), lost},
		{status.Error(codes.Unavailable, "connection reset by peer"), lost},
	} {
		for _, err := range []error{c.err, fmt.Errorf("wrapped: %w", c.err)} {
			if got := judge(err); got != c.want {
				t.Errorf("%v: verdict %d, want %d", err, got, c.want)
			}
		}
	}
}
