// Package config is vtep-registry's command line, parsed into typed values.
package config

import (
	"fmt"
	"io"
	"net/netip"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/shard"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/floating"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
)

// Config is what vtep-registry is told.
type Config struct {
	daemon.Common
	Kubeconfig        string               `help:"Kubeconfig file for the API server. When not given: the pod's service account." env:"KUBECONFIG" placeholder:"FILE"`
	VPCCIDRs          []netaddr.IPv4Prefix `name:"vpc-cidrs" required:"" help:"Networks of the VPC, at most 8: what on-premises nodes are told to send to the gateway." placeholder:"CIDR"`
	PodCIDRs          []netaddr.IPv4Prefix `name:"pod-cidrs" required:"" help:"Pod networks on the premises. A node may claim only what lies inside one of them." placeholder:"CIDR"`
	NodeCIDRs         []netaddr.IPv4Prefix `name:"node-cidrs" required:"" help:"Networks of the nodes on the premises. A node's address must lie inside one of them." placeholder:"CIDR"`
	ServiceCIDRs      []netaddr.IPv4Prefix `name:"service-cidrs" help:"Service networks of the cluster. They may lie inside --pod-cidrs; no node may claim any of them." placeholder:"CIDR"`
	UnderlayCIDRs     []netaddr.IPv4Prefix `name:"underlay-cidrs" help:"Further networks that tunnel packets pass through, such as those of routers and VPN endpoints. They may lie inside --pod-cidrs; no node may claim any of them." placeholder:"CIDR"`
	StateFile         string               `help:"File in which the VTEPs are kept, for a start while the API server is away. It has to outlive the pod and belongs to one gateway. When not given nothing is kept." placeholder:"FILE"`
	VTEPMode          string               `name:"vtep-mode" help:"${enum}: the active gateway's address is written into a CiliumVTEPConfig, or one address that never changes stands in cilium-config." enum:"published,floating" default:"published"`
	FloatingVTEP      netaddr.IPv4Prefix   `name:"floating-vtep" help:"The address that never changes, outside of all other networks, such as 198.18.0.10/32. With --vtep-mode=floating." placeholder:"ADDRESS/32"`
	PrintCiliumConfig bool                 `name:"print-cilium-config" help:"Print what Cilium has to be set to with --vtep-mode=floating, and exit." env:"-"`
	NodeSelector      string               `help:"Label selector of the CiliumNodes that are behind the gateway. Empty selects all." default:"eks.amazonaws.com/compute-type=hybrid" placeholder:"SELECTOR"`
	VTEPConfigName    string               `name:"vtep-config-name" help:"Name of the CiliumVTEPConfig that the active gateway writes. When not given: the one that the served form documents, hybrid-gateway or eks-hybrid-gateway." placeholder:"NAME"`
	EtcdFlags
	Shard string `help:"Leadership shard whose holder is written into the CiliumVTEPConfig." default:"default" placeholder:"NAME"`

	// Want is what cilium-config has to say; in floating mode.
	Want floating.Want `kong:"-"`
}

// Parse reads the command line and the environment; see daemon.ParseFlags.
func Parse(args []string, out io.Writer) (Config, error) {
	var c Config
	err := daemon.ParseFlags(daemon.VtepRegistry, "Tells the gateway which hybrid nodes there are, and Cilium where the active gateway is.", ":9812", &c, args, out)
	return c, err
}

// Validate is called by kong once all flags have their values.
func (c *Config) Validate() error {
	if len(c.VPCCIDRs) > publish.MaxEndpoints {
		return fmt.Errorf("--vpc-cidrs has %d networks: Cilium takes at most %d", len(c.VPCCIDRs), publish.MaxEndpoints)
	}
	type network struct {
		flag   string
		prefix netip.Prefix
	}
	var all []network
	for _, f := range []struct {
		flag     string
		prefixes []netaddr.IPv4Prefix
	}{{"--vpc-cidrs", c.VPCCIDRs}, {"--pod-cidrs", c.PodCIDRs}, {"--node-cidrs", c.NodeCIDRs}} {
		if len(f.prefixes) == 0 {
			return fmt.Errorf("%s is empty: want at least one network such as 10.0.0.0/16", f.flag)
		}
		for _, p := range f.prefixes {
			for _, other := range all {
				if other.prefix.Overlaps(p.Prefix) {
					return fmt.Errorf("%s=%s overlaps %s=%s: want networks that share no address", f.flag, p, other.flag, other.prefix)
				}
			}
			all = append(all, network{f.flag, p.Prefix})
		}
	}
	for _, f := range []struct {
		flag     string
		prefixes []netaddr.IPv4Prefix
	}{{"--service-cidrs", c.ServiceCIDRs}, {"--underlay-cidrs", c.UnderlayCIDRs}} {
		for _, p := range f.prefixes {
			for _, pods := range c.PodCIDRs {
				if netaddr.Contains(p.Prefix, pods.Prefix) {
					return fmt.Errorf("%s=%s leaves nothing of --pod-cidrs=%s: want a network beside it or inside it", f.flag, p, pods)
				}
			}
		}
	}
	if err := c.validateMode(); err != nil {
		return err
	}
	if err := c.validateEtcd(); err != nil {
		return err
	}
	if c.VTEPConfigName != "" && len(validation.IsDNS1123Subdomain(c.VTEPConfigName)) > 0 {
		return fmt.Errorf("--vtep-config-name=%q: want the name of a Kubernetes object, such as hybrid-gateway", c.VTEPConfigName)
	}
	if !shard.IsName(c.Shard) {
		return fmt.Errorf("--shard=%q: want a name, such as default", c.Shard)
	}
	return nil
}

// Floating tells whether the VTEP is an address that never changes.
func (c *Config) Floating() bool { return c.VTEPMode == "floating" }

func (c *Config) validateMode() (err error) {
	switch vtep := c.FloatingVTEP; {
	case !c.Floating() && vtep.IsValid():
		return fmt.Errorf("--floating-vtep=%s is of no use with --vtep-mode=%s: want --vtep-mode=floating", vtep, c.VTEPMode)
	case !c.Floating() && c.PrintCiliumConfig:
		return fmt.Errorf("--print-cilium-config has nothing to print with --vtep-mode=%s: want --vtep-mode=floating", c.VTEPMode)
	case !c.Floating():
		return nil
	case !vtep.IsValid() || vtep.Bits() != 32:
		return fmt.Errorf("--floating-vtep=%q: want one address, such as 198.18.0.10/32, with --vtep-mode=floating", text(vtep))
	}
	for _, f := range []struct {
		flag     string
		prefixes []netaddr.IPv4Prefix
	}{{"--vpc-cidrs", c.VPCCIDRs}, {"--pod-cidrs", c.PodCIDRs}, {"--node-cidrs", c.NodeCIDRs}, {"--service-cidrs", c.ServiceCIDRs}} {
		for _, p := range f.prefixes {
			if p.Overlaps(c.FloatingVTEP.Prefix) {
				return fmt.Errorf("--floating-vtep=%s lies within %s=%s: want an address outside of all networks", c.FloatingVTEP, f.flag, p)
			}
		}
	}
	if c.Want, err = floating.For(c.FloatingVTEP.Addr(), netaddr.Prefixes(c.VPCCIDRs)); err != nil {
		return fmt.Errorf("--vpc-cidrs: %w", err)
	}
	return nil
}

// text is the flag's value; empty when it was not given.
func text(p netaddr.IPv4Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}
