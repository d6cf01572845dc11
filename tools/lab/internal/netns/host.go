package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// mountDir is where named namespaces live; iproute2 uses the same place.
const mountDir = "/run/netns"

// Host is one network namespace. Its methods may be called from any goroutine.
type Host struct {
	name    string
	ns      vnetns.NsHandle
	nl      *netlink.Handle
	owned   bool
	forker  chan func()   // work for the host's own thread
	quit    chan struct{} // closed to end it
	done    chan struct{} // closed when it has ended
	closing sync.Once
}

func newHost(name string) *Host {
	return &Host{
		name:   name,
		forker: make(chan func()),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
	}
}

// Create makes a new named namespace with its loopback up, and marks it as ours
// (see List). The name must not exist yet. Close removes the namespace.
func Create(name string) (*Host, error) {
	h := newHost(name)
	h.owned = true
	started := make(chan error)
	go h.run(started, func() error {
		var err error
		if h.ns, err = vnetns.New(); err != nil {
			return fmt.Errorf("create namespace %s: %w", name, err)
		}
		// It has its mark before its name: what has a name and no mark is not ours,
		// wherever an earlier run was killed.
		if err := errors.Join(h.prepare(), publish(name)); err != nil {
			if h.nl != nil {
				h.nl.Close()
			}
			return errors.Join(fmt.Errorf("create namespace %s: %w", name, err), h.ns.Close())
		}
		return nil
	})
	if err := <-started; err != nil {
		return nil, err
	}
	return h, nil
}

// Open gives a handle to a namespace that exists already. Closing it leaves
// the namespace and the processes inside alone, except those that were started
// through this handle.
func Open(name string) (*Host, error) {
	h := newHost(name)
	started := make(chan error)
	go h.run(started, func() error {
		var err error
		if h.ns, err = vnetns.GetFromName(name); err != nil {
			return fmt.Errorf("open namespace %s: %w", name, err)
		}
		if err = vnetns.Set(h.ns); err != nil {
			return errors.Join(fmt.Errorf("enter namespace %s: %w", name, err), h.ns.Close())
		}
		return nil
	})
	if err := <-started; err != nil {
		return nil, err
	}
	var err error
	if h.nl, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE); err != nil {
		return nil, errors.Join(fmt.Errorf("open netlink in %s: %w", name, err), h.Close())
	}
	return h, nil
}

// run is the thread that lives in the namespace for as long as the host does.
// Processes are forked from it, because the kernel delivers Pdeathsig when the
// forking thread ends, not when the process does.
func (h *Host) run(started chan<- error, enter func() error) {
	defer close(h.done)
	onOwnThread(func() {
		if err := enter(); err != nil {
			started <- err
			return
		}
		started <- nil
		for {
			select {
			case fn := <-h.forker:
				fn()
			case <-h.quit:
				return
			}
		}
	})
}

// onOwnThread runs fn on a thread that dies with it. The process's main thread
// cannot die and is what /proc/<pid>/ns shows, so it is never used.
func onOwnThread(fn func()) {
	done := make(chan struct{})
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		go func() {
			defer close(done)
			runtime.LockOSThread()
			fn()
		}()
		<-done
		runtime.UnlockOSThread()
		return
	}
	fn()
	// Left locked: the runtime ends the thread together with the goroutine.
}

func (h *Host) prepare() error {
	var err error
	if h.nl, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("open netlink in %s: %w", h.name, err)
	}
	lo, err := h.nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo in %s: %w", h.name, err)
	}
	if err := h.nl.LinkSetAlias(lo, mark); err != nil {
		return fmt.Errorf("mark %s: %w", h.name, err)
	}
	if err := h.nl.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up in %s: %w", h.name, err)
	}
	return nil
}

// Name is the full name of the namespace, as "ip netns" shows it.
func (h *Host) Name() string { return h.name }

// Netlink is a route netlink handle inside the namespace.
func (h *Host) Netlink() *netlink.Handle { return h.nl }

// FD is the namespace's file descriptor, valid until Close.
func (h *Host) FD() int { return int(h.ns) }

