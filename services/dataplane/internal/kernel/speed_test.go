package kernel

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/netnstest"
	"github.com/hybridgateway/gateway/services/dataplane/internal/fastpath"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// The addresses of a road. All hosts are on one link, so that plain routing and the tunnel take the same hops.
const (
	roadGateway = "10.0.1.10"
	roadNode    = "10.0.1.1"
	roadPod     = "100.127.1.7"
	roadPods    = "100.127.1.0/24"
	roadCloud   = "10.0.1.20"
)

// road is a cloud host, a gateway with one NIC, and a hybrid node, joined by a switch, with frames of 1500 bytes.
type road struct {
	name                 string
	cloud, gateway, node *netnstest.Namespace
	up, down             stream // node to cloud, cloud to node
}

// newRoad makes the hosts, with what all kinds of roads have.
func newRoad(t testing.TB, name string) *road {
	t.Helper()
	r := &road{name: name, cloud: netnstest.New(t), gateway: netnstest.New(t), node: netnstest.New(t)}
	fabric := netnstest.New(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "switch"
	if err := fabric.Netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		t.Fatalf("make a switch: %v", err)
	}
	fabric.SetUp(t, "switch")
	// A switch that asks nobody. Where br_netfilter is not loaded there is nothing to switch off.
	err := fabric.Do(func() error { return os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0) })
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, host := range []struct {
		name, addr string
		at         *netnstest.Namespace
	}{{"cloud", roadCloud, r.cloud}, {"gateway", roadGateway, r.gateway}, {"node", roadNode, r.node}} {
		netnstest.Veth(t, host.at, "eth0", host.addr+"/24", fabric, host.name, "192.0.2.1/32") // a port needs no address, and this one is not used
		if err := fabric.Netlink.LinkSetMaster(fabric.Link(t, host.name), fabric.Link(t, "switch")); err != nil {
			t.Fatalf("connect %s: %v", host.name, err)
		}
	}
	r.cloud.Route(t, "0.0.0.0/0", roadGateway)
	r.gateway.Route(t, "0.0.0.0/0", roadNode)
	r.node.SetUp(t, "lo", roadPod+"/32")
	r.gateway.Sysctl(t, "net/ipv4/ip_forward", "1")
	// As in a VPC, the shorter way is closed.
	r.gateway.Sysctl(t, "net/ipv4/conf/all/send_redirects", "0")
	r.gateway.Sysctl(t, "net/ipv4/conf/eth0/send_redirects", "0")
	return r
}

// plainRoad has no tunnel anywhere.
func plainRoad(t testing.TB, name string) *road {
	t.Helper()
	r := newRoad(t, name)
	r.gateway.Route(t, roadPods, roadNode)
	r.node.Route(t, roadCloud+"/32", roadGateway)
	return r
}

// bareRoad has a tunnel that is set up as one would by hand, with nothing else in the way: the best that the kernel's VXLAN can do.
func bareRoad(t testing.TB, name string) *road {
	t.Helper()
	r := newRoad(t, name)
	r.tunnel(t)
	handmade(t, r.gateway, roadGateway, roadNode, roadPods)
	return r
}

