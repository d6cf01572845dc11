package app

import (
	"context"
	"fmt"
	"io"

	"github.com/hybridgateway/gateway/tools/lab/internal/bench"
	"github.com/hybridgateway/gateway/tools/lab/internal/config"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// runBenchElection measures changes of leaders, with each backend in a lab of its
// own. Progress goes to stderr.
func runBenchElection(ctx context.Context, c config.Config, stdout, stderr io.Writer) error {
	if err := checkPrograms(c); err != nil {
		return err
	}
	for _, backend := range c.Backends {
		o := options(c, stderr)
		o.Backend = backend
		o.Progress = func(what string) { fmt.Fprintf(stderr, "  %s: %s\n", backend, what) }
		err := withLab(ctx, o, func(l *lab.Lab) error {
			o.Progress("starting both gateways: five processes each")
			if err := l.StartGateways(ctx); err != nil {
				return err
			}
			report, err := bench.Run(ctx, l, bench.Config{Deaths: c.Rounds, Transfers: c.Rounds, Progress: o.Progress})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(stdout, report)
			return err
		})
		if err != nil {
			return fmt.Errorf("measure with backend %s: %w", backend, err)
		}
	}
	return nil
}
