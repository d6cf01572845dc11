package plan

import (
	"fmt"
	"maps"
	"net/netip"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// RouteProtocol marks the routes that are ours (`ip route show proto 104`). The kernel and the known routing
// daemons use other numbers (/etc/iproute2/rt_protos).
const RouteProtocol uint8 = 104

// Overhead is what VXLAN over IPv4 adds to a packet: outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 bytes.
const Overhead = 50

// autoUnderlayMTU caps the automatic underlay MTU: the path to the other side of a WAN rarely carries jumbo frames.
const autoUnderlayMTU = 1500

// MAC is an Ethernet address.
type MAC = netaddr.MAC

// Device is the tunnel device as it should be.
type Device struct {
	Name  string
	VNI   uint32
	Port  uint16
	Local netip.Addr // outer source address
	MAC   MAC
	Flow  bool // flow-based: it is the routes, not an FDB, that say where packets go
}

// deviceVNI is the device's own: a flow-based one takes all, and is told with each packet what to send.
func (d Device) deviceVNI() uint32 {
	if d.Flow {
		return 0
	}
	return d.VNI
}

// VTEP is one remote end: a node and the pod networks behind it.
type VTEP struct {
	Node     string
	Underlay netip.Addr
	PodCIDRs []netip.Prefix
}

// Desired is everything the kernel should have.
type Desired struct {
	Device      Device
	UnderlayMTU int        // bytes; 0 is automatic: the smaller of the NIC's and 1500
	Carry       bool       // Device.Local is an address that every gateway carries: the host is given it
	Source      netip.Addr // the node's own address, source of packets to pods that this host itself originates
	VTEPs       []VTEP
	Complete    bool // VTEPs is the whole truth, so what it does not name may be removed
	OuterDF     bool // forbid that outer packets are fragmented, where the host can do without; see DF
	ClampMSS    bool // bound the maximum segment size of TCP connections by the MTU of their way
	Guard       bool // let only packets of the VTEPs' pod networks out of the tunnel
}

// Actual is what the kernel has. The zero value is an empty namespace.
type Actual struct {
	Host       Host
	Link       *Link   // the device of the desired name, of whatever kind; nil when there is none
	Rivals     []Rival // other VXLAN devices
	FDB        map[MAC][]FDBEntry
	Neighbours map[netip.Addr]Neighbour // IPv4, on our device
	Routes     map[netip.Prefix][]Route // IPv4, main table, everybody's
	Guard      *Guard                   // nil when there is none
	Clamp      Clamp
}

// Host is what the tunnel needs from the host.
type Host struct {
	NIC         *NIC         // the interface that has the node's address; nil when none has
	HasLocal    bool         // some interface has the device's outer source address
	Carried     []netip.Addr // of the loopback interface, with our label
	Forwarding  bool         // net.ipv4.ip_forward
	AllRPFilter int          // net.ipv4.conf.all.rp_filter
	Release     string       // the kernel's, as uname tells it
	// ForwardPMTU is net.ipv4.ip_forward_use_pmtu; fixed when this process may not change it.
	ForwardPMTU, ForwardPMTUFixed bool
}

// NIC is the underlay interface.
type NIC struct {
	Name       string
	MTU        int
	Forwarding bool
	RPFilter   int // its own value; the kernel applies the larger of this and conf.all's
}

// Link is a device as found. The fields after Kind mean something for kind "vxlan" only.
type Link struct {
	Name      string
	Kind      string
	VNI       uint32
	Port      uint16
	Local     netip.Addr
	Learning  bool
	DF        DF
	FlowBased bool   // collect-metadata mode, as Cilium's device
	Extension string // name of a VXLAN extension that makes the device behave differently (gbp, proxy, …); else empty
	MAC       MAC
	MTU       int
	Up        bool
	Conf      Conf
}

// Conf is the device's settings that /proc/sys/net shows under its name. They are set by netlink, because a
// container without privileges has /proc/sys read-only.
type Conf struct {
	Forwarding    int
	RPFilter      int
	SendRedirects int
	AddrGenNone   bool // no automatic IPv6 link-local address, hence no router solicitations into the tunnel
}

// Counters are a device's own, since it was created.
type Counters struct {
	RxPackets, TxPackets uint64
	RxBytes, TxBytes     uint64
	RxDropped, TxDropped uint64
}

// Rival is a VXLAN device other than ours.
type Rival struct {
	Name      string
	VNI       uint32
	Port      uint16
	FlowBased bool
	Up        bool
}

// FDBEntry says where frames to a MAC go.
type FDBEntry struct {
	Remote    netip.Addr
	Permanent bool
	Odd       bool // has a port, VNI, interface or next-hop group of its own, which we never set
}

// Neighbour is one entry of the neighbour table.
type Neighbour struct {
	MAC       MAC
	Permanent bool
}

// Route is one route of the main table.
type Route struct {
	Dst      netip.Prefix
	Via      netip.Addr // invalid for a route without a gateway
	Src      netip.Addr // preferred source; invalid when none is set
	Dev      string
	Metric   uint32
	Protocol uint8
	Onlink   bool
	Kind     string // "" for a plain unicast route, else its type (blackhole, multipath, …)
	Encap    Encap
}

// Encap is what a route says about the packets that a flow-based device sends. The zero value is none.
type Encap struct {
	Remote, Local netip.Addr // outer addresses
	VNI           uint32
	DF            bool // forbid that outer packets are fragmented
	Odd           bool // has options, a TTL or a TOS of its own, which we never set
}

func (e Encap) String() string {
	s := fmt.Sprintf("encap vni %d dst %s src %s", e.VNI, e.Remote, e.Local)
	if e.DF {
		s += " df"
	}
	if e.Odd {
		s += " odd"
	}
	return s
}

// Ours tells whether we made this route.
func (r Route) Ours() bool { return r.Protocol == RouteProtocol }

func (r Route) String() string {
	s := r.Dst.String()
	if r.Kind != "" {
		s = r.Kind + " " + s
	}
	if r.Encap != (Encap{}) {
		s += " " + r.Encap.String()
	}
	if r.Via.IsValid() {
		s += " via " + r.Via.String()
	}
	if r.Dev != "" {
		s += " dev " + r.Dev
	}
	if r.Src.IsValid() {
		s += " src " + r.Src.String()
	}
	if r.Onlink {
		s += " onlink"
	}
	if r.Metric != 0 {
		s += fmt.Sprintf(" metric %d", r.Metric)
	}
	return s + fmt.Sprintf(" proto %d", r.Protocol)
}

// Clone returns a copy that shares nothing which [Actual.Apply] changes.
func (a Actual) Clone() Actual {
	if a.Link != nil {
		link := *a.Link
		a.Link = &link
	}
	a.Guard = a.Guard.clone()
	a.FDB = maps.Clone(a.FDB)
	a.Neighbours = maps.Clone(a.Neighbours)
	a.Routes = maps.Clone(a.Routes) // Apply never changes a list of routes or entries in place
	return a
}

// MTU is the device's, given the underlay setting (0 is automatic) and the NIC's.
func MTU(underlay, nic int) int {
	if underlay == 0 {
		underlay = min(nic, autoUnderlayMTU)
	}
	return underlay - Overhead
}
