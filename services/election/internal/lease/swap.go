package lease

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// CompareAndSwap carries out one write. The error, which is nil when the outcome is
// Swapped, explains every other one.
func (l *Lease) CompareAndSwap(ctx context.Context, c term.CompareAndSwap) (term.Result, error) {
	result := term.Result{Write: c.Record.Write}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	written, err := l.swap(ctx, c)
	if err == nil {
		if result.Version, err = versionOf(written.ResourceVersion); err == nil {
			result.Outcome = term.Swapped
			l.note(result.Version, written, 0)
			return result, nil
		}
	}
	result.Outcome = outcomeOf(err)
	return result, fmt.Errorf("%s of lease %s/%s: %w", c.Purpose, l.config.Namespace, l.config.Name, err)
}

// errStale is a conflict that was noticed before asking.
var errStale = errors.New("a newer version is already known")

func (l *Lease) swap(ctx context.Context, c term.CompareAndSwap) (*coordinationv1.Lease, error) {
	if c.Expected == 0 {
		object := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Namespace: l.config.Namespace,
			Name:      l.config.Name,
		}}
		if err := encode(c.Record, object, time.Now()); err != nil {
			return nil, err
		}
		return l.client.Create(ctx, object, metav1.CreateOptions{})
	}
	l.mu.Lock()
	version, base := l.newest, l.object
	l.mu.Unlock()
	if version != c.Expected || base == nil {
		return nil, errStale
	}
	object := base.DeepCopy()
	if err := encode(c.Record, object, time.Now()); err != nil {
		return nil, err
	}
	return l.client.Update(ctx, object, metav1.UpdateOptions{})
}

// outcomeOf tells what an error means for the write. Whatever does not say for sure that
// the write was not applied leaves it unknown.
func outcomeOf(err error) term.Outcome {
	var op *net.OpError
	switch {
	case errors.Is(err, errStale), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return term.Conflict
	case apierrors.IsUnauthorized(err), apierrors.IsForbidden(err), apierrors.IsInvalid(err),
		apierrors.IsBadRequest(err), apierrors.IsNotFound(err), apierrors.IsTooManyRequests(err):
		return term.Failed
	case errors.As(err, &op) && op.Op == "dial":
		return term.Failed
	}
	return term.Unknown
}
