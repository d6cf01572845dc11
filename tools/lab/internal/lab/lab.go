package lab

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/cluster"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/pki"
	"github.com/hybridgateway/gateway/tools/lab/internal/traces"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// Short names of hosts that the lab gives a part to.
const (
	controlPlaneHost = "cp"
	awsHost          = "aws"
)

// startTimeout bounds each part's start; a busy machine needs a tenth of it.
const startTimeout = 2 * time.Minute

// Lab is a lab that is up. Its methods may be called from any goroutine.
type Lab struct {
	Options  Options
	World    *world.World
	EC2      *ec2standin.Server
	Traces   *traces.Store
	Cluster  *cluster.Cluster
	Gateways []*gateway.Gateway
	CA       *pki.Authority
	Operator gateway.Operator

	cancel    context.CancelFunc // of everything that runs inside this process
	running   sync.WaitGroup
	ctx       context.Context
	agentsMu  sync.Mutex
	agents    map[string]func() // stop functions by node
	endpoints endpoints
	etcd      *cluster.Etcd // nil unless the record is there
}

// Up brings a lab up, without starting the gateways' processes: see
// StartGateways. After an error nothing is left of it but its logs, of which the
// error tells.
func Up(ctx context.Context, o Options) (*Lab, error) {
	o = o.withDefaults()
	// Before there is anything to close: an error must not remove what is not a lab's.
	if err := makeDir(o.Dir); err != nil {
		return nil, err
	}
	l := &Lab{Options: o, Traces: traces.NewStore(), agents: map[string]func(){}}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := l.build(ctx); err != nil {
		return nil, errors.Join(l.KeepLogs(ctx, err), l.Close())
	}
	return l, nil
}

func (l *Lab) build(ctx context.Context) error {
	o := l.Options
	if err := os.MkdirAll(l.LogDir(), 0o755); err != nil {
		return fmt.Errorf("make the directory of logs: %w", err)
	}
	o.Progress("building the virtual world: VPC, WAN, on-premises nodes")
	l.EC2 = ec2standin.New(ec2standin.Config{})
	var err error
	options := world.Options{Prefix: o.Prefix, EC2: l.EC2, Nodes: o.Nodes, RouteTables: o.RouteTables, ManagementNICs: o.ManagementNICs, Log: o.Log}
	if o.VTEPMode == Floating {
		options.IngressTable = FloatingTable
	}
	if l.World, err = world.New(options); err != nil {
		return err
	}
	l.SetEC2Latency(o.EC2Latency)
	o.Progress("starting AWS's endpoints, and a real Kubernetes API server with etcd")
	if err := l.startEndpoints(); err != nil {
		return err
	}
	if err := l.startPKI(); err != nil {
		return err
	}
	if err := l.startCluster(ctx); err != nil {
		return err
	}
	if err := l.prepareCilium(ctx); err != nil {
		return err
	}
	if o.Backend == Etcd {
		if err := l.startEtcd(ctx); err != nil {
			return err
		}
	}
	o.Progress("registering the on-premises nodes, and starting their Cilium agents")
	for _, n := range l.World.Nodes() {
		if err := l.startAgent(ctx, n); err != nil {
			return err
		}
		if err := l.Cluster.CreateNode(ctx, cluster.CiliumNode(n.Name, n.IP, n.PodCIDRs)); err != nil {
			return err
		}
	}
	return l.prepareGateways()
}

// LogDir holds the logs of all processes.
func (l *Lab) LogDir() string { return filepath.Join(l.Options.Dir, "logs") }

// PKIDir holds the operator's certificate and the authority's.
func (l *Lab) PKIDir() string { return filepath.Join(l.Options.Dir, "pki") }

// SetEC2Latency sets how long each call to EC2 takes from now on.
func (l *Lab) SetEC2Latency(d time.Duration) { l.EC2.SetFaults(ec2standin.Faults{Latency: d}) }

// Host finds a host by its short name; see world.World.Host.
func (l *Lab) Host(name string) (*netns.Host, error) { return l.World.Host(name) }

