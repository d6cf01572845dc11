package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/netnstest"
	"github.com/hybridgateway/gateway/services/dataplane/internal/config"
)

// farNode is a third node, behind a router whose link to the fabric carries no more than wan bytes; all other links carry underlay bytes, and
// the node's tunnel device what fits into underlay:
//
//	fabric --- 172.31.0.0/30, wan bytes --- router --- node 192.168.3.13, pod 100.64.3.10
type farNode struct {
	node, router *netnstest.Namespace
}

func (w *world) farNode(t *testing.T, underlay, wan int) *farNode {
	t.Helper()
	f := &farNode{node: netnstest.New(t), router: netnstest.New(t)}
	netnstest.Veth(t, f.router, "up", "172.31.0.2/30", w.fabric, "wan", "172.31.0.1/30")
	netnstest.Veth(t, f.node, "eth0", nodeIP(3)+"/24", f.router, "down", "192.168.3.1/24")
	f.router.Sysctl(t, "net/ipv4/ip_forward", "1")
	f.router.Route(t, "0.0.0.0/0", "172.31.0.1")
	f.node.Route(t, "0.0.0.0/0", "192.168.3.1")
	w.fabric.Route(t, "192.168.3.0/24", "172.31.0.2")
	tunnelNode(t, f.node, 3, w.vtep)
	setMTU(t, underlay, map[*netnstest.Namespace][]string{w.gateway: {"eth0"}, w.cloud: {"eth0"}, w.fabric: {"gw", "cloud"}, f.node: {"eth0"}, f.router: {"down"}})
	setMTU(t, wan, map[*netnstest.Namespace][]string{w.fabric: {"wan"}, f.router: {"up"}})
	setMTU(t, underlay-50, map[*netnstest.Namespace][]string{f.node: {"vxlan"}})
	w.registry.put(t, "node3", nodeIP(3), podNet(3))
	w.registry.log.MarkSynced()
	return f
}

