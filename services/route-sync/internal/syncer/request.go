package syncer

import (
	"context"
	"errors"

	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// errStopped says that the loop does not run any more.
var errStopped = errors.New("route-sync stops")

// Purged is the answer to Purge.
type Purged struct {
	// Led tells whether this gateway leads, so that all is removed but what Left names.
	Led  bool
	Left []string
}

// Adopt lets the active gateway take a route over that is in conflict. The error says why that cannot be.
func (l *Loop) Adopt(ctx context.Context, k plan.Key) error {
	var failure error
	err := l.ask(ctx, func() { failure = l.state.Adopt(k) })
	return errors.Join(err, failure)
}

// Policy prints the least IAM policy that the gateway's role needs for a configuration.
func (l *Loop) Policy(ctx context.Context, c plan.Config) (document string, err error) {
	err = l.ask(ctx, func() { document = l.state.Policy(c) })
	return document, err
}

// Purge retires this gateway. It returns when all that is the gateways' own is removed, or this gateway does not lead.
func (l *Loop) Purge(ctx context.Context) (Purged, error) {
	answer := make(chan Purged, 1)
	err := l.ask(ctx, func() {
		l.state.Purge()
		l.purges = append(l.purges, answer)
	})
	if err != nil {
		return Purged{}, err
	}
	select {
	case purged := <-answer:
		return purged, nil
	case <-ctx.Done():
		return Purged{}, ctx.Err()
	case <-l.stopped:
		return Purged{}, errStopped
	}
}

// Depart tells the loop that the process was told to stop. It returns when nothing is left for it to do.
func (l *Loop) Depart(ctx context.Context) error {
	departed := make(chan struct{})
	err := l.ask(ctx, func() {
		l.state.Depart(l.c.Now())
		l.departed = func() { close(departed) }
	})
	if err != nil {
		return err
	}
	select {
	case <-departed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.stopped:
		return errStopped
	}
}

// answerDeparture tells who waits for it that the process may end.
func (l *Loop) answerDeparture() {
	if l.departed != nil && l.state.Departed() {
		l.departed()
		l.departed = nil
	}
}

// ask has the loop call f, and waits for it.
func (l *Loop) ask(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case l.requests <- func() { f(); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.stopped:
		return errStopped
	}
}

// answerPurges answers those who wait for the end of a purge.
func (l *Loop) answerPurges() {
	if len(l.purges) == 0 {
		return
	}
	var purged Purged
	switch epoch, until := l.state.Validity(); {
	case l.state.Removed() != 0:
		purged.Led = true
	case epoch == 0 || l.c.Now() >= until:
	default:
		purged.Led, purged.Left = true, l.state.Left()
		if len(purged.Left) == 0 {
			return // under way
		}
	}
	for _, answer := range l.purges {
		answer <- purged
	}
	l.purges = nil
}