// ourRoad has n nodes programmed by us, of which the last is there.
func ourRoad(t testing.TB, name string, n int, in mode, guard, fast bool) *road {
	t.Helper()
	r := newRoad(t, name)
	r.tunnel(t)
	d := in(desired(append(many(n-1), vtep("z", roadNode, roadPods))...))
	d.Guard = guard
	converge(t, open(t, r.gateway), d)
	if fast {
		r.gateway.Run(t, func() {
			path, err := fastpath.Open(fastpath.Config{Device: d.Device, Node: local, VPC: guardRules.VPC})
			if err == nil {
				t.Cleanup(path.Close)
				err = path.Attach("eth0", false)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	return r
}

// tunnel gives the node its end of the tunnel.
func (r *road) tunnel(t testing.TB) {
	t.Helper()
	handmade(t, r.node, roadNode, roadGateway, roadCloud+"/32")
}

// handmade makes a tunnel from local to remote, by which dst is reached.
func handmade(t testing.TB, n *netnstest.Namespace, local, remote, dst string) {
	t.Helper()
	at, far := netip.MustParseAddr(local), netip.MustParseAddr(remote)
	atMAC, farMAC := netaddr.VTEPMAC(at), netaddr.VTEPMAC(far)
	k := open(t, n)
	const name = "vxlan0"
	// Not by the library, which cannot ask for no outer checksums.
	err := k.conn.doOne(addVXLAN(plan.Device{Name: name, VNI: 2, Port: 8472, Local: at, MAC: atMAC}, 1500-plan.Overhead))
	if err != nil {
		t.Fatalf("make a tunnel from %s: %v", local, err)
	}
	n.SetUp(t, name)
	index := n.Link(t, name).Attrs().Index
	err = n.Netlink.NeighSet(&netlink.Neigh{LinkIndex: index, Family: unix.AF_BRIDGE, Flags: unix.NTF_SELF,
		State: unix.NUD_PERMANENT, HardwareAddr: farMAC[:], IP: far.AsSlice()})
	if err == nil {
		err = n.Netlink.NeighSet(&netlink.Neigh{LinkIndex: index, Family: unix.AF_INET, State: unix.NUD_PERMANENT, HardwareAddr: farMAC[:], IP: far.AsSlice()})
	}
	if err == nil {
		route := &netlink.Route{LinkIndex: index, Dst: netnstest.IPNet(netip.MustParsePrefix(dst)), Gw: far.AsSlice(), Flags: unix.RTNH_F_ONLINK}
		if local == roadNode {
			route.Src = net.ParseIP(roadPod)
		}
		err = n.Netlink.RouteAdd(route)
	}
	if err != nil {
		t.Fatalf("make a tunnel from %s to %s: %v", local, remote, err)
	}
}

// stream is one way along a road: a TCP connection, and a socket that sends UDP.
type stream struct {
	sender, receiver *net.TCPConn
	batch            *batch
	to               *netnstest.Namespace
	sink             int
}

// connect opens the streams of a road.
func (r *road) connect(t testing.TB) {
	t.Helper()
	r.up = newStream(t, r.node, roadPod, r.cloud, roadCloud)
	r.down = newStream(t, r.cloud, roadCloud, r.node, roadPod)
}

const udpPort = 7000

func newStream(t testing.TB, from *netnstest.Namespace, source string, to *netnstest.Namespace, target string) stream {
	t.Helper()
	s := stream{to: to}
	var listener *net.TCPListener
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("open a stream from %s to %s: %v", source, target, err)
		}
	}
	must(to.Do(func() (err error) {
		listener, err = net.ListenTCP("tcp4", &net.TCPAddr{IP: net.ParseIP(target)})
		if err != nil {
			return err
		}
		s.sink, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Bind(s.sink, &unix.SockaddrInet4{Port: udpPort, Addr: netip.MustParseAddr(target).As4()})
	}))
	must(from.Do(func() (err error) {
		s.sender, err = net.DialTCP("tcp4", &net.TCPAddr{IP: net.ParseIP(source)}, listener.Addr().(*net.TCPAddr))
		if err != nil {
			return err
		}
		s.batch, err = newBatch(netip.MustParseAddr(source), netip.MustParseAddr(target))
		return err
	}))
	var err error
	s.receiver, err = listener.AcceptTCP()
	must(errors.Join(err, listener.Close()))
	t.Cleanup(func() {
		s.sender.Close()
		s.receiver.Close()
		unix.Close(s.sink)
		unix.Close(s.batch.fd)
	})
	return s
}

// figure is what one measurement has moved, and what that took: time, and time of the processors. All hosts of a road work in the
// threads of its ends, so the latter is what all of them together cost, whatever else the machine has to do.
type figure struct {
	amount      float64
	clock, busy time.Duration
}

// tcp sends for so long, with one connection, and counts Gbit received. The last byte, and only that, is not 0.
func (s stream) tcp(t testing.TB, during time.Duration) figure {
	t.Helper()
	const chunk = 256 << 10
	start := time.Now()
	sent := make(chan outcome, 1)
	received := 0
	go func() {
		sent <- urgently(func() error {
			buf := make([]byte, chunk)
			for time.Since(start) < during {
				if _, err := s.sender.Write(buf); err != nil {
					return err
				}
			}
			_, err := s.sender.Write([]byte{1})
			return err
		})
	}()
	done := make(chan outcome, 1)
	go func() {
		done <- urgently(func() error {
			buf := make([]byte, chunk)
			for last := byte(0); last == 0; {
				_ = s.receiver.SetReadDeadline(time.Now().Add(20 * time.Second))
				n, err := s.receiver.Read(buf)
				if err != nil {
					return fmt.Errorf("after %d bytes: %w", received, err)
				}
				received, last = received+n, buf[n-1]
			}
			return nil
		})
	}()
	receiver := <-done
	took := time.Since(start)
	sender := <-sent
	if err := errors.Join(receiver.err, sender.err); err != nil {
		t.Fatal(err)
	}
	return figure{float64(received) * 8 / 1e9, took, sender.busy + receiver.busy}
}

// udp sends datagrams for so long and counts the thousands that were delivered to the receiver's socket, which nobody reads.
func (s stream) udp(t testing.TB, during time.Duration) figure {
	t.Helper()
	before := delivered(t, s.to)
	start := time.Now()
	done := make(chan outcome, 1)
	go func() {
		done <- urgently(func() error {
			for time.Since(start) < during {
				if err := s.batch.send(); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	sender := <-done
	took := time.Since(start)
	if sender.err != nil {
		t.Fatal(sender.err)
	}
	return figure{float64(delivered(t, s.to)-before) / 1000, took, sender.busy}
}

type outcome struct {
	busy time.Duration
	err  error
}

// urgently runs f on a thread that goes before others, and says how much processor time it took.
func urgently(f func() error) outcome {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -20)
	if err != nil {
		return outcome{err: fmt.Errorf("raise the priority: %w", err)}
	}
	before, errBefore := processorTime()
	err = f()
	after, errAfter := processorTime()
	return outcome{after - before, errors.Join(err, errBefore, errAfter)}
}

// processorTime is what the calling thread has used.
func processorTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(t.Nano()), nil
}

// delivered counts the datagrams that came to a socket, those included that found its buffer full.
func delivered(t testing.TB, n *netnstest.Namespace) (count int) {
	t.Helper()
	var text []byte
	err := n.Do(func() (err error) {
		// Of the calling thread, not of the process: that is in another namespace.
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if fields[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i, name := range names {
			if name == "InDatagrams" || name == "RcvbufErrors" {
				n, err := strconv.Atoi(fields[i])
				if err != nil {
					t.Fatal(err)
				}
				count += n
			}
		}
	}
	return count
}

// batch is IP packets of 64 bytes, of as many flows, that one system call sends.
type batch struct {
	fd       int
	messages []mmsghdr
	// What the messages point to.
	addrs   []unix.RawSockaddrInet4
	payload []byte
	piece   unix.Iovec
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32
	_ [4]byte
}

func newBatch(source, target netip.Addr) (*batch, error) {
	const flows, payload = 64, 64 - 20 - 8
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	b := &batch{fd: fd, messages: make([]mmsghdr, flows), addrs: make([]unix.RawSockaddrInet4, flows), payload: make([]byte, payload)}
	b.piece = unix.Iovec{Base: &b.payload[0], Len: payload}
	for i := range b.messages {
		b.addrs[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: target.As4()}
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&b.addrs[i].Port))[:], udpPort)
		b.messages[i].Msghdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&b.addrs[i])), Namelen: unix.SizeofSockaddrInet4, Iov: &b.piece, Iovlen: 1}
	}
	return b, nil
}

