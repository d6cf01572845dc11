package fabric

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/nft"
)

// The ends of the link between fabric and WAN.
var (
	wanLinkFabric = netip.MustParsePrefix("169.254.100.1/30")
	wanLinkWAN    = netip.MustParsePrefix("169.254.100.2/30")
)

// Kernel numbers. The lookups of a port's table come before the fabric's own.
const (
	firstTable   = 1000
	rulePriority = 100
)

// Names of counters and sets in the packet filter.
const (
	counterPods  = "pods-on-wan"
	counterCut   = "cut"
	counterDead  = "dead"
	counterIn    = "tunnel-in"
	counterOut   = "tunnel-out"
	checkCounter = "check-" // followed by the port
)

// tunnelPort is the UDP port of Cilium's VXLAN.
const tunnelPort = 8472

var (
	podSet     = nft.Prefixes("pods")
	cutSet     = nft.Pairs("cuts")
	checkedSet = nft.Devices("checked")
	deadSet    = nft.Devices("dead")
)

// Config is what a fabric is made of.
type Config struct {
	Host         *netns.Host    // the fabric's own namespace
	Routers      []netip.Addr   // addresses of the VPC router, one per subnet
	OnPrem       []netip.Prefix // networks behind the WAN
	PodNetworks  []netip.Prefix // addresses that must not cross the WAN leg
	IngressTable string         // see Topology
	MTU          int            // of the links to VPC hosts, bytes; 0: 1500
	Log          *slog.Logger
}

// Fabric forwards between VPC hosts and the WAN. Its methods may be called
// from any goroutine.
type Fabric struct {
	config Config
	filter *nft.Table

	mu       sync.Mutex
	snapshot ec2standin.Snapshot
	ports    []Port
	wan      bool
	numbers  map[string]int  // kernel number of each routing table
	indexes  map[string]int  // kernel number of each device
	silent   map[string]bool // ports that are dead, see Silence
	have     Programme
	failed   error // of the last update
}

// New prepares the fabric's namespace: router addresses, forwarding and packet
// filter, but no link yet.
func New(c Config) (*Fabric, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	f := &Fabric{
		config:  c,
		filter:  nft.NewTable(c.Host, nftables.TableFamilyIPv4, "fabric"),
		numbers: map[string]int{},
		indexes: map[string]int{},
		silent:  map[string]bool{},
		have:    Programme{Routes: map[RouteKey]Hop{}, Rules: map[string]string{}, Checked: map[string]bool{}},
	}
	if err := c.Host.Quiet(); err != nil {
		return nil, err
	}
	for _, s := range [][2]string{
		{"ipv4/ip_forward", "1"},
		{"ipv4/conf/default/proxy_arp", "1"},
		{"ipv4/icmp_ratelimit", "0"},
	} {
		if err := c.Host.Sysctl(s[0], s[1]); err != nil {
			return nil, err
		}
	}
	for _, r := range c.Routers {
		if err := c.Host.AddAddr("lo", host(r)); err != nil {
			return nil, err
		}
	}
	if err := f.setUpFilter(); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *Fabric) setUpFilter() error {
	return f.filter.Commit(func(b *nft.Batch) {
		b.Counter(counterPods)
		b.Counter(counterCut)
		b.AddSet(podSet, nft.Ranges(f.config.PodNetworks)...)
		b.AddSet(cutSet)
		b.Counter(counterDead)
		b.Counter(counterIn)
		b.Counter(counterOut)
		b.AddSet(checkedSet)
		b.AddSet(deadSet)

		// What comes from the WAN is judged before routing, so that it is
		// counted even if no route exists.
		b.Chain("arrival", &nft.Hook{Hook: nftables.ChainHookPrerouting, Priority: *nftables.ChainPriorityRaw})
		for _, field := range []nft.Field{nft.Src, nft.Dst} {
			b.Rule("arrival", nft.In(WANPort), nft.Among(field, podSet), nft.Count(counterPods), nft.Drop)
		}

		b.Chain("forward", &nft.Hook{Hook: nftables.ChainHookForward, Priority: *nftables.ChainPriorityFilter})
		b.Chain("check", nil)
		b.Rule("forward", nft.InAmong(deadSet), nft.Count(counterDead), nft.Drop)
		b.Rule("forward", nft.OutAmong(deadSet), nft.Count(counterDead), nft.Drop)
		b.Rule("forward", nft.PairAmong(nft.Src, nft.Dst, cutSet), nft.Count(counterCut), nft.Drop)
		for _, field := range []nft.Field{nft.Src, nft.Dst} {
			b.Rule("forward", nft.Out(WANPort), nft.Among(field, podSet), nft.Count(counterPods), nft.Drop)
		}
		b.Rule("forward", nft.InAmong(checkedSet), nft.Jump("check"))
		b.Rule("forward", nft.OutAmong(checkedSet), nft.Jump("check"))
		b.Rule("forward", nft.In(WANPort), nft.UDPTo(tunnelPort), nft.Count(counterIn))
		b.Rule("forward", nft.Out(WANPort), nft.UDPTo(tunnelPort), nft.Count(counterOut))
	})
}

