package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/state"
)

const (
	// keepDelay gathers changes before they are written to disk; a crash loses them there.
	keepDelay = 100 * time.Millisecond
	// keepRetry is the time to another attempt after a failed one.
	keepRetry = 10 * time.Second
)

// keeper writes what is held to disk. Nothing waits for it.
type keeper struct {
	path     string // empty: nothing is kept
	held     chan []registry.VTEP
	log      *slog.Logger
	metrics  *metrics
	reported string // the error logged last
}

func (k *keeper) run(ctx context.Context) error {
	var held []registry.VTEP
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case held = <-k.held:
		case <-retry:
		}
		retry = nil
		if !k.save(held) {
			retry = time.After(keepRetry)
		}
	}
}

func (k *keeper) save(held []registry.VTEP) bool {
	err := state.Save(k.path, state.State{Written: time.Now(), VTEPs: held})
	k.metrics.kept(err == nil)
	switch {
	case err == nil && k.reported != "":
		k.log.Info("the state file is written again", "file", k.path)
		k.reported = ""
	case err != nil && k.reported != err.Error():
		k.reported = err.Error()
		k.log.Error("the state file cannot be written: a start without the API server would not know the last changes", telemetry.KeyError, err)
	}
	return err == nil
}

// recall reads what an earlier life kept. What cannot be used is told once and left alone
// until it is overwritten.
func (k *keeper) recall() state.State {
	if k.path == "" {
		return state.State{}
	}
	s, err := state.Load(k.path)
	if err != nil {
		k.log.Warn("the state file is of no use and is ignored", telemetry.KeyError, err)
	}
	return s
}
