package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hybridgateway/gateway/libs/cli"
	"github.com/hybridgateway/gateway/tools/lab/internal/cluster"
	"github.com/hybridgateway/gateway/tools/lab/internal/config"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// Main runs the lab from its arguments to its exit code. An error becomes one
// line on stderr.
func Main(args []string, stdout, stderr io.Writer) int {
	c, err := config.Parse(args, stdout)
	var usage *cli.UsageError
	switch {
	case errors.Is(err, cli.ErrHelp):
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "lab: %v\n", err)
		return exitUsage
	case err != nil:
		fmt.Fprintf(stderr, "lab: %v\n", err)
		return exitFailed
	}
	ctx, stop := interrupted()
	defer stop()
	stdout, stderr = output{stdout, stop}, output{stderr, stop}
	if err := run(ctx, c, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "lab: %s\n", explain(ctx, err))
		return exitFailed
	}
	return exitOK
}

// interrupted is a context that ends when the lab is told to end.
func interrupted() (context.Context, context.CancelFunc) {
	// SIGPIPE also comes when a gateway dies that the lab has a connection to, so it does not
	// tell that a reader of our output went away; see output. It must not end us either.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

// output is a writer that tells when its reader has gone away (a pipe to head, a
// closed terminal). That must not keep us from removing what we made: it ends us like
// Ctrl-C.
type output struct {
	io.Writer
	gone func()
}

func (o output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		o.gone()
	}
	return n, err
}

// explain makes one line of an error.
func explain(ctx context.Context, err error) string {
	var left *leftoverError
	if ctx.Err() != nil && !errors.As(err, &left) {
		return "interrupted; everything was removed"
	}
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
}

// leftoverError says that not everything could be removed.
type leftoverError struct{ err error }

func (e *leftoverError) Error() string {
	return fmt.Sprintf("not everything could be removed, try lab down: %v", e.err)
}

func (e *leftoverError) Unwrap() error { return e.err }

// withLab brings a lab up, does something with it, and removes it in any case.
// The logs of one that failed are kept.
func withLab(ctx context.Context, o lab.Options, do func(*lab.Lab) error) (err error) {
	claim, err := lab.Take(o.Dir, o.Prefix)
	if err != nil {
		return err
	}
	removed := func(clean error) {
		if clean != nil {
			err = errors.Join(err, &leftoverError{clean})
		}
	}
	defer func() { removed(errors.Join(claim.Clean(), claim.Release())) }()
	l, err := lab.Up(ctx, o)
	if err != nil {
		return err
	}
	defer func() { removed(l.Close()) }()
	if err := do(l); err != nil {
		return l.KeepLogs(ctx, err)
	}
	return nil
}

func run(ctx context.Context, c config.Config, stdout, stderr io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root, to make network namespaces: run it with sudo")
	}
	switch c.Command {
	case config.Demo:
		return runDemo(ctx, c, stdout, stderr)
	case config.Up:
		return runUp(ctx, c, stdout)
	case config.Hold:
		return runHold(ctx, c, stdout, stderr)
	case config.Down:
		return runDown(ctx, c, stdout)
	case config.Exec:
		return runExec(c)
	case config.BenchElection:
		return runBenchElection(ctx, c, stdout, stderr)
	default:
		return fmt.Errorf("command %q is not known", c.Command)
	}
}

// options says how a lab with this configuration is to be.
func options(c config.Config, stderr io.Writer) lab.Options {
	o := lab.Options{
		Prefix: c.Prefix, Dir: c.Dir, BinDir: c.BinDir, Manifests: c.Manifests,
		EC2Latency: c.EC2Latency, Nodes: c.Nodes, Backend: c.Backend, VTEPMode: c.VTEPMode,
	}
	if c.Verbose {
		o.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.LogLevel = "debug"
	}
	return o
}

// checkPrograms tells which program is missing before anything is made.
func checkPrograms(c config.Config) error {
	for _, name := range append(gateway.Services(), cluster.Binary) {
		if _, err := os.Stat(filepath.Join(c.BinDir, name)); err != nil {
			return fmt.Errorf("%s is missing in %s: build it with make build, or say where it is with --bin-dir", name, c.BinDir)
		}
	}
	if _, err := os.Stat(c.Manifests); err != nil {
		return fmt.Errorf("%s is missing: say with --manifests where deploy/rbac is", c.Manifests)
	}
	return nil
}
