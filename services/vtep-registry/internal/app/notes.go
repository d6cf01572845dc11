package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

const (
	// noteQueue is how many notes wait; more are dropped, since the stream, the log and the
	// metric say the same.
	noteQueue = 256
	// noteInterval bounds the Events written per second, whatever happens to how many nodes.
	noteInterval = 100 * time.Millisecond
	// noteTries is how often a note is tried, noteRetry apart.
	noteTries = 5
	noteRetry = time.Second
)

// Reasons of the Events.
const (
	reasonQuarantined = "VTEPQuarantined"
	reasonRefused     = "VTEPClaimRefused"
	reasonAdmitted    = "VTEPAdmitted"
)

// noteOn is the Event that a change of the verdict on a node deserves. Good news is one only
// after bad news.
func noteOn(before, now registry.VTEP) (warning bool, reason, message string) {
	switch {
	case !now.Admitted:
		return true, reasonQuarantined, "its pods cannot be reached through the gateway: " + now.Reason()
	case len(now.Refusals) > 0:
		return true, reasonRefused, "some of its pods cannot be reached through the gateway: " + now.Reason()
	case len(before.Refusals) > 0:
		return false, reasonAdmitted, "all its pods can be reached through the gateway"
	}
	return false, "", ""
}

// noteStore is the API server.
type noteStore interface {
	WriteNote(context.Context, cilium.Note) error
}

// noter writes notes one after the other. Nothing waits for it.
type noter struct {
	notes    <-chan cilium.Note
	api      noteStore
	log      *slog.Logger
	metrics  *metrics
	reported string // the error logged last
}

func (n *noter) run(ctx context.Context) error {
	for {
		var note cilium.Note
		select {
		case <-ctx.Done():
			return ctx.Err()
		case note = <-n.notes:
		}
		outcome := "failed"
		for range noteTries {
			err := n.write(ctx, note)
			if err == nil {
				outcome = "ok"
				break
			}
			if err := pause(ctx, noteRetry); err != nil {
				return err
			}
		}
		n.metrics.noted(outcome)
		if err := pause(ctx, noteInterval); err != nil {
			return err
		}
	}
}

func (n *noter) write(ctx context.Context, note cilium.Note) error {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := n.api.WriteNote(call, note)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		n.reported = ""
	case n.reported != err.Error():
		n.reported = err.Error()
		n.log.Warn("an Event cannot be written, trying again", telemetry.KeyNode, note.Node, telemetry.KeyError, err)
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
