package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/hybridgateway/gateway/libs/cli"
)

// Exit codes of the services.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs a program from its arguments to its exit code: parse makes its
// configuration, run does its work until the context ends. SIGTERM and SIGINT end
// the context; a second one kills the process as usual. An error becomes one
// line on standard error.
func Main[C any](name string, parse func(args []string, out io.Writer) (C, error), run func(context.Context, C) error) int {
	config, err := parse(os.Args[1:], os.Stdout)
	if errors.Is(err, cli.ErrHelp) {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	// The first signal asks; from then on signals have their usual effect.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, config); err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return exitFailed
	}
	return exitOK
}
