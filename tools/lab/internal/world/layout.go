package world

import (
	"fmt"
	"net/netip"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

// Fixed parts of the world, as the EC2 API names them.
const (
	VPC          = "vpc-00000001"
	MainTable    = "rtb-00000000" // subnet services
	TableA       = "rtb-0000000a" // subnet a
	TableB       = "rtb-0000000b" // subnet b
	VGW          = "vgw-00000001" // to the WAN
	subnetShared = "subnet-00000000"
	subnetA      = "subnet-0000000a"
	subnetB      = "subnet-0000000b"
)

// Networks of the world.
var (
	VPCNetwork    = netip.MustParsePrefix("10.0.0.0/16")
	OnPremNetwork = netip.MustParsePrefix("192.168.1.0/24")
	// RemoteNetwork is what the VPC's route tables send to the WAN.
	RemoteNetwork = netip.MustParsePrefix("192.168.0.0/16")
	// IMDSAddress is on the loopback device of every gateway.
	IMDSAddress = netip.MustParseAddr("169.254.169.254")
)

// DefaultPodNetworks are the networks that pod CIDRs are taken from.
func DefaultPodNetworks() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("100.65.0.0/16")}
}

// Machine is a VPC host as EC2 sees it.
type Machine struct {
	Name       string // short; the namespace is the world's prefix and this
	IP         netip.Addr
	Gateway    bool // source/destination check off, IMDS address on lo
	Subnet     string
	Zone       string
	ENI        string
	Instance   string
	RouteTable string // of its subnet, at the start
	// Management is the address of a second NIC, by which the control plane and AWS
	// are reached; not valid without one.
	Management netip.Addr
}

type subnet struct {
	id, zone, table string
	cidr            netip.Prefix
}

func (s subnet) router() netip.Addr { return s.cidr.Addr().Next() }

func subnets(region string) map[string]subnet {
	return map[string]subnet{
		"shared": {subnetShared, region + "c", MainTable, netip.MustParsePrefix("10.0.0.0/24")},
		"a":      {subnetA, region + "a", TableA, netip.MustParsePrefix("10.0.1.0/24")},
		"b":      {subnetB, region + "b", TableB, netip.MustParsePrefix("10.0.2.0/24")},
	}
}

// machine numbers a host after its address, so that ids are easy to read.
func machine(name string, s subnet, last byte) Machine {
	ip := s.addr(last)
	return Machine{
		Name: name, IP: ip, Subnet: s.id, Zone: s.zone,
		ENI: eniOf(ip), Instance: "i-" + number(ip), RouteTable: s.table,
	}
}

func (s subnet) addr(last byte) netip.Addr {
	base := s.cidr.Addr().As4()
	base[3] = last
	return netip.AddrFrom4(base)
}

func number(ip netip.Addr) string {
	b := ip.As4()
	return fmt.Sprintf("%04x%04x", uint16(b[2]), uint16(b[3]))
}

func eniOf(ip netip.Addr) string { return "eni-" + number(ip) }

func machines(region string, gateways int, management bool) []Machine {
	sub := subnets(region)
	var list []Machine
	for i := range gateways {
		g := machine(fmt.Sprintf("gw%d", i+1), sub[[]string{"a", "b"}[i%2]], byte(10+i/2))
		g.Gateway = true
		if management {
			g.Management = sub["shared"].addr(byte(100 + i))
		}
		list = append(list, g)
	}
	return append(list,
		machine("ec2-1", sub["a"], 20),
		machine("ec2-2", sub["b"], 20),
		machine("lb", sub["a"], 200),
		machine("cp", sub["a"], 5),
		machine("aws", sub["shared"], 2),
	)
}

// extraTable names an additional route table, counted from 1.
func extraTable(i int) string { return fmt.Sprintf("rtb-%08x", 0x100+i) }

// nodes are the on-premises nodes a world begins with.
func nodes(n int) []onprem.Spec {
	var list []onprem.Spec
	for i := 1; i <= n; i++ {
		s := onprem.Spec{
			Name:     fmt.Sprintf("node%d", i),
			IP:       netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + i)}),
			PodCIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 0}), 24)},
		}
		if i == 2 {
			s.PodCIDRs = append(s.PodCIDRs, netip.MustParsePrefix("100.65.2.0/24"))
		}
		list = append(list, s)
	}
	return list
}

// PodAddr is the address of a node's first pod in one of its pod CIDRs.
func PodAddr(cidr netip.Prefix) netip.Addr {
	a := cidr.Masked().Addr()
	for range 10 {
		a = a.Next()
	}
	return a
}

// seed fills the stand-in with the VPC.
func seed(srv *ec2standin.Server, all []Machine, extraTables int) error {
	sub := subnets(srv.Region())
	steps := []error{
		srv.AddVPC(ec2standin.VPC{ID: VPC, CIDRs: []netip.Prefix{VPCNetwork}}),
		srv.AddGateway(ec2standin.Gateway{ID: VGW, VPC: VPC}),
	}
	for _, key := range []string{"shared", "a", "b"} {
		s := sub[key]
		steps = append(steps,
			srv.AddSubnet(ec2standin.Subnet{ID: s.id, VPC: VPC, CIDR: s.cidr, Zone: s.zone}),
			srv.AddRouteTable(ec2standin.RouteTable{ID: s.table, VPC: VPC, Main: s.table == MainTable, Subnets: []string{s.id}}),
		)
	}
	for _, t := range tableIDs(extraTables) {
		if t != MainTable && t != TableA && t != TableB {
			steps = append(steps, srv.AddRouteTable(ec2standin.RouteTable{ID: t, VPC: VPC}))
		}
		steps = append(steps, srv.SetRoute(t, RemoteNetwork, ec2standin.Target{Kind: ec2standin.TargetGateway, ID: VGW}))
	}
	for _, m := range all {
		steps = append(steps,
			srv.AddInstance(ec2standin.Instance{ID: m.Instance, Tags: map[string]string{"Name": m.Name}}),
			srv.AddENI(ec2standin.ENI{
				ID: m.ENI, Subnet: m.Subnet, PrivateIP: m.IP, Instance: m.Instance, SourceDestCheck: !m.Gateway,
			}),
		)
		if m.Management.IsValid() {
			steps = append(steps, srv.AddENI(ec2standin.ENI{
				ID: eniOf(m.Management), Subnet: subnetShared, PrivateIP: m.Management, Instance: m.Instance, DeviceIndex: 1, SourceDestCheck: true,
			}))
		}
	}
	for _, err := range steps {
		if err != nil {
			return fmt.Errorf("seed the EC2 stand-in: %w", err)
		}
	}
	return nil
}

func tableIDs(extra int) []string {
	ids := []string{MainTable, TableA, TableB}
	for i := range extra {
		ids = append(ids, extraTable(i+1))
	}
	return ids
}
