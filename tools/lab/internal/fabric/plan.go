package fabric

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/hybridgateway/gateway/tools/ec2standin"
)

// Names of the routing tables that are not EC2 route tables.
const (
	// TableOwn is for packets of the fabric itself, such as ICMP errors.
	TableOwn = "own"
	// TableIngress is for packets that come in from the WAN, unless an EC2
	// route table is used for that.
	TableIngress = "ingress"
)

// WANPort is the name of the link to the WAN.
const WANPort = "wan0"

// Port is a link to a VPC host.
type Port struct {
	Name string     // of the link
	Addr netip.Addr // the host's address
}

// HopKind says what becomes of a packet.
type HopKind int

// Kinds of hops.
const (
	HopDrop  HopKind = iota // silently
	HopLocal                // deliver to the host of a port, whose own address it is
	HopVia                  // hand to the host of a port, which forwards it
	HopWAN                  // send to the WAN
)

// Hop is where a route leads.
type Hop struct {
	Kind HopKind
	Port string // for HopLocal and HopVia
}

func (h Hop) String() string {
	switch h.Kind {
	case HopLocal:
		return "local " + h.Port
	case HopVia:
		return "via " + h.Port
	case HopWAN:
		return "wan"
	default:
		return "drop"
	}
}

// RouteKey names a route in the kernel.
type RouteKey struct {
	Table string // an EC2 route table's id, TableOwn or TableIngress
	Dst   netip.Prefix
}

// Programme is everything in the kernel that depends on the stand-in's state.
type Programme struct {
	Routes  map[RouteKey]Hop
	Rules   map[string]string // port -> table for what comes in there
	Checked map[string]bool   // ports with source/destination check
}

// Topology is what of the fabric does not depend on the stand-in's state.
type Topology struct {
	Ports  []Port
	OnPrem []netip.Prefix // networks behind the WAN
	// IngressTable is the EC2 route table for packets that come in from the
	// WAN. Empty: they find VPC hosts and nothing else.
	IngressTable string
}

// Desired computes what the kernel should hold. Interfaces that no port has
// the address of do not exist as far as the fabric is concerned; routes to
// them drop. A route to a prefix list is one route for each CIDR in it; where
// a route to the same CIDR exists, that one counts.
func Desired(s ec2standin.Snapshot, t Topology) Programme {
	p := Programme{Routes: map[RouteKey]Hop{}, Rules: map[string]string{}, Checked: map[string]bool{}}
	ports := portsOf(s, t.Ports)
	local := locals(s, ports)

	tables := []string{TableOwn, TableIngress}
	for _, rt := range s.RouteTables {
		tables = append(tables, rt.ID)
	}
	for _, name := range tables {
		p.Routes[RouteKey{name, netip.PrefixFrom(netip.IPv4Unspecified(), 0)}] = Hop{Kind: HopDrop}
		for dst, hop := range local {
			p.Routes[RouteKey{name, dst}] = hop
		}
	}
	for _, dst := range t.OnPrem {
		p.Routes[RouteKey{TableOwn, dst}] = Hop{Kind: HopWAN}
	}
	for _, rt := range s.RouteTables {
		for _, r := range rt.Effective() {
			if r.Target.Kind != ec2standin.TargetLocal && r.Destination.Addr().Is4() {
				p.Routes[RouteKey{rt.ID, r.Destination}] = hopOf(r, ports)
			}
		}
	}

	for _, e := range s.ENIs {
		port, ok := ports[e.ID]
		if !ok {
			continue
		}
		if rt, ok := s.TableFor(e.Subnet); ok {
			p.Rules[port] = rt.ID
		}
		if e.SourceDestCheck {
			p.Checked[port] = true
		}
	}
	p.Rules[WANPort] = TableIngress
	if t.IngressTable != "" {
		p.Rules[WANPort] = t.IngressTable
	}
	return p
}

// portsOf maps ids of interfaces to ports.
func portsOf(s ec2standin.Snapshot, ports []Port) map[string]string {
	byAddr := map[netip.Addr]string{}
	for _, p := range ports {
		byAddr[p.Addr] = p.Name
	}
	byENI := map[string]string{}
	for _, e := range s.ENIs {
		if name, ok := byAddr[e.PrivateIP]; ok {
			byENI[e.ID] = name
		}
	}
	return byENI
}

