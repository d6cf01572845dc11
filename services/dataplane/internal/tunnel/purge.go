package tunnel

import (
	"context"
	"errors"
	"time"
)

// The errors of Purge.
var (
	ErrUnread = errors.New("the kernel could not be read: what is left is tried further")
	ErrEnded  = errors.New("the dataplane is ending")
)

// purged is how a purge went.
type purged struct {
	left []string
	err  error
}

// Purge removes from the kernel all that is the gateway's, for as long as this process lives. It returns what could not be removed, with the
// reason; that is tried further. When ctx ends the removal goes on.
func (l *Loop) Purge(ctx context.Context) (left []string, err error) {
	done := make(chan purged, 1)
	select {
	case l.purges <- done:
	case <-l.ended:
		return nil, ErrEnded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case p := <-done:
		return p.left, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *Loop) purge(ctx context.Context) purged {
	l.Log.Info("purge: all that is the gateway's is removed from the kernel")
	l.ledger.Retire()
	l.stale = true
	l.reconcile(ctx, "purge")
	if !l.readKernel(ctx, time.Now()) {
		return purged{err: ErrUnread}
	}
	var p purged
	ops := l.ledger.Plan().Ops
	for _, op := range ops {
		p.left = append(p.left, op.String())
	}
	if len(ops) > 0 && len(l.failures) > 0 {
		p.left = nil
		for _, f := range l.failures {
			p.left = append(p.left, f.Error())
		}
	}
	l.publish(ctx)
	return p
}
