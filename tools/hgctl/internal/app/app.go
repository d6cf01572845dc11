// Package app is hgctl from its arguments to its exit code.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/term"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/hybridgateway/gateway/libs/cli"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/client"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/render"
)

type flags struct {
	Status  statusFlags `cmd:"" help:"Show the state of a gateway: leadership, streams, tunnel, VTEPs, routes."`
	Version struct{}    `cmd:"" help:"Print the version of hgctl."`
}

type statusFlags struct {
	Watch   bool          `short:"w" help:"Go on showing the state whenever it changes."`
	Output  string        `short:"o" help:"Output format: ${enum}." enum:"table,json" default:"table"`
	Timeout time.Duration `help:"How long to wait for the answer. Not used with --watch." default:"5s"`

	connection
}

// connection are the flags of every command that calls a gateway.
type connection struct {
	Address    string `help:"Address and port of a gateway's admin API." required:"" placeholder:"HOST:PORT"`
	CA         string `name:"ca" help:"File with the authority that signed the gateway's certificate, PEM." required:"" placeholder:"FILE"`
	Cert       string `help:"File with the operator's certificate, PEM." required:"" placeholder:"FILE"`
	Key        string `help:"File with the certificate's key, PEM." required:"" placeholder:"FILE"`
	ServerName string `help:"Name the gateway's certificate is issued for, when it is not the host in --address." placeholder:"NAME"`
}

// Validate is called by kong when the flags have their values.
func (c *connection) Validate() error {
	host, port, err := net.SplitHostPort(c.Address)
	if n, e := strconv.ParseUint(port, 10, 16); err != nil || e != nil || host == "" || n == 0 {
		return fmt.Errorf("--address=%q: want a host and a port such as 10.0.1.10:9443", c.Address)
	}
	return nil
}

// Run does what args ask for and returns the exit code: 0 for success, 1 when it
// failed, 2 when args cannot be used.
func Run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var f flags
	command, err := cli.Parse(cli.Program{
		Name:    "hgctl",
		Summary: "Asks a hybrid gateway how it is.",
		Env:     "HGCTL",
	}, &f, args, out)
	switch {
	case errors.Is(err, cli.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(errOut, "hgctl: %v\n", err)
		return 2
	}
	if command == "version" {
		fmt.Fprintln(out, cli.Version())
		return 0
	}
	if err := runStatus(ctx, f.Status, out, errOut); err != nil && ctx.Err() == nil {
		fmt.Fprintf(errOut, "hgctl: %v\n", err)
		return 1
	}
	return 0
}

func runStatus(ctx context.Context, f statusFlags, out, errOut io.Writer) error {
	target := client.Target{Address: f.Address, CA: f.CA, Cert: f.Cert, Key: f.Key, ServerName: f.ServerName}
	conn, err := client.Dial(target)
	if err != nil {
		return err
	}
	defer conn.Close()
	s := session{admin: adminv1.NewAdminServiceClient(conn), target: target, flags: f, out: out, errOut: errOut}
	if f.Watch {
		return s.watch(ctx)
	}
	return s.status(ctx)
}

type session struct {
	admin       adminv1.AdminServiceClient
	target      client.Target
	flags       statusFlags
	out, errOut io.Writer
}

func (s session) status(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.flags.Timeout)
	defer cancel()
	answer, err := s.admin.GetStatus(ctx, &adminv1.GetStatusRequest{}, grpc.WaitForReady(false))
	if err != nil {
		return client.Explain(s.target, err)
	}
	return s.show(answer.GetStatus())
}

// watch shows every status until ctx ends. A lost connection is told and opened again.
func (s session) watch(ctx context.Context) error {
	wait := &backoff.ExponentialBackOff{InitialInterval: 200 * time.Millisecond, Multiplier: 2, RandomizationFactor: 0.2, MaxInterval: 3 * time.Second}
	wait.Reset()
	for {
		shown, err := s.watchOnce(ctx)
		if shown {
			wait.Reset()
		}
		if ctx.Err() == nil {
			fmt.Fprintf(s.errOut, "hgctl: %v; trying again\n", client.Explain(s.target, err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait.NextBackOff()):
		}
	}
}

func (s session) watchOnce(ctx context.Context) (shown bool, err error) {
	stream, err := s.admin.WatchStatus(ctx, &adminv1.WatchStatusRequest{})
	if err != nil {
		return false, err
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return shown, err
		}
		if err := s.show(answer.GetStatus()); err != nil {
			return shown, err
		}
		shown = true
	}
}

// Codes of ECMA-48: cursor home, and erase from there to the end.
const clearScreen = "\x1b[H\x1b[J"

func (s session) show(status *adminv1.Status) error {
	if s.flags.Output == "json" {
		line, err := protojson.Marshal(status)
		if err != nil {
			return fmt.Errorf("write the status as JSON: %w", err)
		}
		_, err = fmt.Fprintln(s.out, string(line))
		return err
	}
	if s.flags.Watch {
		lead := "\n"
		if file, ok := s.out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
			lead = clearScreen
		}
		if _, err := io.WriteString(s.out, lead); err != nil {
			return err
		}
	}
	return render.Table(s.out, status)
}