// Nftables gives a connection to the namespace's nftables. One connection
// collects one transaction: use it from one goroutine.
func (h *Host) Nftables() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.WithNetNSFd(h.FD()))
	if err != nil {
		return nil, fmt.Errorf("open nftables in %s: %w", h.name, err)
	}
	return c, nil
}

// Do runs fn on the calling goroutine, inside the namespace. Goroutines that
// fn starts are not inside; nor may fn start processes (see Command).
func (h *Host) Do(fn func() error) error {
	runtime.LockOSThread()
	home, err := vnetns.GetFromPath("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("remember own namespace: %w", err)
	}
	if err := vnetns.Set(h.ns); err != nil {
		runtime.UnlockOSThread()
		return errors.Join(fmt.Errorf("enter namespace %s: %w", h.name, err), home.Close())
	}
	defer func() {
		// A thread that cannot return home must not be used by others; it
		// stays locked and ends with its goroutine.
		if vnetns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		_ = home.Close()
	}()
	return fn()
}

// Listen opens a stream listener inside the namespace; it stays there, no
// matter who accepts from it.
func (h *Host) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	var l net.Listener
	err := h.Do(func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, network, addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.name, err)
	}
	return l, nil
}

// ListenPacket opens a datagram socket inside the namespace.
func (h *Host) ListenPacket(ctx context.Context, network, addr string) (net.PacketConn, error) {
	var p net.PacketConn
	err := h.Do(func() (err error) {
		p, err = new(net.ListenConfig).ListenPacket(ctx, network, addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.name, err)
	}
	return p, nil
}

// Dial connects from inside the namespace. The address must be a literal IP
// address with port: there is no name service in the world. Its signature fits
// http.Transport.DialContext, rest.Config.Dial and (with a closure) gRPC.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return h.DialFrom(ctx, network, nil, addr)
}

// DialFrom is Dial with a local address.
func (h *Host) DialFrom(ctx context.Context, network string, from net.Addr, addr string) (net.Conn, error) {
	var c net.Conn
	err := h.Do(func() (err error) {
		c, err = (&net.Dialer{LocalAddr: from}).DialContext(ctx, network, addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.name, err)
	}
	return c, nil
}

// Sysctl sets a network sysctl inside the namespace. The key is a path below
// /proc/sys/net, for example "ipv4/ip_forward".
func (h *Host) Sysctl(key, value string) error {
	return h.Do(func() error {
		if err := os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl %s=%s in %s: %w", key, value, h.name, err)
		}
		return nil
	})
}

// ReadSysctl gives the value of a network sysctl inside the namespace.
func (h *Host) ReadSysctl(key string) (string, error) {
	var value string
	err := h.Do(func() error {
		b, err := os.ReadFile(filepath.Join("/proc/sys/net", key))
		if err != nil {
			return fmt.Errorf("read sysctl %s in %s: %w", key, h.name, err)
		}
		value = strings.TrimSpace(string(b))
		return nil
	})
	return value, err
}

// Close ends the host. Processes started through it are killed; when the host
// made the namespace, every other process inside is killed too and the
// namespace is removed. Closing twice is harmless.
func (h *Host) Close() error { return Destroy(h) }

// Destroy closes several hosts at once; it looks for processes inside them
// only once.
func Destroy(hosts ...*Host) error {
	var errs []error
	var owned []string
	for _, h := range hosts {
		if h.owned {
			owned = append(owned, h.name)
		}
	}
	if err := killInside(owned); err != nil {
		errs = append(errs, err)
	}
	for _, h := range hosts {
		h.closing.Do(func() { errs = append(errs, h.release()) })
	}
	return errors.Join(errs...)
}

func (h *Host) release() error {
	close(h.quit)
	<-h.done
	if h.nl != nil {
		h.nl.Close()
	}
	var errs []error
	if err := h.ns.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close namespace %s: %w", h.name, err))
	}
	if h.owned {
		errs = append(errs, remove(h.name))
	}
	return errors.Join(errs...)
}
