package onprem

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/nft"
)

const (
	// TunnelDevice is the node's VXLAN device.
	TunnelDevice = "cilium_vxlan"
	// VNI marks what goes to and comes from a VTEP.
	VNI = 2
	// Port is the UDP port of VXLAN packets.
	Port = 8472
	// PodMTU is how big a packet of a pod may be, in bytes, so that it fits
	// into an underlay packet of 1500.
	PodMTU = 1450

	podDevice = "eth0" // a pod's end of its link

	outTable     = 2000 // what comes from pods
	inTable      = 2001 // what comes from the tunnel
	rulePriority = 100

	counterWrongVNI = "wrong-vni"
)

var (
	vtepSet = nft.Prefixes("vteps")
	// podRouter is what pods take for their router; it exists on every link to
	// a pod and nowhere else.
	podRouter = netip.MustParseAddr("169.254.1.1")
	anywhere  = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
)

// Spec describes a node.
type Spec struct {
	Name     string
	IP       netip.Addr     // on the on-premises network
	PodCIDRs []netip.Prefix // what its CiliumNode claims
}

// Node is one on-premises node. Its methods may be called from any goroutine.
type Node struct {
	Spec
	Host *netns.Host

	filter *nft.Table

	mu    sync.Mutex
	vteps vtepState
	pods  []*Pod
}

// Pod is a pod on a node.
type Pod struct {
	Name string
	IP   netip.Addr
	Host *netns.Host
}

// New makes a node of a host that is linked to its network already.
func New(h *netns.Host, s Spec) (*Node, error) {
	n := &Node{
		Spec: s, Host: h, vteps: newVTEPState(),
		filter: nft.NewTable(h, nftables.TableFamilyIPv4, "node"),
	}
	if err := h.Sysctl("ipv4/ip_forward", "1"); err != nil {
		return nil, err
	}
	if err := n.addTunnelDevice(); err != nil {
		return nil, err
	}
	if err := n.setUpFilter(); err != nil {
		return nil, err
	}
	for _, table := range []int{outTable, inTable} {
		if err := h.Netlink().RouteReplace(&netlink.Route{
			Dst: netns.IPNet(anywhere), Table: table, Type: unix.RTN_BLACKHOLE,
		}); err != nil {
			return nil, fmt.Errorf("close routing table %d of %s: %w", table, s.Name, err)
		}
	}
	return n, n.addRule(TunnelDevice, inTable)
}

func (n *Node) addTunnelDevice() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = TunnelDevice, 1500
	if err := n.Host.Netlink().LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, FlowBased: true, Port: Port}); err != nil {
		return fmt.Errorf("add device %s of %s: %w", TunnelDevice, n.Name, err)
	}
	return n.Host.SetUp(TunnelDevice, true)
}

func (n *Node) setUpFilter() error {
	if err := n.filter.Commit(func(b *nft.Batch) {
		b.Counter(counterWrongVNI)
		b.AddSet(vtepSet)
		b.Chain("input", &nft.Hook{Hook: nftables.ChainHookInput, Priority: *nftables.ChainPriorityFilter})
		b.Rule("input", nft.UDPTo(Port), nft.Among(nft.InnerSrc, vtepSet), nft.VNIIsNot(VNI),
			nft.Count(counterWrongVNI), nft.Drop)
	}); err != nil {
		return err
	}
	return nft.NewTable(n.Host, nftables.TableFamilyNetdev, "tunnel").Commit(func(b *nft.Batch) {
		b.Chain("ingress", &nft.Hook{
			Hook: nftables.ChainHookIngress, Priority: *nftables.ChainPriorityFilter, Device: TunnelDevice,
		})
		b.Rule("ingress", nft.ForThisHost)
	})
}

func (n *Node) addRule(device string, table int) error {
	r := netlink.NewRule()
	r.Family, r.Priority, r.IifName, r.Table = netlink.FAMILY_V4, rulePriority, device, table
	if err := n.Host.Netlink().RuleAdd(r); err != nil {
		return fmt.Errorf("add rule for %s of %s: %w", device, n.Name, err)
	}
	return nil
}

// SetVTEPs makes the node's VTEP map the one given. Only differences are
// written; a packet for a CIDR that stays is not lost. After an error, what
// could be done is done.
func (n *Node) SetVTEPs(want []Endpoint) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	ops, err := planVTEPs(want, n.vteps)
	if err != nil {
		return err
	}
	if len(ops) == 0 {
		return nil
	}
	var errs []error
	for _, op := range ops {
		if err := n.carryOut(op); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", n.Name, op, err))
			continue
		}
		n.vteps.apply(op)
	}
	errs = append(errs, n.filter.Commit(func(b *nft.Batch) {
		var cidrs []netip.Prefix
		for cidr := range n.vteps.routes {
			cidrs = append(cidrs, cidr)
		}
		b.SetElements(vtepSet, nft.Ranges(cidrs)...)
	}))
	return errors.Join(errs...)
}

