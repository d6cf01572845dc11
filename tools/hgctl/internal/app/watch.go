package app

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/term"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/client"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/render"
)

// watch shows every status until ctx ends, which is no failure. A lost connection is told
// and opened again.
func (s session) watch(ctx context.Context, output string) error {
	wait := &backoff.ExponentialBackOff{InitialInterval: 200 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.2, MaxInterval: 3 * time.Second}
	wait.Reset()
	for {
		shown, err := s.watchOnce(ctx, output)
		if shown {
			wait.Reset()
		}
		if ctx.Err() == nil {
			fmt.Fprintf(s.errOut, "hgctl: %v; trying again\n", client.Explain(s.target, err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait.NextBackOff()):
		}
	}
}

func (s session) watchOnce(ctx context.Context, output string) (shown bool, err error) {
	stream, err := s.admin.WatchStatus(ctx, &adminv1.WatchStatusRequest{})
	if err != nil {
		return false, err
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return shown, err
		}
		if err := s.frame(answer.GetStatus(), output); err != nil {
			return shown, err
		}
		shown = true
	}
}

// Codes of ECMA-48: cursor home, and erase from there to the end.
const clearScreen = "\x1b[H\x1b[J"

// frame writes one status of many.
func (s session) frame(status *adminv1.Status, output string) error {
	if output == "json" {
		return s.writeJSON(status)
	}
	lead := "\n"
	if file, ok := s.out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		lead = clearScreen
	}
	if _, err := io.WriteString(s.out, lead); err != nil {
		return err
	}
	return render.Table(s.out, status)
}
