// Package config is route-sync's command line, parsed into typed values.
package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// Bounds of what the flags accept.
const (
	minInterval = time.Second
	maxInterval = 5 * time.Minute
	// minPodBits keeps a slip from sending most of the VPC's traffic to the gateway.
	minPodBits  = 8
	minPodBits6 = 16
	// maxListName and maxEntries are EC2's limits for a prefix list.
	maxListName = 250
	maxEntries  = 1000
)

// remove is a value of --on-last-exit.
const remove = "remove"

// Config is what route-sync is told.
type Config struct {
	daemon.Common
	RouteTables       []RouteTable  `name:"route-tables" required:"" help:"Route tables of the VPC whose traffic to the pod networks goes through the gateway. Each belongs to the shard of the leadership that is named before it, or else to that of --shard." placeholder:"[SHARD=]rtb-ID"`
	PodCIDRs          []PodCIDR     `name:"pod-cidrs" required:"" help:"Pod networks on the premises: the destinations of the routes. Fewer and larger ones make a faster takeover." placeholder:"CIDR"`
	ENI               Interface     `name:"eni" help:"This gateway's network interface, the target of the routes. When not given: the primary interface of the instance, from the instance metadata service." placeholder:"eni-ID"`
	Region            string        `help:"AWS region of the route tables. When not given: what the AWS SDK finds (AWS_REGION, profile), else the instance metadata service." placeholder:"NAME"`
	Zone              string        `help:"Availability zone of this gateway. When not given: from the instance metadata service." placeholder:"NAME"`
	GatewayENIs       []Interface   `name:"gateway-enis" help:"Further network interfaces that are gateways', so that routes to them may be replaced. Not needed for those tagged eks-hybrid-nodes-gateway=true, nor for gateways that hold the record while this one runs." placeholder:"eni-ID"`
	ReconcileInterval time.Duration `help:"Time between two reads of the route tables; drift is repaired within it, or within twice as long after many takeovers in a row. From 1s to 5m." default:"10s" placeholder:"DURATION"`
	Shard             string        `help:"Leadership shard of the route tables that name none." default:"default" placeholder:"NAME"`

	PrefixLists      []PrefixList `name:"prefix-list" help:"Managed prefix lists with the pod networks, kept by you: each table gets one route to each list instead of one per network. A network that no list contains gets a route of its own." placeholder:"pl-ID"`
	ManagePrefixList bool         `help:"Make a prefix list with the pod networks, one per address family, and keep it in step: a takeover is one call per table then."`
	PrefixListName   string       `help:"Name of the prefix list of --manage-prefix-list, to which -ipv4 or -ipv6 is appended. Default: eks-hybrid-gateway-SHARD- and a hash of the shard's --route-tables. Set it when two installations share all their tables." placeholder:"NAME"`

	FloatingVTEP   Floating     `name:"floating-vtep" help:"Address outside of the VPC, as a /32, that every gateway carries as its VTEP: it is routed to the active gateway as well." placeholder:"ADDR/32"`
	FloatingTables []RouteTable `name:"floating-vtep-route-tables" help:"Route tables of --floating-vtep: those through which packets from the premises enter the VPC. Default: --route-tables." placeholder:"[SHARD=]rtb-ID"`

	AdoptRoutes           bool   `help:"Take over routes to exactly a pod network that point to something that is not a gateway."`
	ManageSourceDestCheck bool   `help:"Switch the source/destination check of this gateway's interface off when this gateway leads."`
	OnLastExit            string `help:"What to do with routes and prefix lists of the gateways' own when this gateway is stopped and election says that it is the last: remove or keep." default:"remove" enum:"remove,keep" placeholder:"WHAT"`

	WriteBurst int     `name:"write-burst" help:"Calls to EC2 that may change something at once, as many as the account's token bucket holds. 0 for no limit." default:"50" placeholder:"CALLS"`
	WriteRate  float64 `name:"write-rate" help:"Such calls per second that the bucket gains." default:"5" placeholder:"CALLS"`
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
	if len(c.RouteTables) == 0 {
		return errors.New("--route-tables is empty: want the id of at least one route table, such as rtb-0123456789abcdef0")
	}
	if len(c.PodCIDRs) == 0 {
		return errors.New("--pod-cidrs is empty: want at least one pod network, such as 100.64.0.0/16")
	}
	if t, twice := repeated(ids(c.RouteTables)); twice {
		return fmt.Errorf("--route-tables names %s twice: want each table once", t)
	}
	if p, twice := repeated(c.PodCIDRs); twice {
		return fmt.Errorf("--pod-cidrs names %s twice: want each network once", p)
	}
	return errors.Join(c.validateShards(), c.validateLists(), c.validateFloating(), c.validateBucket())
}

