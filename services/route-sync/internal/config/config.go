// Package config is route-sync's command line, parsed into typed values.
package config

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"time"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/netaddr"
)

// Bounds of what the flags accept.
const (
	minInterval = time.Second
	maxInterval = 5 * time.Minute
	// minPodBits keeps a slip from sending most of the VPC's traffic to the gateway.
	minPodBits = 8
)

// Config is what route-sync is told.
type Config struct {
	daemon.Common
	RouteTables       []RouteTable  `name:"route-tables" required:"" help:"Route tables of the VPC whose traffic to the pod networks goes through the gateway." placeholder:"rtb-ID"`
	PodCIDRs          []PodCIDR     `name:"pod-cidrs" required:"" help:"Pod networks on the premises: the destinations of the routes. Fewer and larger ones make a faster takeover." placeholder:"CIDR"`
	ENI               Interface     `name:"eni" help:"This gateway's network interface, the target of the routes. When not given: the primary interface of the instance, from the instance metadata service." placeholder:"eni-ID"`
	Region            string        `help:"AWS region of the route tables. When not given: what the AWS SDK finds (AWS_REGION, profile), else the instance metadata service." placeholder:"NAME"`
	Zone              string        `help:"Availability zone of this gateway. When not given: from the instance metadata service." placeholder:"NAME"`
	GatewayENIs       []Interface   `name:"gateway-enis" help:"Further network interfaces that are gateways', so that routes to them may be replaced. Not needed for those tagged eks-hybrid-nodes-gateway=true, nor for gateways that hold the record while this one runs." placeholder:"eni-ID"`
	ReconcileInterval time.Duration `help:"Time between two reads of the route tables; drift is repaired within it. From 1s to 5m." default:"10s" placeholder:"DURATION"`
	Shard             string        `help:"Leadership shard that the route tables belong to." default:"default" placeholder:"NAME"`
}

// Parse reads the command line and the environment; see daemon.ParseFlags.
func Parse(args []string, out io.Writer) (Config, error) {
	var c Config
	err := daemon.ParseFlags(daemon.RouteSync, "Points the VPC's routes to the pod networks at the active gateway, and keeps them there.", ":9814", &c, args, out)
	return c, err
}

// Validate is called by kong once all flags have their values.
func (c *Config) Validate() error {
	if c.ReconcileInterval < minInterval || c.ReconcileInterval > maxInterval {
		return fmt.Errorf("--reconcile-interval=%s: want a duration from %s to %s", c.ReconcileInterval, minInterval, maxInterval)
	}
	if c.Shard == "" {
		return fmt.Errorf("--shard=%q: want a name, such as default", c.Shard)
	}
	if len(c.RouteTables) == 0 {
		return errors.New("--route-tables is empty: want the id of at least one route table, such as rtb-0123456789abcdef0")
	}
	if len(c.PodCIDRs) == 0 {
		return errors.New("--pod-cidrs is empty: want at least one pod network, such as 100.64.0.0/16")
	}
	if t, twice := repeated(c.RouteTables); twice {
		return fmt.Errorf("--route-tables names %s twice: want each table once", t)
	}
	if p, twice := repeated(c.PodCIDRs); twice {
		return fmt.Errorf("--pod-cidrs names %s twice: want each network once", p)
	}
	return nil
}

func repeated[T comparable](values []T) (T, bool) {
	seen := make(map[T]bool)
	for _, v := range values {
		if seen[v] {
			return v, true
		}
		seen[v] = true
	}
	var none T
	return none, false
}

// Tables are the ids of the route tables.
func (c *Config) Tables() []string { return texts(c.RouteTables) }

// Gateways are the ids of the interfaces that are known to be gateways'.
func (c *Config) Gateways() []string { return texts(c.GatewayENIs) }

// Destinations are the pod networks.
func (c *Config) Destinations() []netip.Prefix {
	prefixes := make([]netip.Prefix, len(c.PodCIDRs))
	for i, p := range c.PodCIDRs {
		prefixes[i] = p.Prefix
	}
	return prefixes
}

func texts[T ~string](values []T) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return texts
}

// RouteTable is the id of a route table.
type RouteTable string

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *RouteTable) UnmarshalText(text []byte) error {
	*t = RouteTable(text)
	return checkID("rtb-", "the id of a route table such as rtb-0123456789abcdef0", text)
}

// Interface is the id of a network interface. The zero Interface is "not given".
type Interface string

// UnmarshalText implements encoding.TextUnmarshaler.
func (i *Interface) UnmarshalText(text []byte) error {
	*i = Interface(text)
	return checkID("eni-", "the id of a network interface such as eni-0123456789abcdef0", text)
}

func checkID(prefix, want string, text []byte) error {
	if !regexp.MustCompile("^" + prefix + "[a-z0-9-]{1,40}$").Match(text) {
		return fmt.Errorf("%q: want %s", text, want)
	}
	return nil
}

// PodCIDR is a pod network.
type PodCIDR struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *PodCIDR) UnmarshalText(text []byte) (err error) {
	if p.Prefix, err = netaddr.ParseIPv4Prefix(string(text)); err != nil {
		return err
	}
	if p.Bits() < minPodBits {
		return fmt.Errorf("%q is too wide: want a network of pods, /%d or longer", text, minPodBits)
	}
	return nil
}