func (l *Lab) startCluster(ctx context.Context) error {
	m, err := l.World.Machine(controlPlaneHost)
	if err != nil {
		return err
	}
	h, err := l.Host(controlPlaneHost)
	if err != nil {
		return err
	}
	manifests, err := l.manifests()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	l.Cluster, err = cluster.Start(ctx, cluster.Config{
		Host: h, Listen: netip.AddrPortFrom(m.IP, 6443), Dir: filepath.Join(l.Options.Dir, "controlplane"),
		Log: filepath.Join(l.LogDir(), "controlplane.log"), BinDir: l.Options.BinDir, Manifests: manifests,
	})
	return err
}

func (l *Lab) prepareGateways() error {
	var enis []string
	var peers []netip.Addr
	for _, m := range l.World.Gateways() {
		enis = append(enis, m.ENI)
		peers = append(peers, m.IP)
	}
	keyFile, err := l.writePeerKey()
	if err != nil {
		return err
	}
	election, err := l.recordArgs()
	if err != nil {
		return err
	}
	shards, registry := l.shardArgs()
	election = append(election, shards...)
	etcd, err := l.registryArgs()
	if err != nil {
		return err
	}
	registry = append(registry, etcd...)
	for _, m := range l.World.Gateways() {
		h, err := l.Host(m.Name)
		if err != nil {
			return err
		}
		c := gateway.Config{
			Name: m.Name, Host: h, NodeIP: m.IP, ManagementIP: m.Management,
			Dir: filepath.Join(l.Options.Dir, m.Name), LogDir: filepath.Join(l.LogDir(), m.Name), BinDir: l.Options.BinDir,
			OTLPEndpoint: l.endpoints.otlp, EC2Endpoint: l.endpoints.ec2,
			RouteTables: l.tableArgs(), GatewayENIs: enis,
			VPCNetworks:  []netip.Prefix{world.VPCNetwork},
			PodNetworks:  l.World.PodNetworks(),
			NodeNetworks: []netip.Prefix{world.RemoteNetwork},

			ElectionKubeconfig: l.Cluster.Kubeconfig(cluster.ElectionAccount),
			RegistryKubeconfig: l.Cluster.Kubeconfig(cluster.VtepRegistryAccount),
			PeerKeyFile:        keyFile,
			Peers:              peers,
			TLSCert:            filepath.Join(l.PKIDir(), m.Name+".crt"),
			TLSKey:             filepath.Join(l.PKIDir(), m.Name+".key"),
			ClientCA:           l.CAFile(),
			LogLevel:           l.Options.LogLevel,
			ExtraArgs:          map[string][]string{gateway.Election: election, gateway.VtepRegistry: registry},
		}
		if l.Options.VTEPMode == Floating {
			c.FloatingVTEP, c.FloatingTables = FloatingVTEP, []string{FloatingTable}
		}
		g, err := gateway.New(c)
		if err != nil {
			return err
		}
		if err := l.writeOperatorFile(g); err != nil {
			return err
		}
		l.Gateways = append(l.Gateways, g)
	}
	return nil
}

// writePeerKey makes a key for the gateways' heartbeats.
func (l *Lab) writePeerKey() (path string, err error) {
	path = filepath.Join(l.Options.Dir, "heartbeat.key")
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(key[:])+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write the heartbeats' key: %w", err)
	}
	return path, nil
}

// StartGateways starts all processes of all gateways, and returns when traffic
// can flow; see WaitHealthy.
func (l *Lab) StartGateways(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var group errgroup.Group
	for _, g := range l.Gateways {
		if err := g.Start(); err != nil {
			return err
		}
		group.Go(func() error { return g.WaitReady(ctx) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if l.Options.Sharded {
		return l.WaitShards(ctx, l.Preferred())
	}
	_, err := l.WaitHealthy(ctx)
	return err
}

// Close takes the lab down: processes, namespaces, files.
func (l *Lab) Close() error {
	l.cancel()
	l.endpoints.close()
	var errs []error
	if l.Cluster != nil {
		errs = append(errs, l.Cluster.Close())
	}
	if l.etcd != nil {
		errs = append(errs, l.etcd.Kill())
	}
	if l.World != nil {
		// Everything that runs in a namespace is killed with it.
		errs = append(errs, l.World.Close())
	}
	l.running.Wait()
	return errors.Join(append(errs, removeDir(l.Options.Dir))...)
}
