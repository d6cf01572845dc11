// Package app is hgctl from its arguments to its exit code.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/hybridgateway/gateway/libs/cli"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/client"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/render"
)

type flags struct {
	Status    statusFlags   `cmd:"" help:"Show the state of a gateway: leadership, streams, tunnel, VTEPs, routes."`
	Routes    routesFlags   `cmd:"" help:"Show the routes, or take one over that is in conflict."`
	Vteps     vtepsFlags    `cmd:"" help:"Show the remote VTEPs and what Cilium is told; register those that are no Kubernetes nodes."`
	Transfer  transferFlags `cmd:"" help:"Hand the leadership from the gateway to another one, and wait until that one's routes are in place."`
	Drain     drainFlags    `cmd:"" help:"Hand over what the gateway leads; it goes on forwarding. With --purge also remove its tunnel."`
	Purge     purgeFlags    `cmd:"" help:"Remove the gateways' routes and prefix lists, for an uninstall. The gateway makes none until its route-sync is started again."`
	IAMPolicy policyFlags   `cmd:"" name:"iam-policy" help:"Print the least IAM policy that the gateways' role needs."`
	Version   struct{}      `cmd:"" help:"Print the version of hgctl."`
}

type statusFlags struct {
	Watch bool `short:"w" help:"Go on showing the state whenever it changes."`

	listFlags
}

type routesFlags struct {
	List  listFlags  `cmd:"" default:"withargs" help:"Show the routes: target, state, and what is wrong."`
	Adopt adoptFlags `cmd:"" help:"Let the gateway, which must lead, take over a route that is in conflict."`
}

type adoptFlags struct {
	Table       string `arg:"" help:"Id of the route table."`
	Destination string `arg:"" help:"Destination of the route: a CIDR or the id of a prefix list."`

	readFlags
}

type transferFlags struct {
	Shard   string        `help:"Shard to hand over." default:"default" env:"-" placeholder:"NAME"`
	To      string        `help:"Id of the gateway that shall lead. Default: any that is fit to." env:"-" placeholder:"GATEWAY"`
	Timeout time.Duration `help:"How long to wait until the other gateway's routes are in place." default:"30s" env:"-"`

	output
	connection
}

type purgeFlags struct {
	Yes     bool          `help:"Do not ask whether that is meant." env:"-"`
	Timeout time.Duration `help:"How long to wait until all is removed. EC2 grants an account about five writes a second." default:"10m" env:"-"`

	output
	connection
}

// listFlags are those of a command that shows a part of the status.
type listFlags struct {
	output
	readFlags
}

// readFlags are those of a command that is answered at once.
type readFlags struct {
	Timeout time.Duration `help:"How long to wait for the answer." default:"5s"`

	connection
}

