package world

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/fabric"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
	"github.com/hybridgateway/gateway/tools/lab/internal/wan"
)

// DefaultPrefix begins the names of the lab's namespaces.
const DefaultPrefix = "hgw-"

// Options is how a world is to be.
type Options struct {
	Prefix      string             // of namespaces; default: DefaultPrefix
	EC2         *ec2standin.Server // an empty one, which New fills; required
	Gateways    int                // default: 2
	Nodes       int                // on-premises; default: 3; negative: none
	RouteTables int                // of the VPC, at least the three of its subnets; default: 3
	PodNetworks []netip.Prefix     // default: DefaultPodNetworks
	VPCMTU      int                // of VPC hosts, bytes; default: 1500
	WANMTU      int                // of the link between VPC and WAN, bytes; default: 1500
	// IngressTable is the route table for what comes in from the WAN, as with
	// a transit gateway or a gateway route table. Default: none; packets from
	// the WAN find addresses of VPC hosts only.
	IngressTable string
	// ManagementNICs gives each gateway a second NIC, by which alone it reaches the control
	// plane and AWS, so that both work on when the first one is dead.
	ManagementNICs bool
	Log            *slog.Logger // default: none
}

func (o Options) withDefaults() Options {
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Gateways == 0 {
		o.Gateways = 2
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.PodNetworks == nil {
		o.PodNetworks = DefaultPodNetworks()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// World is a world that stands. Its methods may be called from any goroutine.
type World struct {
	Fabric *fabric.Fabric
	WAN    *wan.WAN

	options  Options
	machines []Machine
	tables   []string
	stop     func() // following the stand-in

	mu    sync.Mutex
	hosts map[string]*netns.Host // VPC hosts, fabric and wan, by short name
	nodes []*onprem.Node
	cuts  map[[2]netip.Addr]bool
}

// New builds the world. Leftovers of an earlier one with the same prefix must
// be gone (see Cleanup).
func New(o Options) (*World, error) {
	if o.EC2 == nil {
		return nil, errors.New("build world: no EC2 stand-in given")
	}
	o = o.withDefaults()
	w := &World{
		options:  o,
		machines: machines(o.EC2.Region(), o.Gateways, o.ManagementNICs),
		tables:   tableIDs(max(0, o.RouteTables-len(tableIDs(0)))),
		hosts:    map[string]*netns.Host{},
		cuts:     map[[2]netip.Addr]bool{},
	}
	if err := w.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("build world: %w", err), w.Close())
	}
	return w, nil
}

func (w *World) build() error {
	if err := seed(w.options.EC2, w.machines, len(w.tables)-len(tableIDs(0))); err != nil {
		return err
	}
	if err := w.buildNetworks(); err != nil {
		return err
	}
	for _, m := range w.machines {
		if err := w.buildMachine(m); err != nil {
			return err
		}
	}
	if err := w.Fabric.AttachWAN(w.hosts["wan"], wan.VPCDevice, []netip.Prefix{anywhere}, w.options.WANMTU); err != nil {
		return err
	}
	w.stop = w.options.EC2.OnChange(func(s ec2standin.Snapshot) {
		// The fabric logs, keeps and retries what fails.
		_ = w.Fabric.Update(s)
	})
	if err := w.Fabric.Err(); err != nil {
		return err
	}
	for _, s := range nodes(w.options.Nodes) {
		if _, err := w.AddNode(s); err != nil {
			return err
		}
	}
	return nil
}

var anywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

func (w *World) buildNetworks() error {
	fabricHost, err := w.create("fabric")
	if err != nil {
		return err
	}
	wanHost, err := w.create("wan")
	if err != nil {
		return err
	}
	var routers []netip.Addr
	for _, s := range subnets(w.options.EC2.Region()) {
		routers = append(routers, s.router())
	}
	if w.Fabric, err = fabric.New(fabric.Config{
		Host: fabricHost, Routers: routers, OnPrem: []netip.Prefix{RemoteNetwork},
		PodNetworks: w.options.PodNetworks, IngressTable: w.options.IngressTable,
		MTU: w.options.VPCMTU, Log: w.options.Log,
	}); err != nil {
		return err
	}
	w.WAN, err = wan.New(wan.Config{
		Host: wanHost, OnPrem: OnPremNetwork, Router: OnPremNetwork.Addr().Next(),
	})
	return err
}

func (w *World) create(name string) (*netns.Host, error) {
	h, err := netns.Create(w.options.Prefix + name)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.hosts[name] = h
	w.mu.Unlock()
	return h, nil
}

func (w *World) buildMachine(m Machine) error {
	h, err := w.create(m.Name)
	if err != nil {
		return err
	}
	if err := h.Quiet(); err != nil {
		return err
	}
	if m.Gateway {
		if err := h.Sysctl("ipv4/ip_forward", "1"); err != nil {
			return err
		}
		if err := h.AddAddr("lo", netip.PrefixFrom(IMDSAddress, 32)); err != nil {
			return err
		}
	}
	for _, n := range w.nics(m) {
		if err := w.Fabric.Attach(fabric.Guest{
			Name: n.port, Host: h, Device: n.device, Addr: n.addr, Router: n.router, Routes: n.routes,
		}); err != nil {
			return err
		}
	}
	return nil
}

// nicOf is a NIC of a VPC host.
type nicOf struct {
	device, port string
	addr         netip.Prefix
	router       netip.Addr
	routes       []netip.Prefix
}

func (w *World) nics(m Machine) []nicOf {
	sub := subnets(w.options.EC2.Region())
	var list []nicOf
	for _, s := range sub {
		if s.id == m.Subnet {
			list = append(list, nicOf{nic, m.Name, netip.PrefixFrom(m.IP, s.cidr.Bits()), s.router(), []netip.Prefix{anywhere}})
		}
	}
	if m.Management.IsValid() {
		s := sub["shared"]
		// Only single addresses: nothing that is forwarded, and no heartbeat, may find a way here.
		list = append(list, nicOf{managementNIC, m.Name + "-m", netip.PrefixFrom(m.Management, 32), s.router(), w.services()})
	}
	return list
}

// services are the addresses of the control plane and of AWS.
func (w *World) services() []netip.Prefix {
	var list []netip.Prefix
	for _, m := range w.machines {
		if m.Name == "cp" || m.Name == "aws" {
			list = append(list, netip.PrefixFrom(m.IP, 32))
		}
	}
	return list
}

// Machines lists the VPC hosts, gateways first.
func (w *World) Machines() []Machine { return slices.Clone(w.machines) }

// Gateways lists the VPC hosts that are gateways.
func (w *World) Gateways() []Machine {
	return slices.DeleteFunc(w.Machines(), func(m Machine) bool { return !m.Gateway })
}

// Machine finds a VPC host by its short name.
func (w *World) Machine(name string) (Machine, error) {
	i := slices.IndexFunc(w.machines, func(m Machine) bool { return m.Name == name })
	if i < 0 {
		return Machine{}, fmt.Errorf("no VPC host %q in the world", name)
	}
	return w.machines[i], nil
}

// RouteTables lists the ids of the route tables the world began with.
func (w *World) RouteTables() []string { return slices.Clone(w.tables) }

// PodNetworks lists the networks that pod CIDRs are taken from.
func (w *World) PodNetworks() []netip.Prefix { return slices.Clone(w.options.PodNetworks) }

// Host finds a namespace by its name without the prefix: a VPC host, a node, a
// pod ("node1-pod1"), "fabric" or "wan".
func (w *World) Host(name string) (*netns.Host, error) {
	for _, h := range w.Hosts() {
		if h.Name() == w.options.Prefix+name {
			return h, nil
		}
	}
	return nil, fmt.Errorf("no host %q in the world", name)
}

// Hosts lists all namespaces, sorted by name.
func (w *World) Hosts() []*netns.Host {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*netns.Host
	for _, h := range w.hosts {
		list = append(list, h)
	}
	for _, n := range w.nodes {
		list = append(list, n.Hosts()...)
	}
	slices.SortFunc(list, func(a, b *netns.Host) int {
		if a.Name() < b.Name() {
			return -1
		}
		return 1
	})
	return list
}

// Close takes the world down: processes in it are killed, namespaces removed.
func (w *World) Close() error {
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	var errs []error
	if w.WAN != nil {
		errs = append(errs, w.WAN.Close())
	}
	errs = append(errs, netns.Destroy(w.Hosts()...))
	return errors.Join(errs...)
}

// Cleanup removes what worlds with this prefix have left after a crash,
// processes inside included. A world that is alive goes too.
func Cleanup(prefix string) error {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	return netns.Cleanup(prefix)
}