func (c *Config) validateLists() error {
	switch p, twice := repeated(c.PrefixLists); {
	case twice:
		return fmt.Errorf("--prefix-list names %s twice: want each list once", p)
	case len(c.PrefixLists) > 0 && c.ManagePrefixList:
		return errors.New("--prefix-list and --manage-prefix-list exclude each other: want lists of your own or a managed one")
	case c.PrefixListName != "" && !c.ManagePrefixList:
		return errors.New("--prefix-list-name is the name for --manage-prefix-list: want both or none")
	case len(c.PrefixListName) > maxListName || strings.HasPrefix(c.PrefixListName, "com.amazonaws"):
		return fmt.Errorf("--prefix-list-name=%q: want at most %d characters, and not com.amazonaws at the beginning", c.PrefixListName, maxListName)
	case c.ManagePrefixList && len(c.PodCIDRs) > maxEntries:
		return fmt.Errorf("--pod-cidrs names %d networks: want at most %d with --manage-prefix-list, as many as a list can take", len(c.PodCIDRs), maxEntries)
	}
	return nil
}

func (c *Config) validateFloating() error {
	t, twice := repeated(ids(c.FloatingTables))
	switch {
	case twice:
		return fmt.Errorf("--floating-vtep-route-tables names %s twice: want each table once", t)
	case len(c.FloatingTables) > 0 && !c.FloatingVTEP.IsValid():
		return errors.New("--floating-vtep-route-tables are the tables of --floating-vtep: want both or none")
	}
	for _, p := range c.PodCIDRs {
		if c.FloatingVTEP.IsValid() && p.Overlaps(c.FloatingVTEP.Prefix) {
			return fmt.Errorf("--floating-vtep=%s lies within --pod-cidrs=%s: want an address outside of the pod networks", c.FloatingVTEP, p)
		}
	}
	return nil
}

func (c *Config) validateBucket() error {
	switch {
	case c.WriteBurst < 0:
		return fmt.Errorf("--write-burst=%d: want a number of calls, or 0 for no limit", c.WriteBurst)
	case c.WriteBurst > 0 && c.WriteRate <= 0:
		return fmt.Errorf("--write-rate=%g: want more than 0 calls per second", c.WriteRate)
	}
	return nil
}

// Plan is what a plan for all tables together needs to know, but for what is found out about this gateway.
func (c *Config) Plan() plan.Config {
	p := plan.Config{
		Shard:        c.Shard,
		Tables:       ids(c.RouteTables),
		Destinations: c.destinations(),
		Lists:        plan.Lists{IDs: texts(c.PrefixLists), Former: c.defaultListName()},
		Gateways:     texts(c.GatewayENIs),
		Adopt:        c.AdoptRoutes,
		RemoveLast:   c.OnLastExit == remove,
		ManageCheck:  c.ManageSourceDestCheck,
		Interval:     c.ReconcileInterval,
		Bucket:       plan.Bucket{Burst: float64(c.WriteBurst), PerSecond: c.WriteRate},
	}
	if c.ManagePrefixList {
		p.Lists.Managed = cmp.Or(c.PrefixListName, c.defaultListName())
	}
	if c.FloatingVTEP.IsValid() {
		p.Floating, p.FloatingTables = c.FloatingVTEP.Prefix, ids(c.FloatingTables)
		if len(p.FloatingTables) == 0 {
			p.FloatingTables = p.Tables
		}
	}
	return p
}

// defaultListName tells installations apart that look after different tables.
func (c *Config) defaultListName() string {
	tables := ids(c.RouteTables)
	slices.Sort(tables)
	sum := sha256.Sum256([]byte(strings.Join(tables, ",")))
	return "eks-hybrid-gateway-" + c.Shard + "-" + hex.EncodeToString(sum[:4])
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

// destinations are the pod networks.
func (c *Config) destinations() []netip.Prefix {
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

// PrefixList is the id of a managed prefix list.
type PrefixList string

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *PrefixList) UnmarshalText(text []byte) error {
	*l = PrefixList(text)
	return checkID("pl-", "the id of a managed prefix list such as pl-0123456789abcdef0", text)
}

// PodCIDR is a pod network, IPv4 or IPv6.
type PodCIDR struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *PodCIDR) UnmarshalText(text []byte) (err error) {
	least := minPodBits
	if strings.Contains(string(text), ":") {
		least = minPodBits6
		p.Prefix, err = parseIPv6(string(text))
	} else {
		p.Prefix, err = netaddr.ParseIPv4Prefix(string(text))
	}
	if err != nil {
		return err
	}
	if p.Bits() < least {
		return fmt.Errorf("%q is too wide: want a network of pods, /%d or longer", text, least)
	}
	return nil
}

func parseIPv6(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is not an IPv6 CIDR such as fd00:10::/56", text)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits set below its mask: write %s", text, p.Masked())
	}
	return p, nil
}

// Floating is the address of a floating VTEP. The zero Floating is "not given".
type Floating struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *Floating) UnmarshalText(text []byte) (err error) {
	if f.Prefix, err = netaddr.ParseIPv4Prefix(string(text)); err != nil {
		return err
	}
	if !f.IsSingleIP() {
		return fmt.Errorf("%q: want one address, such as 198.18.0.10/32", text)
	}
	return nil
}