type output struct {
	Output string `short:"o" help:"Output format: ${enum}." enum:"table,json" default:"table"`
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
func Run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	var f flags
	command, err := cli.Parse(cli.Program{
		Name:    "hgctl",
		Summary: "Asks a hybrid gateway how it is, and tells it what to do. Exit codes: 0 it worked, 1 it failed, 2 the command line cannot be used.",
		Env:     "HGCTL",
	}, &f, args, out)
	switch {
	case errors.Is(err, cli.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(errOut, "hgctl: %v\n", err)
		return 2
	}
	if err := run(ctx, strings.Fields(command), f, streams{in, out, errOut}); err != nil {
		fmt.Fprintf(errOut, "hgctl: %v\n", err)
		return 1
	}
	return 0
}

type streams struct {
	in          io.Reader
	out, errOut io.Writer
}

func run(ctx context.Context, command []string, f flags, std streams) error {
	switch command[0] {
	case "status":
		return call(f.Status.connection, std, func(s session) error {
			if f.Status.Watch {
				return s.watch(ctx, f.Status.Output)
			}
			return s.show(ctx, f.Status.listFlags, render.Table, func(st *adminv1.Status) *adminv1.Status { return st })
		})
	case "routes":
		if command[1] == "adopt" {
			return call(f.Routes.Adopt.connection, std, func(s session) error { return s.adopt(ctx, f.Routes.Adopt) })
		}
		return call(f.Routes.List.connection, std, func(s session) error {
			return s.show(ctx, f.Routes.List, render.Routes, routesOf)
		})
	case "vteps":
		return runVteps(ctx, command[1], f.Vteps, std)
	case "transfer":
		return call(f.Transfer.connection, std, func(s session) error { return s.transfer(ctx, f.Transfer) })
	case "purge":
		return call(f.Purge.connection, std, func(s session) error { return s.purge(ctx, f.Purge) })
	case "drain":
		return call(f.Drain.connection, std, func(s session) error { return s.drain(ctx, f.Drain) })
	case "iam-policy":
		if command[1] == "offline" {
			return f.IAMPolicy.Offline.write(std.out)
		}
		return call(f.IAMPolicy.Ask.connection, std, func(s session) error { return s.policy(ctx, f.IAMPolicy.Ask) })
	case "version":
		_, err := fmt.Fprintln(std.out, cli.Version())
		return err
	}
	return fmt.Errorf("no such command: %s", strings.Join(command, " "))
}

func runVteps(ctx context.Context, command string, f vtepsFlags, std streams) error {
	switch command {
	case "register":
		return call(f.Register.connection, std, func(s session) error { return s.register(ctx, f.Register) })
	case "deregister":
		return call(f.Deregister.connection, std, func(s session) error { return s.deregister(ctx, f.Deregister) })
	case "publication":
		return call(f.Publication.connection, std, func(s session) error { return s.publication(ctx, f.Publication) })
	}
	return call(f.List.connection, std, func(s session) error { return s.show(ctx, f.List, render.Vteps, vtepsOf) })
}

// call connects and has f use the connection.
func call(c connection, std streams, f func(session) error) error {
	target := client.Target{Address: c.Address, CA: c.CA, Cert: c.Cert, Key: c.Key, ServerName: c.ServerName}
	conn, err := client.Dial(target)
	if err != nil {
		return err
	}
	defer conn.Close()
	return f(session{admin: adminv1.NewAdminServiceClient(conn), target: target, streams: std})
}

// session is a connection to a gateway, and to who asks.
type session struct {
	admin  adminv1.AdminServiceClient
	target client.Target
	streams
}

// status reads the gateway's status, within the given time.
func (s session) status(ctx context.Context, within time.Duration) (*adminv1.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	answer, err := s.admin.GetStatus(ctx, &adminv1.GetStatusRequest{}, grpc.WaitForReady(false))
	if err != nil {
		return nil, client.Explain(s.target, err)
	}
	return answer.GetStatus(), nil
}

// show reads the status and writes a part of it.
func (s session) show(ctx context.Context, f listFlags, table func(io.Writer, *adminv1.Status) error, part func(*adminv1.Status) *adminv1.Status) error {
	st, err := s.status(ctx, f.Timeout)
	if err != nil {
		return err
	}
	if f.Output == "json" {
		return s.writeJSON(part(st))
	}
	return table(s.out, st)
}

// routesOf is what JSON shows for routes: the status without the rest.
func routesOf(st *adminv1.Status) *adminv1.Status {
	return &adminv1.Status{
		GatewayId: st.GetGatewayId(), Version: st.GetVersion(), Time: st.GetTime(),
		Routes: st.GetRoutes(), OwnInterface: st.GetOwnInterface(), MissingPermissions: st.GetMissingPermissions(),
	}
}

// vtepsOf is what JSON shows for VTEPs.
func vtepsOf(st *adminv1.Status) *adminv1.Status {
	return &adminv1.Status{GatewayId: st.GetGatewayId(), Version: st.GetVersion(), Time: st.GetTime(), Vteps: st.GetVteps()}
}

func (s session) writeJSON(m proto.Message) error {
	line, err := protojson.Marshal(m)
	if err != nil {
		return fmt.Errorf("write the answer as JSON: %w", err)
	}
	_, err = fmt.Fprintln(s.out, string(line))
	return err
}