// Guest is a VPC host about to be attached.
type Guest struct {
	Name   string // short: it names the port
	Host   *netns.Host
	Device string         // what it calls its end of the link
	Addr   netip.Prefix   // its address, with the length of its subnet
	Router netip.Addr     // the VPC router
	Routes []netip.Prefix // what it sends there
}

// PortName is the name of the fabric's end of the link to a host.
func PortName(name string) string { return "v-" + name }

// Attach links a host to the fabric. The host's neighbour entry is
// permanent: a host that does not answer makes packets vanish, as in a VPC,
// and yields no ICMP error.
func (f *Fabric) Attach(g Guest) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	port := PortName(g.Name)
	fh := f.config.Host
	if err := netns.Connect(
		netns.End{Host: fh, Name: port, MTU: f.config.MTU},
		netns.End{Host: g.Host, Name: g.Device, MTU: f.config.MTU},
	); err != nil {
		return err
	}
	if err := fh.Sysctl("ipv4/neigh/"+port+"/proxy_delay", "0"); err != nil {
		return err
	}
	mac, err := g.Host.MAC(g.Device)
	if err != nil {
		return err
	}
	if err := fh.SetNeighbour(port, g.Addr.Addr(), mac); err != nil {
		return err
	}
	if err := g.Host.AddAddr(g.Device, g.Addr); err != nil {
		return err
	}
	for _, dst := range g.Routes {
		if err := g.Host.SetRoute(dst, g.Router, g.Device); err != nil {
			return err
		}
	}
	counter := checkCounter + port
	if err := f.filter.Commit(func(b *nft.Batch) {
		b.Counter(counter)
		b.Rule("check", nft.In(port), nft.InAmong(checkedSet), nft.IsNot(nft.Src, g.Addr.Addr()), nft.Count(counter), nft.Drop)
		b.Rule("check", nft.Out(port), nft.OutAmong(checkedSet), nft.IsNot(nft.Dst, g.Addr.Addr()), nft.Count(counter), nft.Drop)
	}); err != nil {
		return err
	}
	f.ports = append(f.ports, Port{Name: port, Addr: g.Addr.Addr()})
	return f.programme()
}

// AttachWAN links the WAN's namespace to the fabric; the WAN's end is device,
// and routes to the VPC over it. The MTU is in bytes.
func (f *Fabric) AttachWAN(wan *netns.Host, device string, vpc []netip.Prefix, mtu int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fh := f.config.Host
	ends := []netns.End{{Host: fh, Name: WANPort, MTU: mtu}, {Host: wan, Name: device, MTU: mtu}}
	if err := netns.Connect(ends[0], ends[1]); err != nil {
		return err
	}
	if err := fh.Sysctl("ipv4/conf/"+WANPort+"/proxy_arp", "0"); err != nil {
		return err
	}
	addrs := []netip.Prefix{wanLinkFabric, wanLinkWAN}
	for i, e := range ends {
		other := ends[1-i]
		mac, err := other.Host.MAC(other.Name)
		if err != nil {
			return err
		}
		if err := e.Host.AddAddr(e.Name, addrs[i]); err != nil {
			return err
		}
		if err := e.Host.SetNeighbour(e.Name, addrs[1-i].Addr(), mac); err != nil {
			return err
		}
	}
	for _, p := range vpc {
		if err := wan.SetRoute(p, wanLinkFabric.Addr(), device); err != nil {
			return err
		}
	}
	f.wan = true
	return f.programme()
}

// Update makes the kernel follow a new state of the stand-in. It takes as long
// as a few netlink calls. Operations that fail do not stop the others, and are
// tried again by the next update.
func (f *Fabric) Update(s ec2standin.Snapshot) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.snapshot = s
	return f.programme()
}

// Err is the outcome of the last update.
func (f *Fabric) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// Programme is what the kernel holds now.
func (f *Fabric) Programme() Programme {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have.clone()
}

func (f *Fabric) programme() error {
	want := Desired(f.snapshot, Topology{
		Ports: f.ports, OnPrem: f.config.OnPrem, IngressTable: f.config.IngressTable,
	})
	if !f.wan {
		want = want.withoutWAN()
	}
	var errs []error
	for _, op := range Plan(want, f.have) {
		if err := f.carryOut(op); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", op, err))
			continue
		}
		f.have.Apply(op)
		f.config.Log.Debug("fabric reprogrammed", "op", op, "revision", f.snapshot.Revision)
	}
	f.failed = errors.Join(errs...)
	if f.failed != nil {
		f.config.Log.Error("fabric not reprogrammed", "error", f.failed)
	}
	return f.failed
}

