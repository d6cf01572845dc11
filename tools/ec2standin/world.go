package ec2standin

import (
	"fmt"
	"net/netip"
)

// VPC is a virtual network.
type VPC struct {
	ID    string
	CIDRs []netip.Prefix // first is the primary; IPv4 or IPv6
	Tags  map[string]string
}

// Subnet is one zone's part of a VPC.
type Subnet struct {
	ID   string
	VPC  string
	CIDR netip.Prefix
	Zone string // availability zone, for example "us-west-2a"; default: region + "a"
	Tags map[string]string
}

// RouteTable is a route table and what it is associated with. Routes are
// added by the API, or by SetRoute; the VPC's local routes are implied.
type RouteTable struct {
	ID      string
	VPC     string
	Main    bool     // serves every subnet of the VPC that has no table of its own
	Subnets []string // subnets associated explicitly
	Tags    map[string]string
}

// InstanceState is the life-cycle state of an instance.
type InstanceState string

// Instance states, as EC2 names them.
const (
	InstancePending      InstanceState = "pending"
	InstanceRunning      InstanceState = "running"
	InstanceStopping     InstanceState = "stopping"
	InstanceStopped      InstanceState = "stopped"
	InstanceShuttingDown InstanceState = "shutting-down"
	InstanceTerminated   InstanceState = "terminated"
)

// Instance is a virtual machine. Its addresses, subnet and zone are those of
// its ENI with device index 0.
type Instance struct {
	ID    string
	State InstanceState // default: running
	Type  string        // default: m7i.large
	Tags  map[string]string
}

// ENI is a network interface.
type ENI struct {
	ID              string
	Subnet          string
	PrivateIP       netip.Addr   // primary private address
	SecondaryIPs    []netip.Addr // further private addresses
	MAC             string       // default: derived from the id
	Instance        string       // instance it is attached to; empty: not attached
	DeviceIndex     int          // 0 is the primary interface of the instance
	SourceDestCheck bool         // EC2 creates interfaces with true; a gateway needs false
	Description     string
	Tags            map[string]string
}

// Gateway is a route target other than an interface: an internet (igw-),
// virtual private (vgw-), NAT (nat-) or transit gateway (tgw-), or a VPC
// peering connection (pcx-). CreateRoute and ReplaceRoute accept only
// gateways that exist; the routes of a deleted one are blackholes.
type Gateway struct {
	ID  string
	VPC string // VPC it is attached to; empty: any
}

// TargetKind says what sort of thing a route points to.
type TargetKind string

// Kinds of route targets.
const (
	TargetLocal          TargetKind = "local"           // within the VPC
	TargetENI            TargetKind = "eni"             // also for routes created with InstanceId
	TargetGateway        TargetKind = "gateway"         // igw- or vgw-
	TargetNATGateway     TargetKind = "nat-gateway"     // nat-
	TargetTransitGateway TargetKind = "transit-gateway" // tgw-
	TargetPeering        TargetKind = "peering"         // pcx-
)

// Target is where a route leads.
type Target struct {
	Kind TargetKind
	ID   string // empty for TargetLocal
}

// ToENI is the target for a network interface.
func ToENI(id string) Target { return Target{Kind: TargetENI, ID: id} }

func (t Target) String() string {
	if t.Kind == TargetLocal {
		return "local"
	}
	return t.ID
}

// RouteState tells whether a route can carry traffic.
type RouteState string

// Route states, as EC2 names them.
const (
	RouteActive    RouteState = "active"
	RouteBlackhole RouteState = "blackhole"
)

// Route is one route of a table, with its effective state.
type Route struct {
	Destination netip.Prefix // masked
	PrefixList  string       // list it comes from (TableSnapshot.Effective); empty: none
	Target      Target
	State       RouteState
}

func (r Route) String() string {
	return fmt.Sprintf("%s via %s (%s)", r.Destination, r.Target, r.State)
}

// AddVPC adds a VPC. It fails when the id is taken or a CIDR is missing.
func (s *Server) AddVPC(v VPC) error {
	return s.change(func(st *state) error { return st.addVPC(v) })
}

// AddVPCCIDR adds a secondary CIDR to a VPC, hence a local route to each of
// its tables.
func (s *Server) AddVPCCIDR(vpc string, cidr netip.Prefix) error {
	return s.change(func(st *state) error { return st.addVPCCIDR(vpc, cidr) })
}

// AddSubnet adds a subnet to a VPC that exists.
func (s *Server) AddSubnet(n Subnet) error {
	if n.Zone == "" {
		n.Zone = s.config.Region + "a"
	}
	return s.change(func(st *state) error { return st.addSubnet(n) })
}

// AddRouteTable adds a route table with its associations. A subnet that
// another table serves moves to this one.
func (s *Server) AddRouteTable(t RouteTable) error {
	return s.change(func(st *state) error { return st.addTable(t) })
}

// DeleteRouteTable removes a table; its subnets fall back to the main one.
func (s *Server) DeleteRouteTable(id string) error {
	return s.change(func(st *state) error { return st.deleteTable(id) })
}

// Associate moves a subnet to a table.
func (s *Server) Associate(table, subnet string) error {
	return s.change(func(st *state) error { return st.associate(table, subnet) })
}

// AddInstance adds an instance. Give it an address by adding an ENI.
func (s *Server) AddInstance(i Instance) error {
	return s.change(func(st *state) error { return st.addInstance(i) })
}

// SetInstanceState changes an instance's state. Routes to the interfaces of
// an instance that does not run are blackholes. Terminated deletes its primary
// interface, as EC2 does by default, and detaches the others.
func (s *Server) SetInstanceState(id string, to InstanceState) error {
	return s.change(func(st *state) error { return st.setInstanceState(id, to) })
}

// AddENI adds a network interface to a subnet that exists, attached to an
// instance that exists when one is named.
func (s *Server) AddENI(e ENI) error {
	return s.change(func(st *state) error { return st.addENI(e) })
}

// AttachENI attaches an interface to an instance at a device index, or
// detaches it when instance is empty.
func (s *Server) AttachENI(id, instance string, deviceIndex int) error {
	return s.change(func(st *state) error { return st.attachENI(id, instance, deviceIndex) })
}

// DeleteENI removes an interface. Routes to it stay, as blackholes.
func (s *Server) DeleteENI(id string) error {
	return s.change(func(st *state) error { return st.deleteENI(id) })
}

// SetSourceDestCheck changes an interface's check without an API call.
func (s *Server) SetSourceDestCheck(eni string, on bool) error {
	return s.change(func(st *state) error { return st.setSourceDestCheck(eni, on) })
}

// AddGateway adds a gateway or peering connection; its id's prefix tells which.
func (s *Server) AddGateway(g Gateway) error {
	return s.change(func(st *state) error { return st.addGateway(g) })
}

// DeleteGateway removes a gateway. Routes to it stay, as blackholes.
func (s *Server) DeleteGateway(id string) error {
	return s.change(func(st *state) error { return st.deleteGateway(id) })
}

// SetRoute writes a route behind the clients' back: no API call is logged, no
// fault, quota or existence check applies. It creates or replaces.
func (s *Server) SetRoute(table string, destination netip.Prefix, target Target) error {
	return s.change(func(st *state) error { return st.setRoute(table, destination, target) })
}

// RemoveRoute deletes a route behind the clients' back; deleting what is
// absent succeeds.
func (s *Server) RemoveRoute(table string, destination netip.Prefix) error {
	return s.change(func(st *state) error { return st.removeRoute(table, destination) })
}
