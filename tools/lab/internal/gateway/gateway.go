package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/processes"
)

// The services, by name of binary and socket.
const (
	Election     = "election"
	VtepRegistry = "vtep-registry"
	Dataplane    = "dataplane"
	RouteSync    = "route-sync"
	Admin        = "admin"
)

// AdminPort is where admin answers operators.
const AdminPort = 9443

// Device is the product's tunnel device.
const Device = "hybrid_vxlan0"

// Services lists the five services in a fixed order. None needs another to be
// started before it.
func Services() []string { return []string{Election, VtepRegistry, Dataplane, RouteSync, Admin} }

// HealthAddress is where a service answers /readyz and /metrics inside its
// gateway's namespace. Ports follow the order of Services.
func HealthAddress(service string) string {
	return fmt.Sprintf("127.0.0.1:%d", 9811+slices.Index(Services(), service))
}

// Config is what a gateway is told. It is the same for all gateways but for
// name and address.
type Config struct {
	Name   string // the gateway's id, for example "gw1"
	Host   *netns.Host
	NodeIP netip.Addr
	// ManagementIP is where admin listens; default: NodeIP.
	ManagementIP netip.Addr
	Dir          string // for sockets; made if missing
	LogDir       string // a log file per process; made if missing
	BinDir       string

	OTLPEndpoint string
	EC2Endpoint  string
	RouteTables  []string
	GatewayENIs  []string // of all gateways
	VPCNetworks  []netip.Prefix
	PodNetworks  []netip.Prefix
	NodeNetworks []netip.Prefix

	ElectionKubeconfig string
	RegistryKubeconfig string

	// FloatingVTEP is the address that all gateways carry, if they do, and FloatingTables are
	// the route tables through which packets for it enter the VPC.
	FloatingVTEP   netip.Prefix
	FloatingTables []string

	PeerKeyFile string       // what gateways' heartbeats are signed with
	Peers       []netip.Addr // all gateways

	TLSCert, TLSKey, ClientCA string // files of admin's
	LogLevel                  string
	// ExtraArgs are added to a service's flags.
	ExtraArgs map[string][]string
}

// Gateway is one gateway. Its methods may be called from any goroutine.
type Gateway struct {
	Config
	procs map[string]*processes.Process
}

// New prepares a gateway; Start starts it.
func New(c Config) (*Gateway, error) {
	for _, d := range []string{c.Dir, c.LogDir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("prepare gateway %s: %w", c.Name, err)
		}
	}
	g := &Gateway{Config: c, procs: map[string]*processes.Process{}}
	for _, s := range Services() {
		g.procs[s] = processes.New(processes.Spec{
			Name: c.Name + "/" + s, Host: c.Host, Path: filepath.Join(c.BinDir, s),
			Args: c.args(s), Env: c.env(s), Log: filepath.Join(c.LogDir, s+".log"),
		})
	}
	return g, nil
}

func (c Config) args(service string) []string {
	args := []string{
		"--gateway-id=" + c.Name,
		"--socket-dir=" + c.Dir,
		"--otlp-endpoint=" + c.OTLPEndpoint,
	}
	if c.LogLevel != "" {
		args = append(args, "--log-level="+c.LogLevel)
	}
	switch service {
	case Election:
		args = append(args, "--kubeconfig="+c.ElectionKubeconfig, "--peer-key-file="+c.PeerKeyFile, "--peers="+join(c.Peers))
	case VtepRegistry:
		args = append(args, "--kubeconfig="+c.RegistryKubeconfig,
			"--vpc-cidrs="+join(c.VPCNetworks), "--pod-cidrs="+join(c.PodNetworks), "--node-cidrs="+join(c.NodeNetworks))
	case Dataplane:
		args = append(args, "--node-ip="+c.NodeIP.String(), "--vpc-cidrs="+join(c.VPCNetworks))
	case RouteSync:
		args = append(args, "--route-tables="+strings.Join(c.RouteTables, ","), "--pod-cidrs="+join(c.PodNetworks))
		if len(c.GatewayENIs) > 0 {
			args = append(args, "--gateway-enis="+strings.Join(c.GatewayENIs, ","))
		}
	case Admin:
		args = append(args, fmt.Sprintf("--listen=%s", c.AdminAddress()),
			"--tls-cert="+c.TLSCert, "--tls-key="+c.TLSKey, "--client-ca="+c.ClientCA)
	}
	if c.FloatingVTEP.IsValid() {
		args = append(args, FloatingArgs(service, c.FloatingVTEP)...)
		switch service {
		case Election:
			args = append(args, "--node-ip="+c.NodeIP.String())
		case RouteSync:
			args = append(args, "--floating-vtep-route-tables="+strings.Join(c.FloatingTables, ","))
		}
	}
	return append(args, c.ExtraArgs[service]...)
}

// FloatingArgs are the flags by which a service knows of the address that all gateways carry.
func FloatingArgs(service string, vtep netip.Prefix) []string {
	switch service {
	case VtepRegistry:
		return []string{"--vtep-mode=floating", "--floating-vtep=" + vtep.String()}
	case Dataplane, RouteSync:
		return []string{"--floating-vtep=" + vtep.String()}
	}
	return nil
}

// env is a container's environment. Only route-sync has anything of AWS's, and
// its credentials come from the instance's role, as on EC2.
func (c Config) env(service string) []string {
	env := []string{"PATH=/usr/bin:/bin"}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		env = append(env, "GOCOVERDIR="+dir)
	}
	if service == RouteSync {
		env = append(env, "AWS_ENDPOINT_URL_EC2="+c.EC2Endpoint)
	}
	return env
}

func join[T fmt.Stringer](list []T) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = v.String()
	}
	return strings.Join(parts, ",")
}

// AdminAddress is where operators reach this gateway.
func (c Config) AdminAddress() string {
	ip := c.ManagementIP
	if !ip.IsValid() {
		ip = c.NodeIP
	}
	return netip.AddrPortFrom(ip, AdminPort).String()
}

// Process is one of the gateway's processes.
func (g *Gateway) Process(service string) *processes.Process { return g.procs[service] }

// Start starts those of the five that do not run.
func (g *Gateway) Start() error {
	var errs []error
	for _, s := range Services() {
		if !g.procs[s].Running() {
			errs = append(errs, g.procs[s].Start())
		}
	}
	return errors.Join(errs...)
}

// WaitReady waits until all five say they are ready.
func (g *Gateway) WaitReady(ctx context.Context) error {
	return g.each(func(s string) error { return g.WaitServiceReady(ctx, s) })
}

// WaitServiceReady waits until one service says it is ready.
func (g *Gateway) WaitServiceReady(ctx context.Context, service string) error {
	return g.procs[service].WaitReady(ctx, HealthAddress(service))
}

// Kill kills all five at once, with no chance to say anything.
func (g *Gateway) Kill() error {
	return g.each(func(s string) error { return g.procs[s].Kill() })
}

// Terminate asks all five to end, at the same time, as Kubernetes does with
// the containers of a pod, and waits. Services that need longer than the
// grace period are killed, which is an error.
func (g *Gateway) Terminate(grace time.Duration) error {
	return g.each(func(s string) error { return g.procs[s].Terminate(grace) })
}

// Failure tells which process that should run has ended, and how.
func (g *Gateway) Failure() error {
	return g.each(func(s string) error { return g.procs[s].Failure() })
}

func (g *Gateway) each(f func(service string) error) error {
	names := Services()
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, s := range names {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
