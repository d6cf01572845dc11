// Package netnstest gives tests network namespaces of their own: real kernels to test against, without a trace on the
// host.
//
// A namespace has no name. It lives as long as the test holds it, or a process in it, so even a test that is killed
// leaves nothing behind.
package netnstest

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Namespace is one network namespace.
type Namespace struct {
	// Netlink configures the namespace from any goroutine.
	Netlink *netlink.Handle

	fd   netns.NsHandle
	work chan func()
}

// New makes a namespace with only a loopback interface, which is up. The test is skipped when it is not run by root.
func New(t testing.TB) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces needs root")
	}
	n := &Namespace{work: make(chan func())}
	ready := make(chan error)
	go n.serve(ready)
	if err := <-ready; err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() {
		n.Netlink.Close()
		close(n.work)
		n.fd.Close()
	})
	lo, err := n.Netlink.LinkByName("lo")
	if err == nil {
		err = n.Netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatalf("bring up the loopback interface: %v", err)
	}
	return n
}

// serve owns one thread in the namespace for its whole life. Processes are started from it, because a process that is to die with
// its parent dies with the thread that started it. The thread ends with the goroutine, since it stays locked.
func (n *Namespace) serve(ready chan<- error) {
	runtime.LockOSThread()
	fd, err := netns.New()
	if err == nil {
		n.fd = fd
		n.Netlink, err = netlink.NewHandle()
	}
	ready <- err
	if err != nil {
		return
	}
	for f := range n.work {
		f()
	}
}

// Do calls f on a thread that is in the namespace. What f opens stays in the namespace: sockets, files of /proc/sys/net. Goroutines
// that f starts do not.
func (n *Namespace) Do(f func() error) error {
	done := make(chan error)
	go func() {
		// Not unlocked: the thread must not be used for anything else.
		runtime.LockOSThread()
		if err := netns.Set(n.fd); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// Run is Do for a function that cannot fail, in a test that ends when entering the namespace fails.
func (n *Namespace) Run(t testing.TB, f func()) {
	t.Helper()
	if err := n.Do(func() error { f(); return nil }); err != nil {
		t.Fatalf("enter the network namespace: %v", err)
	}
}

// Start starts a process in the namespace. It is killed, and waited for, at the latest when the test ends, also when the test
// process is killed.
func (n *Namespace) Start(t testing.TB, c *exec.Cmd) {
	t.Helper()
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error)
	n.work <- func() { started <- c.Start() }
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", c.Path, err)
	}
	t.Cleanup(func() {
		if err := c.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
			_ = c.Wait() // an error unless the test has waited for it already
		}
	})
}

// Veth connects two namespaces by a pair of interfaces, which are up and have these addresses (such as 10.0.1.10/24).
func Veth(t testing.TB, a *Namespace, aName, aAddr string, b *Namespace, bName, bAddr string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = aName
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: bName, PeerNamespace: netlink.NsFd(b.fd)}
	if err := a.Netlink.LinkAdd(pair); err != nil {
		t.Fatalf("connect %s to %s: %v", aName, bName, err)
	}
	a.SetUp(t, aName, aAddr)
	b.SetUp(t, bName, bAddr)
}

// SetUp gives an interface addresses and brings it up.
func (n *Namespace) SetUp(t testing.TB, name string, addrs ...string) {
	t.Helper()
	link := n.Link(t, name)
	for _, a := range addrs {
		parsed, err := netlink.ParseAddr(a)
		if err == nil {
			err = n.Netlink.AddrAdd(link, parsed)
		}
		if err != nil {
			t.Fatalf("give %s the address %s: %v", name, a, err)
		}
	}
	if err := n.Netlink.LinkSetUp(link); err != nil {
		t.Fatalf("bring up %s: %v", name, err)
	}
}

// Link is the interface of that name; the test ends when there is none.
func (n *Namespace) Link(t testing.TB, name string) netlink.Link {
	t.Helper()
	link, err := n.Netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("interface %s: %v", name, err)
	}
	return link
}

// Route adds a route to dst (such as 10.0.0.0/16) via a gateway.
func (n *Namespace) Route(t testing.TB, dst, via string) {
	t.Helper()
	if err := n.Netlink.RouteAdd(&netlink.Route{Dst: IPNet(netip.MustParsePrefix(dst)), Gw: net.ParseIP(via)}); err != nil {
		t.Fatalf("add a route to %s via %s: %v", dst, via, err)
	}
}

// Sysctl writes a file under /proc/sys/, such as net/ipv4/ip_forward.
func (n *Namespace) Sysctl(t testing.TB, path, value string) {
	t.Helper()
	if err := n.Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) }); err != nil {
		t.Fatalf("set %s to %s: %v", path, value, err)
	}
}

// IPNet is p in the form that the netlink library wants.
func IPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