func (b *batch) send() error {
	_, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.messages[0])), uintptr(len(b.messages)), 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("sendmmsg", errno)
	}
	return nil
}

// measures are what is measured on each road.
var measures = []struct {
	name, unit string
	of         func(r *road, t testing.TB, during time.Duration) figure
}{
	{"TCP, cloud to node", "Gbit", func(r *road, t testing.TB, d time.Duration) figure { return r.down.tcp(t, d) }},
	{"TCP, node to cloud", "Gbit", func(r *road, t testing.TB, d time.Duration) figure { return r.up.tcp(t, d) }},
	{"UDP of 64 bytes, cloud to node", "thousands", func(r *road, t testing.TB, d time.Duration) figure { return r.down.udp(t, d) }},
	{"UDP of 64 bytes, node to cloud", "thousands", func(r *road, t testing.TB, d time.Duration) figure { return r.up.udp(t, d) }},
}

// BenchmarkPrivilegedSpeed measures TCP and small UDP packets both ways: by plain routing, through a tunnel made by hand, and through ours. All
// roads stand side by side, and each round goes along all of them. A ratio is of two figures of one round, as the machine is
// not equally quick in another. The figures are to be read, not judged.
func BenchmarkPrivilegedSpeed(b *testing.B) {
	rounds, slice := setting(b, "BENCH_ROUNDS", 15), 200*time.Millisecond
	roads := []*road{
		plainRoad(b, "plain routing"),
		bareRoad(b, "tunnel by hand"),
		ourRoad(b, "10 nodes, guard off", 10, perNode, false, false),
		ourRoad(b, "10,000 nodes, guard off", 10000, perNode, false, false),
		ourRoad(b, "10 nodes", 10, perNode, true, false),
		ourRoad(b, "1,000 nodes", 1000, perNode, true, false),
		ourRoad(b, "10,000 nodes", 10000, perNode, true, false),
		ourRoad(b, "10 nodes, flow-based", 10, flowBased, true, false),
		ourRoad(b, "1,000 nodes, flow-based", 1000, flowBased, true, false),
		ourRoad(b, "10,000 nodes, flow-based", 10000, flowBased, true, false),
		ourRoad(b, "10 nodes, fast path", 10, perNode, true, true),
		ourRoad(b, "10,000 nodes, fast path", 10000, perNode, true, true),
	}
	for _, r := range roads {
		r.connect(b)
	}
	figures := make(map[string]map[*road][]figure)
	for _, m := range measures {
		figures[m.name] = map[*road][]figure{}
		for round := range rounds + 1 {
			// Each round begins elsewhere and every other one goes backwards, so that no road has always the same before it.
			order := slices.Concat(roads[round%len(roads):], roads[:round%len(roads)])
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, r := range order {
				// The first is to warm up.
				if figure := m.of(r, b, slice); round > 0 {
					figures[m.name][r] = append(figures[m.name][r], figure)
				}
			}
		}
	}
	var out bytes.Buffer
	for _, m := range measures {
		report(&out, m.name, m.unit, roads, figures[m.name])
	}
	// Not by b.Log, which cuts after ten lines.
	fmt.Fprintf(os.Stdout, "\n%d rounds; median (10th to 90th percentile)\n%s", rounds, out.String())
}

