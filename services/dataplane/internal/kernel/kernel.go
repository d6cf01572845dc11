package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// Config says which device is looked after.
type Config struct {
	Device string
	Node   netip.Addr // the node's own address; its interface is the underlay's
	Local  netip.Addr // outer source address
	Guard  plan.GuardRules
}

// Kernel is the network of one namespace. Its methods may be called from several goroutines.
type Kernel struct {
	config Config
	mu     sync.Mutex // guards the connections
	closed bool
	conn   *conn
	guard  *guard
	// The settings that netlink cannot change.
	forwarding, forwardPMTU sysctl
}

// Open connects to the network namespace of the calling thread.
func Open(c Config) (*Kernel, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	return &Kernel{config: c, conn: conn, guard: openGuard(c.Guard, c.Device),
		forwarding: openSysctl("net/ipv4/ip_forward"), forwardPMTU: openSysctl("net/ipv4/ip_forward_use_pmtu")}, nil
}

// Close closes the connection. What was programmed stays.
func (k *Kernel) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	k.closed = true
	k.conn.close()
	k.guard.close()
	k.forwarding.close()
	k.forwardPMTU.close()
}

// ErrNoDefaultRoute says that the host's address cannot be guessed.
var ErrNoDefaultRoute = errors.New("there is no default route with an address on its interface")

// DefaultAddress is the IPv4 address of the interface with the default route, in the network namespace of the calling
// thread: the route's preferred source, else the interface's first address.
func DefaultAddress() (netip.Addr, error) {
	k, err := Open(Config{})
	if err != nil {
		return netip.Addr{}, err
	}
	defer k.Close()
	links, err := k.dumpLinks()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list the interfaces: %w", err)
	}
	var a plan.Actual
	if err := k.dumpRoutes(&a, links); err != nil {
		return netip.Addr{}, fmt.Errorf("list the routes: %w", err)
	}
	best, ok := defaultRoute(a.Routes)
	if !ok {
		return netip.Addr{}, ErrNoDefaultRoute
	}
	if best.Src.IsValid() {
		return best.Src, nil
	}
	var found netip.Addr
	err = k.conn.get(dumpAddresses, func() { found = netip.Addr{} }, func(_ uint16, body []byte) error {
		a, err := parseAddress(body)
		if err == nil && !found.IsValid() && links[a.index].plan.Name == best.Dev {
			found = a.addr
		}
		return err
	})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("list the addresses: %w", err)
	}
	if !found.IsValid() {
		return netip.Addr{}, ErrNoDefaultRoute
	}
	return found, nil
}

// Counters reads the device's counters; ok is false when there is no such device.
func (k *Kernel) Counters() (c plan.Counters, ok bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, err := k.device()
	if errors.Is(err, unix.ENODEV) {
		return c, false, nil
	}
	return l.counters, err == nil, err
}

// device reads our device.
func (k *Kernel) device() (link, error) {
	var found link
	err := k.conn.get(func() *message { return linkByName(k.config.Device) }, func() {}, func(_ uint16, body []byte) (err error) {
		found, err = parseLink(body)
		return err
	})
	if err != nil {
		return link{}, fmt.Errorf("read device %s: %w", k.config.Device, err)
	}
	return found, nil
}
