package registertest

import (
	"context"
	"testing"

	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// late is a register whose first read arrives after what its watch has told.
type late struct{ Register }

func (late) Follow(ctx context.Context, out chan<- term.Observation) error {
	written := term.Record{Epoch: 1, Write: 1}
	for _, o := range []term.Observation{
		{Version: 22, Present: true, Record: written}, {Version: 21}, {Version: 23}, {Version: 5, Rollback: true},
	} {
		select {
		case out <- o:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func TestFollowerPassesOverLateObservations(t *testing.T) {
	f := Follow(t, late{})
	f.UntilWrite(t, 1)
	if o := f.UntilAbsent(t); o.Version != 23 {
		t.Errorf("after v22 the absence was seen as v%d, want v23", o.Version)
	}
	if o := f.UntilAbsent(t); !o.Rollback {
		t.Errorf("the register went back, and that was passed over: %+v", o)
	}
}
