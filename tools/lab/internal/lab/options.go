package lab

import (
	"log/slog"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// DefaultDir is where a lab keeps its files.
const DefaultDir = "/run/hgw-lab"

// Backend is where the gateways keep the leadership record.
type Backend string

// The backends, as election's --backend names them.
const (
	Lease Backend = "lease"
	Etcd  Backend = "etcd" // one member, with mutual TLS, on the host of the control plane
)

// Options is how a lab is to be.
type Options struct {
	Prefix    string // of namespaces; default: world.DefaultPrefix
	Dir       string // for everything on disk; made, and removed by Close; default: DefaultDir
	BinDir    string // holds the services, hgctl and the control plane; required
	Manifests string // the product's manifests of its Kubernetes permissions; required

	// EC2Latency is how long each call to EC2 takes.
	EC2Latency time.Duration
	Nodes      int // on-premises; default 3
	// RouteTables of the VPC; default 3.
	RouteTables int
	LogLevel    string // of the services
	// Sharded gives each zone with a gateway a shard of the leadership, which its gateway
	// leads whenever it can. WaitShards takes the place of WaitHealthy then.
	Sharded bool
	// VTEPMode is how on-premises nodes find the gateway; default: Published.
	VTEPMode VTEPMode
	// ManagementNICs gives each gateway a second NIC for its control plane; see world.Options.
	ManagementNICs bool
	// Backend is where the gateways keep the leadership record; default: Lease.
	Backend Backend

	// Progress is told, in order, what is being done; default: nobody.
	Progress func(string)
	Log      *slog.Logger // of the lab itself; default: none
}

func (o Options) withDefaults() Options {
	if o.Prefix == "" {
		o.Prefix = world.DefaultPrefix
	}
	if o.Dir == "" {
		o.Dir = DefaultDir
	}
	if o.Backend == "" {
		o.Backend = Lease
	}
	if o.VTEPMode == "" {
		o.VTEPMode = Published
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}
