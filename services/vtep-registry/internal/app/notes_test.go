package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
)

// noteTaker is an API server that counts calls and may be away.
type noteTaker struct {
	mu    sync.Mutex
	away  bool
	calls int
	names []string
}

func (n *noteTaker) WriteNote(_ context.Context, note cilium.Note) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls++
	if n.away {
		return errors.New("connection refused")
	}
	n.names = append(n.names, note.Node)
	return nil
}

// However many nodes are refused at once, the API server gets ten Events a second; while it
// is away a note is given up after some tries and the next has its turn.
func TestNotesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(noop.Meter{})
		if err != nil {
			t.Fatal(err)
		}
		taker := &noteTaker{away: true}
		notes := make(chan cilium.Note, noteQueue)
		n := &noter{notes: notes, api: taker, log: slog.New(slog.NewTextHandler(io.Discard, nil)), metrics: m}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = n.run(ctx) })
		defer wg.Wait()
		defer cancel()
		notes <- cilium.Note{Node: "first"}
		time.Sleep(time.Minute)
		synctest.Wait()
		taker.mu.Lock()
		if taker.calls != noteTries {
			t.Errorf("%d tries of one note", taker.calls)
		}
		taker.away, taker.calls = false, 0
		taker.mu.Unlock()
		for range noteQueue {
			notes <- cilium.Note{Node: "one of many"}
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		taker.mu.Lock()
		defer taker.mu.Unlock()
		if taker.calls < 90 || taker.calls > 110 {
			t.Errorf("%d Events in ten seconds", taker.calls)
		}
	})
}