// report writes a table; the first road is the limit, the second the base line.
func report(w io.Writer, name, unit string, roads []*road, figures map[*road][]figure) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\n%s\t%s/s\tof plain routing\tof by hand\t%s/s of processor\tof plain routing\tof by hand\n", name, unit, unit)
	for _, r := range roads {
		fmt.Fprint(table, r.name)
		for _, per := range []func(f figure) float64{
			func(f figure) float64 { return f.amount / f.clock.Seconds() },
			func(f figure) float64 { return f.amount / f.busy.Seconds() },
		} {
			own := rates(figures[r], per)
			fmt.Fprintf(table, "\t%s\t%s\t%s", spread(own), spread(ratios(own, rates(figures[roads[0]], per))), spread(ratios(own, rates(figures[roads[1]], per))))
		}
		fmt.Fprintln(table)
	}
	table.Flush()
}

func rates(figures []figure, per func(figure) float64) []float64 {
	out := make([]float64, len(figures))
	for i, f := range figures {
		out[i] = per(f)
	}
	return out
}

// ratios are those of figures of the same round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

func spread(values []float64) string {
	sorted := slices.Sorted(slices.Values(values))
	at := func(percent int) float64 { return sorted[(len(sorted)-1)*percent/100] }
	digits := 2
	if at(50) >= 100 {
		digits = 0
	}
	return fmt.Sprintf("%.*f (%.*f to %.*f)", digits, at(50), digits, at(10), digits, at(90))
}

func setting(t testing.TB, name string, otherwise int) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv(name), strconv.Itoa(otherwise)))
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: want a number above 0", name, os.Getenv(name))
	}
	return n
}

// BenchmarkPrivilegedGuardChange measures how long changes of the guard take, at three sizes.
func BenchmarkPrivilegedGuardChange(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		_, k := gateway(b)
		converge(b, k, desired(many(n)...))
		guard := plan.SetGuard{Lengths: 1 << 24, Sources: slices.Collect(maps.Keys(dump(b, k).Guard.Sources))}
		took := func(op plan.Op) time.Duration {
			start := time.Now()
			if failures := k.Apply([]plan.Op{op}); len(failures) > 0 {
				b.Fatal(failures)
			}
			return time.Since(start)
		}
		anew := took(guard)
		one := plan.Source{Outer: netip.MustParseAddr("172.17.0.1"), Inner: netip.MustParsePrefix("100.126.0.0/24")}
		admit := took(plan.Admit{Sources: []plan.Source{one}})
		expel := took(plan.Expel{Sources: []plan.Source{one}, Outers: []netip.Addr{one.Outer}})
		b.Logf("%6d nodes: one admitted in %v, expelled in %v; all made anew in %v", n, admit, expel, anew)
	}
}