func (n *Node) carryOut(op vtepOp) error {
	l, err := n.Host.Link(TunnelDevice)
	if err != nil {
		return err
	}
	nlh, index := n.Host.Netlink(), l.Attrs().Index
	neighbour := &netlink.Neigh{LinkIndex: index, Family: netlink.FAMILY_V4, IP: op.hop.next.AsSlice()}
	route := &netlink.Route{LinkIndex: index, Table: outTable, Dst: netns.IPNet(op.cidr)}
	switch op.kind {
	case setHop:
		return n.Host.SetNeighbour(TunnelDevice, op.hop.next, op.mac[:])
	case delHop:
		return nlh.NeighDel(neighbour)
	case setRoute:
		route.Gw, route.Flags = op.hop.next.AsSlice(), int(netlink.FLAG_ONLINK)
		route.Encap = &tunnelEncap{id: VNI, dst: op.hop.tunnel}
		return nlh.RouteReplace(route)
	default:
		return nlh.RouteDel(route)
	}
}

// VTEPs is the node's VTEP map as it is in the kernel.
func (n *Node) VTEPs() []Endpoint {
	n.mu.Lock()
	defer n.mu.Unlock()
	macs := map[netip.Addr]mac{}
	for m, next := range n.vteps.hops {
		macs[next] = m
	}
	var list []Endpoint
	for cidr, h := range n.vteps.routes {
		m := macs[h.next]
		list = append(list, Endpoint{CIDR: cidr, TunnelEndpoint: h.tunnel, MAC: m[:]})
	}
	slices.SortFunc(list, func(a, b Endpoint) int { return a.CIDR.Addr().Compare(b.CIDR.Addr()) })
	return list
}

// AddPod makes a pod with an address, in a namespace named namespace. The name
// is short (12 characters at most): it is part of a device's name.
func (n *Node) AddPod(namespace, name string, ip netip.Addr) (*Pod, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, err := netns.Create(namespace)
	if err != nil {
		return nil, err
	}
	p := &Pod{Name: name, IP: ip, Host: h}
	if err := n.linkPod(p); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	n.pods = append(n.pods, p)
	return p, nil
}

func (n *Node) linkPod(p *Pod) error {
	port := "lxc" + p.Name
	if err := p.Host.Quiet(); err != nil {
		return err
	}
	if err := netns.Connect(netns.End{Host: n.Host, Name: port}, netns.End{Host: p.Host, Name: podDevice}); err != nil {
		return err
	}
	podMAC, err := p.Host.MAC(podDevice)
	if err != nil {
		return err
	}
	portMAC, err := n.Host.MAC(port)
	if err != nil {
		return err
	}
	if err := n.Host.SetNeighbour(port, p.IP, podMAC); err != nil {
		return err
	}
	if err := p.Host.SetNeighbour(podDevice, podRouter, portMAC); err != nil {
		return err
	}
	own := netip.PrefixFrom(p.IP, 32)
	if err := p.Host.AddAddr(podDevice, own); err != nil {
		return err
	}
	if err := n.podRoute(p); err != nil {
		return err
	}
	l, err := n.Host.Link(port)
	if err != nil {
		return err
	}
	for _, table := range []int{unix.RT_TABLE_MAIN, outTable, inTable} {
		if err := n.Host.Netlink().RouteReplace(&netlink.Route{
			LinkIndex: l.Attrs().Index, Table: table, Dst: netns.IPNet(own), Scope: netlink.SCOPE_LINK,
		}); err != nil {
			return fmt.Errorf("route to pod %s on %s: %w", p.Name, n.Name, err)
		}
	}
	return n.addRule(port, outTable)
}

// podRoute gives a pod its only route, which leaves room for the tunnel.
func (n *Node) podRoute(p *Pod) error {
	l, err := p.Host.Link(podDevice)
	if err != nil {
		return err
	}
	if err := p.Host.Netlink().RouteReplace(&netlink.Route{
		LinkIndex: l.Attrs().Index, Dst: netns.IPNet(anywhere), MTU: PodMTU,
		Gw: podRouter.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
	}); err != nil {
		return fmt.Errorf("default route of pod %s: %w", p.Name, err)
	}
	return nil
}

// Pods lists the node's pods, in the order they were added.
func (n *Node) Pods() []*Pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.pods)
}

// Hosts are the namespaces of node and pods.
func (n *Node) Hosts() []*netns.Host {
	hosts := []*netns.Host{n.Host}
	for _, p := range n.Pods() {
		hosts = append(hosts, p.Host)
	}
	return hosts
}

// Counters are packets since the node was made.
type Counters struct {
	Received uint64 // out of the tunnel
	Sent     uint64 // into the tunnel
	WrongVNI uint64 // dropped: from the VPC, but not with VNI 2
}

// Counters reads them.
func (n *Node) Counters() (Counters, error) {
	l, err := n.Host.Link(TunnelDevice)
	if err != nil {
		return Counters{}, err
	}
	counts, err := n.filter.Counters()
	if err != nil {
		return Counters{}, err
	}
	c := Counters{WrongVNI: counts[counterWrongVNI]}
	if s := l.Attrs().Statistics; s != nil {
		c.Received, c.Sent = s.RxPackets, s.TxPackets
	}
	return c, nil
}