func (f *Fabric) carryOut(op Op) error {
	switch op.Kind {
	case OpSetRoute:
		r, err := f.kernelRoute(op.Route, op.Hop)
		if err != nil {
			return err
		}
		return f.config.Host.Netlink().RouteReplace(r)
	case OpDelRoute:
		return f.config.Host.Netlink().RouteDel(f.bareRoute(op.Route))
	case OpAddRule:
		return f.config.Host.Netlink().RuleAdd(f.kernelRule(op))
	case OpDelRule:
		return f.config.Host.Netlink().RuleDel(f.kernelRule(op))
	case OpCheck:
		return f.filter.Commit(func(b *nft.Batch) { b.Insert(checkedSet, nft.Device(op.Port)) })
	default:
		return f.filter.Commit(func(b *nft.Batch) { b.Remove(checkedSet, nft.Device(op.Port)) })
	}
}

// bareRoute identifies a route in the kernel.
func (f *Fabric) bareRoute(k RouteKey) *netlink.Route {
	return &netlink.Route{Dst: netns.IPNet(k.Dst), Table: f.number(k.Table)}
}

func (f *Fabric) kernelRoute(k RouteKey, hop Hop) (*netlink.Route, error) {
	r := f.bareRoute(k)
	device := hop.Port
	switch hop.Kind {
	case HopDrop:
		r.Type = unix.RTN_BLACKHOLE
		return r, nil
	case HopLocal:
		r.Scope = netlink.SCOPE_LINK
	case HopVia:
		i := slices.IndexFunc(f.ports, func(p Port) bool { return p.Name == hop.Port })
		if i < 0 {
			return nil, fmt.Errorf("no port %s", hop.Port)
		}
		r.Gw, r.Flags = f.ports[i].Addr.AsSlice(), int(netlink.FLAG_ONLINK)
	case HopWAN:
		device = WANPort
		r.Gw, r.Flags = wanLinkWAN.Addr().AsSlice(), int(netlink.FLAG_ONLINK)
	}
	var err error
	r.LinkIndex, err = f.index(device)
	return r, err
}

// index looks up a device's number; it does not change while the device lives.
func (f *Fabric) index(device string) (int, error) {
	if i, ok := f.indexes[device]; ok {
		return i, nil
	}
	l, err := f.config.Host.Link(device)
	if err != nil {
		return 0, err
	}
	f.indexes[device] = l.Attrs().Index
	return l.Attrs().Index, nil
}

func (f *Fabric) kernelRule(op Op) *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Priority = netlink.FAMILY_V4, rulePriority
	r.IifName, r.Table = op.Port, f.number(op.Table)
	return r
}

// number gives a routing table its kernel number, for good.
func (f *Fabric) number(table string) int {
	if table == TableOwn {
		return unix.RT_TABLE_MAIN
	}
	n, ok := f.numbers[table]
	if !ok {
		n = firstTable + len(f.numbers)
		f.numbers[table] = n
	}
	return n
}

// Pair is a direction between two addresses.
type Pair struct{ From, To netip.Addr }

// SetCuts makes the fabric drop, silently, what goes from one address to
// another; it replaces all earlier cuts.
func (f *Fabric) SetCuts(cuts []Pair) error {
	return f.filter.Commit(func(b *nft.Batch) {
		var elements []nftables.SetElement
		for _, c := range cuts {
			elements = append(elements, nft.Pair(c.From, c.To))
		}
		b.SetElements(cutSet, elements...)
	})
}

// Silence makes everything vanish that a guest sends or is sent over the port of a name,
// while its link stays up; or ends that. Repeating it changes nothing.
func (f *Fabric) Silence(guest string, silent bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	port := PortName(guest)
	if f.silent[port] == silent {
		return nil
	}
	if err := f.filter.Commit(func(b *nft.Batch) {
		if silent {
			b.Insert(deadSet, nft.Device(port))
		} else {
			b.Remove(deadSet, nft.Device(port))
		}
	}); err != nil {
		return err
	}
	f.silent[port] = silent
	return nil
}

// Tunnelled counts the VXLAN packets that have crossed between the WAN and the VPC, either way.
type Tunnelled struct{ In, Out uint64 }

// Tunnelled reads the counters.
func (f *Fabric) Tunnelled() (Tunnelled, error) {
	counts, err := f.filter.Counters()
	return Tunnelled{In: counts[counterIn], Out: counts[counterOut]}, err
}

// Drops counts packets the fabric has dropped for a reason, since it was made.
type Drops struct {
	PodAddresses uint64            // pod addresses on the WAN leg
	Cut          uint64            // partitions
	Check        map[string]uint64 // source/destination check, by port
}

// Drops reads the counters.
func (f *Fabric) Drops() (Drops, error) {
	counts, err := f.filter.Counters()
	if err != nil {
		return Drops{}, err
	}
	d := Drops{PodAddresses: counts[counterPods], Cut: counts[counterCut], Check: map[string]uint64{}}
	for name, n := range counts {
		if len(name) > len(checkCounter) && name[:len(checkCounter)] == checkCounter {
			d.Check[name[len(checkCounter):]] = n
		}
	}
	return d, nil
}
