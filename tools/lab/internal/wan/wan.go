// Package wan is the network between the VPC and the on-premises nodes: one
// namespace that routes between the link to the fabric and one link per node.
// It can be made small, lossy, slow and partitioned.
package wan

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/nft"
)

const (
	// VPCDevice is the WAN's end of the link to the fabric.
	VPCDevice = "vpc0"

	hostDevice = "eth0" // a node's end of its link

	counterLost = "lost"
	counterCut  = "cut"
	lossChain   = "loss"
)

var cutSet = nft.Pairs("cuts")

// Config is what a WAN is made of.
type Config struct {
	Host   *netns.Host  // the WAN's own namespace
	OnPrem netip.Prefix // network of the on-premises nodes
	Router netip.Addr   // their default route
	Log    *slog.Logger
}

// WAN is the network between VPC and nodes. Its methods may be called from any
// goroutine.
type WAN struct {
	config Config
	filter *nft.Table

	mu    sync.Mutex
	relay *relay // nil: no delay
}

// New prepares the WAN's namespace, without any link.
func New(c Config) (*WAN, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &WAN{config: c, filter: nft.NewTable(c.Host, nftables.TableFamilyIPv4, "wan")}
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
	if err := c.Host.AddAddr("lo", netip.PrefixFrom(c.Router, 32)); err != nil {
		return nil, err
	}
	// A node that is not there is nowhere.
	if err := c.Host.Netlink().RouteReplace(&netlink.Route{
		Dst: netns.IPNet(c.OnPrem), Type: unix.RTN_BLACKHOLE,
	}); err != nil {
		return nil, fmt.Errorf("close network %s in %s: %w", c.OnPrem, c.Host.Name(), err)
	}
	err := w.filter.Commit(func(b *nft.Batch) {
		b.Counter(counterLost)
		b.Counter(counterCut)
		b.AddSet(cutSet)
		b.Chain("forward", &nft.Hook{Hook: nftables.ChainHookForward, Priority: *nftables.ChainPriorityFilter})
		b.Chain(lossChain, nil)
		b.Rule("forward", nft.PairAmong(nft.Src, nft.Dst, cutSet), nft.Count(counterCut), nft.Drop)
		// With delay, a packet passes twice; it may be lost once.
		b.Rule("forward", nft.In(relayDevice), nft.Accept)
		b.Rule("forward", nft.Jump(lossChain))
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

func portName(node string) string { return "n-" + node }

// Attach links a node to the WAN as its eth0 with an address of the
// on-premises network. The name is short: it names the port.
func (w *WAN) Attach(name string, h *netns.Host, addr netip.Addr) error {
	port := portName(name)
	wh := w.config.Host
	if err := netns.Connect(netns.End{Host: wh, Name: port}, netns.End{Host: h, Name: hostDevice}); err != nil {
		return err
	}
	if err := wh.Sysctl("ipv4/neigh/"+port+"/proxy_delay", "0"); err != nil {
		return err
	}
	mac, err := h.MAC(hostDevice)
	if err != nil {
		return err
	}
	if err := wh.SetNeighbour(port, addr, mac); err != nil {
		return err
	}
	if err := wh.SetRoute(netip.PrefixFrom(addr, 32), netip.Addr{}, port); err != nil {
		return err
	}
	if err := h.AddAddr(hostDevice, netip.PrefixFrom(addr, w.config.OnPrem.Bits())); err != nil {
		return err
	}
	return h.SetRoute(netip.PrefixFrom(netip.IPv4Unspecified(), 0), w.config.Router, hostDevice)
}

// Detach removes the link of a node; what is sent to it now has no route.
func (w *WAN) Detach(name string) error {
	l, err := w.config.Host.Link(portName(name))
	if err != nil {
		return err
	}
	if err := w.config.Host.Netlink().LinkDel(l); err != nil {
		return fmt.Errorf("delete device %s of %s: %w", l.Attrs().Name, w.config.Host.Name(), err)
	}
	return nil
}

// Pair is a direction between two addresses.
type Pair struct{ From, To netip.Addr }

// SetCuts makes the WAN drop, silently, what goes from one address to another;
// it replaces all earlier cuts.
func (w *WAN) SetCuts(cuts []Pair) error {
	return w.filter.Commit(func(b *nft.Batch) {
		var elements []nftables.SetElement
		for _, c := range cuts {
			elements = append(elements, nft.Pair(c.From, c.To))
		}
		b.SetElements(cutSet, elements...)
	})
}

// SetLoss makes the WAN lose a random share (0 to 1) of packets, in each
// direction.
func (w *WAN) SetLoss(share float64) error {
	if share < 0 || share > 1 {
		return fmt.Errorf("loss %v: must be within 0 and 1", share)
	}
	return w.filter.Commit(func(b *nft.Batch) {
		b.FlushChain(lossChain)
		if share > 0 {
			b.Rule(lossChain, nft.Share(share), nft.Count(counterLost), nft.Drop)
		}
	})
}

// SetMTU sets the MTU of the link between fabric and WAN, in bytes. Routers at
// both ends answer packets that are too big and must not be fragmented.
func (w *WAN) SetMTU(fabric *netns.Host, fabricDevice string, mtu int) error {
	if err := w.config.Host.SetMTU(VPCDevice, mtu); err != nil {
		return err
	}
	return fabric.SetMTU(fabricDevice, mtu)
}

// SetDelay makes every packet between VPC and nodes take longer by d, in each
// direction. Zero takes the delay out of the path, and drops what is under way.
func (w *WAN) SetDelay(d time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case d < 0:
		return fmt.Errorf("delay %v: must not be negative", d)
	case d == 0 && w.relay == nil:
		return nil
	case d == 0:
		err := w.relay.stop()
		w.relay = nil
		return err
	case w.relay != nil:
		w.relay.setDelay(d)
		return nil
	}
	r, err := startRelay(w.config, d)
	if err != nil {
		return err
	}
	w.relay = r
	return nil
}

// Close ends the delay, if there is one. The namespace is the caller's.
func (w *WAN) Close() error { return w.SetDelay(0) }

// Drops counts packets the WAN has dropped for a reason, since it was made.
type Drops struct {
	Lost uint64 // by SetLoss
	Cut  uint64 // by SetCuts
}

// Drops reads the counters.
func (w *WAN) Drops() (Drops, error) {
	counts, err := w.filter.Counters()
	if err != nil {
		return Drops{}, err
	}
	return Drops{Lost: counts[counterLost], Cut: counts[counterCut]}, nil
}
