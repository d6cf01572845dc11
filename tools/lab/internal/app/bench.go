package app

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hybridgateway/gateway/tools/lab/internal/bench"
	"github.com/hybridgateway/gateway/tools/lab/internal/config"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// runBenchElection measures changes of leaders, with each backend in a lab of its
// own, and prints what it measured. Progress goes to stderr. What missed its budget is an error;
// the other backends are measured all the same.
func runBenchElection(ctx context.Context, c config.Config, stdout, stderr io.Writer) error {
	if err := checkPrograms(c); err != nil {
		return err
	}
	var failed []error
	for _, backend := range c.Backends {
		var missed error
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
			if _, err := fmt.Fprintln(stdout, report); err != nil {
				return err
			}
			missed = report.Missed()
			return missed
		})
		if err == nil {
			continue
		}
		failed = append(failed, fmt.Errorf("measure with backend %s: %w", backend, err))
		if missed == nil {
			break // something broke
		}
	}
	return errors.Join(failed...)
}
