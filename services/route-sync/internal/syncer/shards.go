package syncer

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// Shards are the loops of all shards of this gateway, at least one, as operators see them.
type Shards struct {
	// Whole is what they are configured to do together.
	Whole plan.Config
	Loops []*Loop
}

// Adopt is Loop.Adopt of the shard that the table belongs to.
func (s *Shards) Adopt(ctx context.Context, k plan.Key) error {
	of := slices.IndexFunc(s.Loops, func(l *Loop) bool { return slices.Contains(l.c.Plan.AllTables(), k.Table) })
	return s.Loops[max(of, 0)].Adopt(ctx, k) // the first one refuses as well as any
}

// Policy prints the least IAM policy that the gateway's role needs.
func (s *Shards) Policy(ctx context.Context) (string, error) { return s.Loops[0].Policy(ctx, s.Whole) }

// Purge is Loop.Purge of all shards at once. Led tells whether this gateway leads any.
func (s *Shards) Purge(ctx context.Context) (Purged, error) {
	answers, errs := make([]Purged, len(s.Loops)), make([]error, len(s.Loops))
	var wait sync.WaitGroup
	for i, l := range s.Loops {
		wait.Go(func() { answers[i], errs[i] = l.Purge(ctx) })
	}
	wait.Wait()
	var all Purged
	for _, a := range answers {
		all.Led = all.Led || a.Led
		all.Left = append(all.Left, a.Left...)
	}
	return all, errors.Join(errs...)
}

// Depart is Loop.Depart of all shards at once.
func (s *Shards) Depart(ctx context.Context) error {
	errs := make([]error, len(s.Loops))
	var wait sync.WaitGroup
	for i, l := range s.Loops {
		wait.Go(func() { errs[i] = l.Depart(ctx) })
	}
	wait.Wait()
	return errors.Join(errs...)
}
