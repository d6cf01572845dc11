// Package config is the dataplane's command line, parsed into typed values.
package config

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/netaddr"
)

// Bounds of what the flags accept.
const (
	minUnderlayMTU = 626   // leaves 576, the least that IPv4 hosts must accept, inside
	maxUnderlayMTU = 65535 // IPv4's largest packet
	maxVNI         = 1<<24 - 1
)

// The values of --fastpath.
const (
	FastPathAuto = "auto"
	FastPathOn   = "on"
	FastPathOff  = "off"
)

// The values of --programming.
const (
	ProgrammingNode = "node"
	ProgrammingFlow = "flow"
)

// Config is what the dataplane is told. The zero NodeIP is "find it".
type Config struct {
	daemon.Common
	NodeIP       netaddr.IPv4         `name:"node-ip" help:"IPv4 address of this node, on the network interface that the tunnel's packets take. It is the tunnel's outer source address unless --floating-vtep is given. When not given: the address of the interface with the default route." placeholder:"ADDR"`
	FloatingVTEP netaddr.IPv4Prefix   `name:"floating-vtep" help:"Address outside of the VPC that every gateway carries, as a /32: the outer source address of the tunnel. It is put on the loopback interface unless the node has it already." placeholder:"ADDR/32"`
	UnderlayMTU  UnderlayMTU          `name:"underlay-mtu" help:"Largest packet that the path to the hybrid nodes carries, in bytes; the tunnel's MTU is 50 less. auto: the smaller of the network interface's MTU and 1500." default:"auto" placeholder:"BYTES|auto"`
	OuterDF      string               `name:"outer-df" help:"Forbid that the tunnel's packets are fragmented on their way: senders are told what the path carries. off: for paths that lose what is too large without a word." enum:"on,off" default:"on" placeholder:"on|off"`
	ClampMSS     string               `name:"clamp-mss" help:"Bound what both ends of a TCP connection through the tunnel announce as their largest segment by what the way between them carries." enum:"on,off" default:"off" placeholder:"on|off"`
	VNI          VNI                  `name:"vni" help:"VXLAN network identifier. Cilium takes it as the sender's identity; 2 is its 'world'." default:"2" placeholder:"N"`
	Guard        string               `name:"guard" help:"Let out of the tunnel only what a registered node sends, from its own pod networks, to --vpc-cidrs; drop and count the rest." enum:"on,off" default:"on" placeholder:"on|off"`
	VPCCIDRs     []netaddr.IPv4Prefix `name:"vpc-cidrs" help:"Networks of the VPC: where the guard lets packets from the hybrid nodes go. Needed unless --guard=off." placeholder:"CIDR"`
	FastPath     string               `name:"fastpath" help:"Forward the tunnel's packets in an eBPF program at the network interface, past the tunnel's device and the host's packet filters. auto: where kernel and privileges (the capability BPF) allow it." enum:"auto,on,off" default:"auto" placeholder:"auto|on|off"`
	Programming  string               `name:"programming" help:"How the kernel is told where packets go. node: by a forwarding entry, a neighbour and routes for each node. flow: by a neighbour and routes with the outer addresses, on a flow-based device; there is no fast path then. A change of it interrupts the traffic." enum:"node,flow" default:"node" placeholder:"node|flow"`
	Port         Port                 `name:"port" help:"UDP port of the tunnel." default:"8472" placeholder:"N"`
}

// Parse reads the command line and the environment; see daemon.ParseFlags.
func Parse(args []string, out io.Writer) (Config, error) {
	var c Config
	err := daemon.ParseFlags(daemon.Dataplane, "Keeps the VXLAN tunnel of a hybrid gateway: device, forwarding entries, neighbours and routes.", ":9813", &c, args, out)
	return c, err
}

// Validate is called by the parser when every flag by itself is right.
func (c *Config) Validate() error {
	if c.Guarded() && len(c.VPCCIDRs) == 0 {
		return errors.New("--vpc-cidrs is missing: the guard needs the VPC's networks; give them, or switch the guard off (--guard=off)")
	}
	if c.Flow() && !c.Guarded() {
		return errors.New("--programming=flow needs the guard: a flow-based device takes packets of every VNI, and only the guard keeps others out; leave --guard on, or take --programming=node")
	}
	if c.Flow() && c.FastPath == FastPathOn {
		return errors.New("--fastpath=on is not possible with --programming=flow, as eBPF programs cannot ask for its routes; leave one of them out")
	}
	return c.validateFloating()
}

func (c *Config) validateFloating() error {
	vtep := c.FloatingVTEP
	switch {
	case !vtep.IsValid():
		return nil
	case vtep.Bits() != 32:
		return fmt.Errorf("--floating-vtep=%s: want one address, such as 198.18.0.10/32", vtep)
	case vtep.Addr() == c.NodeIP.Addr:
		return fmt.Errorf("--floating-vtep=%s is --node-ip as well: want the node's own address there", vtep)
	}
	if _, err := netaddr.ParseIPv4(vtep.Addr().String()); err != nil {
		return fmt.Errorf("--floating-vtep: %w", err)
	}
	for _, p := range c.VPCCIDRs {
		if p.Overlaps(vtep.Prefix) {
			return fmt.Errorf("--floating-vtep=%s lies within --vpc-cidrs=%s: want an address outside of the VPC", vtep, p)
		}
	}
	return nil
}

// Local is the outer source address of the tunnel of a node.
func (c Config) Local(node netip.Addr) netip.Addr {
	if c.FloatingVTEP.IsValid() {
		return c.FloatingVTEP.Addr()
	}
	return node
}

// Guarded tells whether packets are judged.
func (c Config) Guarded() bool { return c.Guard == "on" }

// Flow tells whether the device is flow-based.
func (c Config) Flow() bool { return c.Programming == ProgrammingFlow }

// Clamped tells whether the segment size of TCP is bounded.
func (c Config) Clamped() bool { return c.ClampMSS == "on" }

// UnderlayMTU is a number of bytes; 0 is automatic.
type UnderlayMTU int

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *UnderlayMTU) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*m = 0
		return nil
	}
	n, err := number(text, minUnderlayMTU, maxUnderlayMTU)
	if err != nil {
		return fmt.Errorf("%w, or auto", err)
	}
	*m = UnderlayMTU(n)
	return nil
}

// VNI is a VXLAN network identifier.
type VNI uint32

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *VNI) UnmarshalText(text []byte) error {
	n, err := number(text, 1, maxVNI)
	*v = VNI(n)
	return err
}

// Port is a UDP port.
type Port uint16

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Port) UnmarshalText(text []byte) error {
	n, err := number(text, 1, 65535)
	*p = Port(n)
	return err
}

func number(text []byte, least, most int) (int, error) {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%q: want a number from %d to %d", text, least, most)
	}
	return n, nil
}