func setMTU(t *testing.T, mtu int, links map[*netnstest.Namespace][]string) {
	t.Helper()
	for ns, names := range links {
		for _, name := range names {
			if err := ns.Netlink.LinkSetMTU(ns.Link(t, name), mtu); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPrivilegedTransfers: large TCP transfers in both directions over paths of several sizes arrive whole, and no packet of them is
// fragmented, nowhere.
func TestPrivilegedTransfers(t *testing.T) { inEachMode(t, transfers) }

func transfers(t *testing.T, mode string) {
	for _, c := range []struct {
		name          string
		underlay, wan int
		flags         []string
		mtu           uint32
		down, up      bool // directions
	}{
		{"1500 bytes", 1500, 1500, nil, 1450, true, true},
		{"9001 bytes in the VPC and on premises, 1500 in between", 9001, 1500, nil, 1450, true, false},
		{"the same, MSS clamped", 9001, 1500, []string{"--clamp-mss=on"}, 1450, true, true},
		{"9001 bytes", 9001, 9001, []string{"--underlay-mtu=9001"}, 8951, true, true},
		{"1400 bytes in between, as configured, MSS clamped", 1500, 1400, []string{"--underlay-mtu=1400", "--clamp-mss=on"}, 1350, true, true},
		{"1400 bytes in between, found out", 1500, 1400, nil, 1450, true, false},
		{"1400 bytes in between, found out, no guard", 1500, 1400, []string{"--guard=off"}, 1450, true, false},
	} {
		if mode == programming(config.ProgrammingFlow) && slices.Contains(c.flags, "--guard=off") {
			continue // it needs the guard
		}
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			f := w.farNode(t, c.underlay, c.wan)
			w.dataplane(t, append(c.flags, mode)...)
			if s := w.ready(t, 1); s.GetMtu() != c.mtu {
				t.Errorf("the tunnel's MTU is %d, want %d", s.GetMtu(), c.mtu)
			}
			places := map[string]*netnstest.Namespace{"cloud": w.cloud, "fabric": w.fabric, "gateway": w.gateway, "router": f.router, "node": f.node}
			before := fragmented(t, places)
			if c.down {
				transfer(t, w.cloud, cloudIP, f.node, podIP(3))
			}
			if c.up {
				transfer(t, f.node, podIP(3), w.cloud, cloudIP)
			}
			after := fragmented(t, places)
			for key, n := range after {
				if n != before[key] {
					t.Errorf("%s: %d", key, n-before[key])
				}
			}
		})
	}
}

// fragmented reads what the kernels have fragmented and put together so far; see RFC 4293, ipSystemStatsTable.
func fragmented(t *testing.T, places map[string]*netnstest.Namespace) map[string]int {
	t.Helper()
	out := map[string]int{}
	for place, ns := range places {
		ns.Run(t, func() {
			table, err := os.ReadFile("/proc/thread-self/net/snmp")
			if err != nil {
				t.Error(err)
				return
			}
			var names, values []string
			for line := range strings.Lines(string(table)) {
				if rest, ok := strings.CutPrefix(line, "Ip: "); ok {
					names, values = values, strings.Fields(rest)
				}
			}
			for i, name := range names {
				switch name {
				case "FragOKs", "FragCreates", "ReasmReqds":
					var n int
					if _, err := fmt.Sscan(values[i], &n); err != nil {
						t.Error(err)
					}
					out[place+" "+name] = n
				}
			}
			if len(names) == 0 {
				t.Errorf("no counters of IP in %q", table)
			}
		})
	}
	return out
}

// transfer sends 20 MB over TCP and checks that they arrive as they were.
func transfer(t *testing.T, from *netnstest.Namespace, fromIP string, to *netnstest.Namespace, toIP string) {
	t.Helper()
	const size = 20 << 20
	var listener net.Listener
	if err := to.Do(func() (err error) { listener, err = net.Listen("tcp4", toIP+":0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	received := make(chan []byte, 1)
	inBackground(t, func(ctx context.Context) error {
		defer close(received)
		defer context.AfterFunc(ctx, func() { listener.Close() })()
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		defer conn.Close()
		sum := sha256.New()
		if n, err := io.Copy(sum, conn); err != nil || n != size {
			return fmt.Errorf("received %d of %d bytes: %w", n, size, errors.Join(err))
		}
		received <- sum.Sum(nil)
		return nil
	})
	sum := sha256.New()
	begun := time.Now()
	err := from.Do(func() error {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(fromIP)}, Timeout: patience}
		conn, err := dialer.Dial("tcp4", listener.Addr().String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(2 * patience)); err != nil {
			return err
		}
		_, err = io.Copy(io.MultiWriter(conn, sum), io.LimitReader(rand.NewChaCha8([32]byte{}), size))
		return err
	})
	if err != nil {
		t.Fatalf("send from %s to %s: %v", fromIP, toIP, err)
	}
	if got := <-received; !bytes.Equal(got, sum.Sum(nil)) {
		t.Errorf("from %s to %s something else arrived than was sent", fromIP, toIP)
	}
	t.Logf("%d MB from %s to %s in %v", size>>20, fromIP, toIP, time.Since(begun).Round(time.Millisecond))
}

// TestPrivilegedPathMTU: a sender that forbids fragmentation learns from ICMP (RFC 1191) how much the path carries, on either side, where the
// path is narrow in the tunnel, beyond it, or behind the gateway; then its packets arrive.
func TestPrivilegedPathMTU(t *testing.T) { inEachMode(t, pathMTU) }

func pathMTU(t *testing.T, mode string) {
	for _, c := range []struct {
		name   string
		wan    int
		flags  []string
		narrow func(w *world) error
		down   int // what the sender in the VPC learns
		up     int // and the one on premises
	}{
		{"the tunnel", 1500, nil, nil, 1450, 1450},
		{"the WAN, as configured", 1400, []string{"--underlay-mtu=1400"}, nil, 1350, 0},
		{"the WAN, found out", 1400, nil, nil, 1350, 0},
		{"behind the gateway", 1500, nil, func(w *world) error {
			return w.gateway.Netlink.RouteAdd(routeOfSize(cloudIP+"/32", "10.0.1.1", 1300))
		}, 1450, 1300},
		{"at the VPC's end", 1500, nil, func(w *world) error {
			setMTU(t, 1280, map[*netnstest.Namespace][]string{w.cloud: {"eth0"}, w.fabric: {"cloud"}})
			return nil
		}, 1280, 1280},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			f := w.farNode(t, 1500, c.wan)
			w.dataplane(t, append(c.flags, mode)...)
			w.ready(t, 1)
			if c.narrow != nil {
				if err := c.narrow(w); err != nil {
					t.Fatal(err)
				}
			}
			cloud, pod := newEcho(t, w.cloud, cloudIP), newEcho(t, f.node, podIP(3))
			if got := discover(t, w.cloud, cloudIP, pod); got != c.down {
				t.Errorf("the sender in the VPC learns %d, want %d", got, c.down)
			}
			if c.up == 0 {
				return // packets of the node are its own affair
			}
			if got := discover(t, f.node, podIP(3), cloud); got != c.up {
				t.Errorf("the sender on premises learns %d, want %d", got, c.up)
			}
		})
	}
}

// discover sends ever more packets that may not be fragmented, of the size that the sender takes for possible, until one is answered, and
// returns that size.
func discover(t *testing.T, from *netnstest.Namespace, fromIP string, to *echo) int {
	t.Helper()
	const headers = 20 + 8
	size := 0
	err := from.Do(func() error {
		conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(fromIP), 0)), net.UDPAddrFromAddrPort(to.addr))
		if err != nil {
			return err
		}
		defer conn.Close()
		raw, err := conn.SyscallConn()
		if err != nil {
			return err
		}
		option := func(f func(fd int) error) error {
			var inner error
			return errors.Join(raw.Control(func(fd uintptr) { inner = f(int(fd)) }), inner)
		}
		if err := option(func(fd int) error {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
		}); err != nil {
			return err
		}
		for begun := time.Now(); time.Since(begun) < patience; {
			if err := option(func(fd int) (err error) { size, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU); return err }); err != nil {
				return err
			}
			if _, err := conn.Write(make([]byte, size-headers)); err != nil && !errors.Is(err, syscall.EMSGSIZE) {
				return err
			}
			_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			if n, err := conn.Read(make([]byte, 65536)); err == nil && n == size-headers {
				return nil
			}
		}
		return errors.New("no packet was answered")
	})
	if err != nil {
		t.Errorf("from %s to %s, up to %d bytes: %v", fromIP, to.addr, size, err)
	}
	return size
}

func routeOfSize(dst, via string, mtu int) *netlink.Route {
	return &netlink.Route{Dst: netnstest.IPNet(netip.MustParsePrefix(dst)), Gw: net.ParseIP(via), MTU: mtu}
}