// locals are the routes that every table has: to the addresses of interfaces,
// and nowhere for the rest of the VPC.
func locals(s ec2standin.Snapshot, ports map[string]string) map[netip.Prefix]Hop {
	routes := map[netip.Prefix]Hop{}
	for _, v := range s.VPCs {
		for _, c := range v.CIDRs {
			if c.Addr().Is4() {
				routes[c] = Hop{Kind: HopDrop}
			}
		}
	}
	for _, e := range s.ENIs {
		port, ok := ports[e.ID]
		if !ok {
			continue
		}
		routes[host(e.PrivateIP)] = Hop{Kind: HopLocal, Port: port}
		for _, a := range e.SecondaryIPs {
			if a.Is4() {
				routes[host(a)] = Hop{Kind: HopVia, Port: port}
			}
		}
	}
	return routes
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func hopOf(r ec2standin.Route, ports map[string]string) Hop {
	if r.State != ec2standin.RouteActive {
		return Hop{Kind: HopDrop}
	}
	switch r.Target.Kind {
	case ec2standin.TargetENI:
		if port, ok := ports[r.Target.ID]; ok {
			return Hop{Kind: HopVia, Port: port}
		}
	case ec2standin.TargetTransitGateway:
		return Hop{Kind: HopWAN}
	case ec2standin.TargetGateway:
		if !isInternetGateway(r.Target.ID) {
			return Hop{Kind: HopWAN}
		}
	}
	return Hop{Kind: HopDrop}
}

// The world has no internet.
func isInternetGateway(id string) bool { return len(id) > 4 && id[:4] == "igw-" }

// OpKind says what an operation does.
type OpKind int

// Kinds of operations, in the order in which a plan has them: what is new is
// complete before anything points to it, and what is old goes last.
const (
	OpSetRoute OpKind = iota // add, or replace in place
	OpAddRule                // use a table for what comes in on a port
	OpDelRule                // no longer
	OpCheck                  // source/destination check on
	OpUncheck                // off
	OpDelRoute               // remove
)

// Op is one operation on the kernel.
type Op struct {
	Kind  OpKind
	Route RouteKey // for routes
	Hop   Hop      // for OpSetRoute
	Port  string   // for rules and checks
	Table string   // for rules
}

func (o Op) String() string {
	switch o.Kind {
	case OpSetRoute:
		return fmt.Sprintf("route set %s %s %s", o.Route.Table, o.Route.Dst, o.Hop)
	case OpDelRoute:
		return fmt.Sprintf("route del %s %s", o.Route.Table, o.Route.Dst)
	case OpAddRule:
		return fmt.Sprintf("rule add %s table %s", o.Port, o.Table)
	case OpDelRule:
		return fmt.Sprintf("rule del %s table %s", o.Port, o.Table)
	case OpCheck:
		return fmt.Sprintf("check on %s", o.Port)
	default:
		return fmt.Sprintf("check off %s", o.Port)
	}
}

// Plan gives the operations that turn one programme into another, in an order
// in which no packet that both programmes deliver is lost.
func Plan(want, have Programme) []Op {
	var ops []Op
	for k, hop := range want.Routes {
		if old, ok := have.Routes[k]; !ok || old != hop {
			ops = append(ops, Op{Kind: OpSetRoute, Route: k, Hop: hop})
		}
	}
	for k := range have.Routes {
		if _, ok := want.Routes[k]; !ok {
			ops = append(ops, Op{Kind: OpDelRoute, Route: k})
		}
	}
	for port, table := range want.Rules {
		if have.Rules[port] != table {
			ops = append(ops, Op{Kind: OpAddRule, Port: port, Table: table})
		}
	}
	for port, table := range have.Rules {
		if want.Rules[port] != table {
			ops = append(ops, Op{Kind: OpDelRule, Port: port, Table: table})
		}
	}
	for port := range want.Checked {
		if !have.Checked[port] {
			ops = append(ops, Op{Kind: OpCheck, Port: port})
		}
	}
	for port := range have.Checked {
		if !want.Checked[port] {
			ops = append(ops, Op{Kind: OpUncheck, Port: port})
		}
	}
	slices.SortFunc(ops, compareOps)
	return ops
}

func compareOps(a, b Op) int {
	return cmp.Or(
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Route.Table, b.Route.Table),
		a.Route.Dst.Addr().Compare(b.Route.Dst.Addr()),
		cmp.Compare(a.Route.Dst.Bits(), b.Route.Dst.Bits()),
		cmp.Compare(a.Port, b.Port),
	)
}

// Apply records an operation that has been carried out.
func (p *Programme) Apply(o Op) {
	switch o.Kind {
	case OpSetRoute:
		p.Routes[o.Route] = o.Hop
	case OpDelRoute:
		delete(p.Routes, o.Route)
	case OpAddRule:
		p.Rules[o.Port] = o.Table
	case OpDelRule:
		// When a port changes its table, the new rule is recorded already.
		if p.Rules[o.Port] == o.Table {
			delete(p.Rules, o.Port)
		}
	case OpCheck:
		p.Checked[o.Port] = true
	case OpUncheck:
		delete(p.Checked, o.Port)
	}
}

func (p Programme) clone() Programme {
	return Programme{Routes: maps.Clone(p.Routes), Rules: maps.Clone(p.Rules), Checked: maps.Clone(p.Checked)}
}

// withoutWAN is the programme for as long as there is no link to the WAN.
func (p Programme) withoutWAN() Programme {
	p = p.clone()
	delete(p.Rules, WANPort)
	for k, hop := range p.Routes {
		if hop.Kind == HopWAN {
			p.Routes[k] = Hop{Kind: HopDrop}
		}
	}
	return p
}
