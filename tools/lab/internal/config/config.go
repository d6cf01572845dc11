// Package config turns the lab's command line into typed settings.
package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/hybridgateway/gateway/libs/cli"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// The commands.
const (
	Demo = "demo"
	Up   = "up"
	Down = "down"
	Exec = "exec"
	Hold = "hold"

	BenchElection = "bench-election"
)

// Config says what to do.
type Config struct {
	Command string // one of the commands

	BinDir     string
	Manifests  string
	EC2Latency time.Duration
	Nodes      int
	Dir        string
	Prefix     string
	Verbose    bool
	Backend    lab.Backend  // of demo, up and hold: where the leadership record is
	VTEPMode   lab.VTEPMode // of the same: how on-premises nodes find the gateway

	Grace time.Duration // of down

	Host string   // of exec
	Args []string // of exec: the command; none means a shell

	Rounds   int           // of bench-election
	Backends []lab.Backend // of bench-election
}

// oneLab is of the commands that bring one lab up.
type oneLab struct {
	VTEPMode lab.VTEPMode `name:"vtep-mode" help:"How on-premises nodes find the gateway: published (in a CiliumVTEPConfig) or floating (at an address that never changes, with a stock Cilium)." enum:"published,floating" default:"published" placeholder:"NAME"`
	Backend  lab.Backend  `help:"Where the gateways keep the leadership record: lease (a Kubernetes Lease) or etcd." enum:"lease,etcd" default:"lease" placeholder:"NAME"`
}

type flags struct {
	Demo oneLab `cmd:"" help:"Bring the lab up, show the gateway at work, check what is shown, and remove everything."`
	Up   oneLab `cmd:"" help:"Bring the lab up, and leave it up in the background."`
	Down struct {
		Grace time.Duration `help:"How long the lab's process may take to remove it; then it is killed, and the lab removed without it." default:"30s" placeholder:"TIME"`
	} `cmd:"" help:"Remove the lab, whether it is up, hangs or was left behind by a crash."`
	Exec struct {
		Host string   `arg:"" help:"Host: gw1, gw2, ec2-1, ec2-2, lb, cp, aws, fabric, wan, node1, node1-pod1 and so on."`
		Args []string `arg:"" name:"command" passthrough:"" optional:"" help:"Command and its arguments. Default: a shell."`
	} `cmd:"" help:"Run a command inside a host of the lab that is up; hgctl is set up for the gateway."`
	BenchElection struct {
		Rounds   int           `help:"How many nodes die, and how many planned changes of leaders of each kind there are, 1 to 1000." default:"20" placeholder:"N"`
		Backends []lab.Backend `help:"With which backends, one after the other." enum:"lease,etcd" default:"lease,etcd" placeholder:"NAME"`
	} `cmd:"" help:"Measure what the death of the active gateway's node and planned changes of leaders cost, and print tables; with each backend in a lab that is removed afterwards. It fails when a planned change loses a packet or a median exceeds its budget."`
	Hold oneLab `cmd:"" hidden:"" help:"Bring the lab up and hold it until SIGTERM. This is what up leaves in the background."`

	BinDir     string           `help:"Directory of the services, of hgctl and of the control plane. Default: where this program is." placeholder:"DIR"`
	Manifests  string           `help:"Directory of the product's Kubernetes permissions. Default: deploy/rbac beside the programs' directory." placeholder:"DIR"`
	EC2Latency time.Duration    `name:"ec2-latency" env:"HYBRID_GATEWAY_LAB_EC2_LATENCY" help:"How long each call to the EC2 API takes." default:"100ms" placeholder:"TIME"`
	Nodes      int              `help:"On-premises nodes at the start, 1 to 200." default:"3" placeholder:"N"`
	Dir        string           `help:"Directory for sockets, keys, data and logs. It is made by the lab, or empty, and removed at the end." default:"${dir}" placeholder:"DIR"`
	Prefix     string           `help:"How the names of the network namespaces begin: 1 to 8 characters of a-z, 0-9 and -." default:"${prefix}" placeholder:"NAME"`
	Verbose    bool             `help:"Show the lab's own log, and let the services log at level debug."`
	Version    kong.VersionFlag `help:"Print the version and exit." env:"-"`
}

// Parse reads the arguments and the environment; see cli.Parse for errors.
func Parse(args []string, out io.Writer) (Config, error) {
	var f flags
	command, err := cli.Parse(cli.Program{
		Name:    "lab",
		Summary: "A virtual world for the hybrid gateway: a VPC, a WAN, on-premises nodes and a Kubernetes API server on this machine.",
		Env:     "HYBRID_GATEWAY_LAB",
		Vars:    map[string]string{"dir": lab.DefaultDir, "prefix": world.DefaultPrefix},
	}, &f, args, out)
	if err != nil {
		return Config{}, err
	}
	name, _, _ := strings.Cut(command, " ")
	c := Config{
		Command: name, BinDir: f.BinDir, Manifests: f.Manifests, EC2Latency: f.EC2Latency,
		Nodes: f.Nodes, Dir: f.Dir, Prefix: f.Prefix, Verbose: f.Verbose,
		Rounds: f.BenchElection.Rounds, Backends: f.BenchElection.Backends,
		Grace: f.Down.Grace, Host: f.Exec.Host, Args: f.Exec.Args,
	}
	switch c.Command {
	case Demo:
		c.Backend, c.VTEPMode = f.Demo.Backend, f.Demo.VTEPMode
	case Up:
		c.Backend, c.VTEPMode = f.Up.Backend, f.Up.VTEPMode
	case Hold:
		c.Backend, c.VTEPMode = f.Hold.Backend, f.Hold.VTEPMode
	}
	if len(c.Args) > 0 && c.Args[0] == "--" {
		c.Args = c.Args[1:]
	}
	return c, c.complete()
}

// complete fills in defaults and checks.
func (c *Config) complete() error {
	if c.EC2Latency < 0 || c.EC2Latency > time.Minute {
		return cli.Usagef("--ec2-latency=%s: want 0s to 1m", c.EC2Latency)
	}
	if c.Command == Down && (c.Grace < 0 || c.Grace > time.Hour) {
		return cli.Usagef("--grace=%s: want 0s to 1h", c.Grace)
	}
	if c.Command == BenchElection && (c.Rounds < 1 || c.Rounds > 1000) {
		return cli.Usagef("--rounds=%d: want 1 to 1000", c.Rounds)
	}
	if c.Nodes < 1 || c.Nodes > 200 {
		return cli.Usagef("--nodes=%d: want 1 to 200", c.Nodes)
	}
	if len(c.Prefix) < 1 || len(c.Prefix) > 8 || strings.Trim(c.Prefix, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return cli.Usagef("--prefix=%q: want 1 to 8 characters of a-z, 0-9 and -", c.Prefix)
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil || filepath.Dir(c.Dir) == c.Dir {
		return cli.Usagef("--dir=%q: want a directory of the lab's own", c.Dir)
	}
	if c.BinDir == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find own program: %w", err)
		}
		c.BinDir = filepath.Dir(self)
	}
	if c.BinDir, err = filepath.Abs(c.BinDir); err != nil {
		return cli.Usagef("--bin-dir=%q: %v", c.BinDir, err)
	}
	if c.Manifests == "" {
		c.Manifests = filepath.Join(filepath.Dir(c.BinDir), "deploy", "rbac")
	}
	if c.Manifests, err = filepath.Abs(c.Manifests); err != nil {
		return cli.Usagef("--manifests=%q: %v", c.Manifests, err)
	}
	return nil
}
