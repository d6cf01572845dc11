package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/netnstest"
	"github.com/hybridgateway/gateway/services/dataplane/internal/fastpath"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// wire is a gateway whose one NIC ends in a raw socket: what it sends is seen, byte by byte, and it is sent whatever there may be.
type wire struct {
	gateway    *netnstest.Namespace
	kernel     *Kernel
	fast       *fastpath.FastPath
	fd         int // at the other end
	nicMAC     plan.MAC
	farMAC     plan.MAC
	desired    plan.Desired
	fenceCount uint16
}

// The wire's hosts, all behind one MAC.
var (
	wireNode   = netip.MustParseAddr("10.0.1.1")
	wireCloud  = netip.MustParseAddr("10.0.1.20")
	wireNarrow = netip.MustParseAddr("10.0.1.21") // the route to it has an MTU of 1000 bytes
	wirePod    = netip.MustParseAddr("100.127.1.7")
)

// newWire has outer packets that may be fragmented, or not.
func newWire(t *testing.T, df bool) *wire {
	t.Helper()
	w := &wire{gateway: netnstest.New(t)}
	far := netnstest.New(t)
	netnstest.Veth(t, w.gateway, "eth0", local.String()+"/24", far, "far", "192.0.2.1/32")
	copy(w.nicMAC[:], w.gateway.Link(t, "eth0").Attrs().HardwareAddr)
	copy(w.farMAC[:], far.Link(t, "far").Attrs().HardwareAddr)
	w.gateway.Route(t, "0.0.0.0/0", wireNode.String())
	w.gateway.Sysctl(t, "net/ipv4/ip_forward", "1")
	w.gateway.Sysctl(t, "net/ipv4/conf/all/send_redirects", "0")
	w.gateway.Sysctl(t, "net/ipv4/conf/eth0/send_redirects", "0")
	w.gateway.Sysctl(t, "net/ipv4/icmp_ratelimit", "0")
	nic := w.gateway.Link(t, "eth0").Attrs().Index
	for _, a := range []netip.Addr{wireNode, wireCloud, wireNarrow} {
		err := w.gateway.Netlink.NeighSet(&netlink.Neigh{LinkIndex: nic, State: unix.NUD_PERMANENT, HardwareAddr: w.farMAC[:], IP: a.AsSlice()})
		if err != nil {
			t.Fatal(err)
		}
	}
	narrow := &netlink.Route{LinkIndex: nic, Dst: netnstest.IPNet(netip.PrefixFrom(wireNarrow, 32)), Scope: netlink.SCOPE_LINK, MTU: 1000, MTULock: true}
	if err := w.gateway.Netlink.RouteAdd(narrow); err != nil {
		t.Fatal(err)
	}
	w.kernel = open(t, w.gateway)
	w.desired = desired(vtep("a", wireNode.String(), "100.127.1.0/24"), vtep("b", "10.0.1.2", "100.127.2.0/24"))
	w.desired.OuterDF = df
	converge(t, w.kernel, w.desired)
	w.gateway.Run(t, func() { w.fast = openFast(t) })
	far.Run(t, func() {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16(bigEndian16(unix.ETH_P_IP))))
		if err != nil {
			t.Fatal(err)
		}
		w.fd = fd
		t.Cleanup(func() { unix.Close(fd) })
	})
	err := unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(bigEndian16(unix.ETH_P_IP)), Ifindex: far.Link(t, "far").Attrs().Index})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// openFast opens the fast path in the namespace of the calling thread.
func openFast(t testing.TB) *fastpath.FastPath {
	t.Helper()
	path, err := fastpath.Open(fastpath.Config{Device: device, Node: local, VPC: guardRules.VPC})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(path.Close)
	return path
}

func (w *wire) send(t *testing.T, packet []byte) {
	t.Helper()
	if _, err := unix.Write(w.fd, packet); err != nil {
		t.Fatal(err)
	}
}

// receive waits for a frame with an IPv4 packet that the gateway has sent; nil when there is none for so long.
func (w *wire) receive(t *testing.T, patience time.Duration) []byte {
	t.Helper()
	until := time.Now().Add(patience)
	buf := make([]byte, 4096)
	for {
		left := max(time.Until(until), 0)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
		if n == 0 && left == 0 {
			return nil
		}
		if n <= 0 {
			continue
		}
		n, _, err = unix.Recvfrom(w.fd, buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		frame := buf[:n]
		if bytes.Equal(frame[6:12], w.nicMAC[:]) && n > 14+20 && frame[14+9] != unix.IPPROTO_IGMP {
			return bytes.Clone(frame)
		}
	}
}

// outcome of a packet: the frames that come of it, without what is random in them.
func (w *wire) outcome(t *testing.T, packets [][]byte, frames int) []string {
	t.Helper()
	for _, p := range packets {
		w.send(t, w.ethernet(p))
	}
	var out []string
	for range frames {
		frame := w.receive(t, 20*time.Second)
		if frame == nil {
			return out
		}
		out = append(out, comparable4(frame))
	}
	// And no more than these: what is sent now comes after all of it.
	w.fenceCount++
	w.send(t, w.ethernet(ip4{src: wireCloud, dst: wirePod}.with(udp(9, 9, bigEndian16(w.fenceCount)))))
	fenced := false
	for patience := 20 * time.Second; ; {
		frame := w.receive(t, patience)
		switch {
		case frame == nil && !fenced:
			t.Fatal("a good packet does not come through")
		case frame == nil:
			return out
		case bytes.HasSuffix(frame, append([]byte{0, 9, 0, 9, 0, 10, 0, 0}, bigEndian16(w.fenceCount)...)):
			fenced, patience = true, 20*time.Millisecond
		default:
			out = append(out, comparable4(frame))
		}
	}
}

func (w *wire) ethernet(packet []byte) []byte {
	frame := append(append(w.nicMAC[:], w.farMAC[:]...), 8, 0)
	return append(frame, packet...)
}

// comparable4 removes what is random: the identification of the outermost header, and of a packet of the gateway itself inside of it. The checksum goes
// with it, after it has been checked.
func comparable4(frame []byte) string {
	frame = bytes.Clone(frame)
	const inside = 14 + plan.Overhead
	headers := [][]byte{frame[14 : 14+20]}
	if len(frame) >= inside+20 && frame[14+9] == unix.IPPROTO_UDP && bytes.Equal(frame[inside+12:inside+16], local.AsSlice()) {
		headers = append(headers, frame[inside:inside+20])
	}
	for _, h := range headers {
		if h[0] == 0x45 && sum16(h) != 0xffff {
			return fmt.Sprintf("wrong checksum: %x", frame)
		}
		copy(h[4:6], []byte{0, 0})
		copy(h[10:12], []byte{0, 0})
	}
	return fmt.Sprintf("%x", frame)
}

func sum16(b []byte) uint32 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	return sum>>16 + sum&0xffff
}

// ip4 describes an IPv4 header; the zero value of what is not an address is the usual.
type ip4 struct {
	src, dst       netip.Addr
	tos, ttl       byte
	protocol       byte
	fragment       uint16 // with DF and MF
	options        []byte
	wrongSum       bool
	identification uint16
}

func (h ip4) with(payload []byte) []byte {
	b := make([]byte, 20, 20+len(h.options)+len(payload))
	b = append(append(b, h.options...), payload...)
	size := 20 + len(h.options)
	b[0], b[1], b[8], b[9] = byte(0x40|size/4), h.tos, or(h.ttl, 64), or(h.protocol, unix.IPPROTO_UDP)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], or(h.identification, 77))
	binary.BigEndian.PutUint16(b[6:], h.fragment)
	copy(b[12:], h.src.AsSlice())
	copy(b[16:], h.dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum16(b[:size])))
	if h.wrongSum {
		b[11]++
	}
	return b
}

// tunnelled describes what is around an inner packet; the zero value is what a good node sends.
type tunnelled struct {
	outer    ip4
	vni      uint32
	flags    uint32
	mac      plan.MAC
	checksum int // of the outer UDP header: 1 right, 2 wrong
}

func (e tunnelled) around(inner []byte) []byte {
	e.outer.src, e.outer.dst = or(e.outer.src, wireNode), or(e.outer.dst, local)
	e.mac = or(e.mac, device.MAC)
	from := netaddr.VTEPMAC(wireNode)
	b := binary.BigEndian.AppendUint32(nil, or(e.flags, 0x08000000))
	b = binary.BigEndian.AppendUint32(b, or(e.vni, 2)<<8)
	b = append(append(append(b, e.mac[:]...), from[:]...), 8, 0)
	datagram := udp(40001, 8472, append(b, inner...))
	if e.checksum > 0 {
		pseudo := append(append(e.outer.src.AsSlice(), e.outer.dst.AsSlice()...), 0, unix.IPPROTO_UDP)
		pseudo = append(append(pseudo, datagram[4:6]...), datagram...)
		if len(pseudo)%2 == 1 {
			pseudo = append(pseudo, 0)
		}
		binary.BigEndian.PutUint16(datagram[6:], ^uint16(sum16(pseudo))+uint16(e.checksum-1))
	}
	return e.outer.with(datagram)
}

// conformanceCase is a packet, or several, and how many frames the gateway makes of it.
type conformanceCase struct {
	name    string
	packets [][]byte
	frames  int
	fast    int // how many of the packets are the fast path's
}

const dontFragment, moreFragments = 0x4000, 0x2000

func conformanceCases() []conformanceCase {
	data := udp(7, 7, bytes.Repeat([]byte{0xa5}, 40))
	long := func(n int) []byte { return udp(7, 7, bytes.Repeat([]byte{0xa5}, n-28)) }
	up, down := ip4{src: wirePod, dst: wireCloud}, ip4{src: wireCloud, dst: wirePod}
	upWith := func(change func(h *ip4), payload []byte) []byte {
		h := up
		change(&h)
		return tunnelled{}.around(h.with(payload))
	}
	downWith := func(change func(h *ip4), payload []byte) []byte {
		h := down
		change(&h)
		return h.with(payload)
	}
	plain := up.with(data)
	options := []byte{1, 1, 1, 1} // no operation
	one := func(p []byte) [][]byte { return [][]byte{p} }
	tcp := make([]byte, 20)
	tcp[12], tcp[13] = 5<<4, 0x10 // an acknowledgement
	syn := bytes.Clone(tcp)
	syn[13] = 2
	echo := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}
	big := tunnelled{}.around(up.with(long(600)))[20:] // a UDP datagram
	outer := ip4{src: wireNode, dst: local}
	pieces := func(h ip4, b []byte, at int) [][]byte {
		first, last := h, h
		first.fragment, last.fragment = moreFragments, uint16(at/8)
		return [][]byte{first.with(b[:at]), last.with(b[at:])}
	}
	cases := []conformanceCase{
		{"up", one(tunnelled{}.around(plain)), 1, 1},
		{"up, TCP", one(upWith(func(h *ip4) { h.protocol = unix.IPPROTO_TCP }, tcp)), 1, 1},
		{"up, opening a TCP connection", one(upWith(func(h *ip4) { h.protocol = unix.IPPROTO_TCP }, syn)), 1, 0},
		{"up, part of a TCP header", one(upWith(func(h *ip4) { h.protocol = unix.IPPROTO_TCP }, tcp[:13])), 1, 0},
		{"up, ICMP", one(upWith(func(h *ip4) { h.protocol = unix.IPPROTO_ICMP }, echo)), 1, 1},
		{"up, an unknown protocol", one(upWith(func(h *ip4) { h.protocol = 253 }, data)), 1, 1},
		{"up, DSCP", one(upWith(func(h *ip4) { h.tos = 0xb8 }, data)), 1, 1},
		{"up, DSCP outside", one(tunnelled{outer: ip4{tos: 0xb8}}.around(plain)), 1, 1},
		{"up, DF", one(upWith(func(h *ip4) { h.fragment = dontFragment }, data)), 1, 1},
		{"up, last hop but one", one(upWith(func(h *ip4) { h.ttl = 2 }, data)), 1, 1},
		{"up, last hop: time exceeded", one(upWith(func(h *ip4) { h.ttl = 1 }, data)), 1, 0},
		{"up, outer last hop", one(tunnelled{outer: ip4{ttl: 1}}.around(plain)), 1, 1},
		{"up, options", one(upWith(func(h *ip4) { h.options = options }, data)), 1, 0},
		{"up, outer options", one(tunnelled{outer: ip4{options: options}}.around(plain)), 1, 0},
		{"up, outer fragments", pieces(outer, big, 320), 1, 0},
		{"up, inner fragments", [][]byte{
			upWith(func(h *ip4) { h.fragment = moreFragments }, data), upWith(func(h *ip4) { h.fragment = 6 }, data)}, 2, 0},
		{"up, full size", one(upWith(func(*ip4) {}, long(1450))), 1, 1},
		{"up, too large for a route: fragmentation needed", one(upWith(func(h *ip4) { h.dst, h.fragment = wireNarrow, dontFragment }, long(1200))), 1, 0},
		{"up, too large for a route: fragmented", one(upWith(func(h *ip4) { h.dst = wireNarrow }, long(1200))), 2, 0},
		{"up, just fits a route", one(upWith(func(h *ip4) { h.dst = wireNarrow }, long(1000))), 1, 1},
		{"up, to the gateway: port unreachable", one(upWith(func(h *ip4) { h.dst = local }, data)), 1, 0},
		{"up, to a broadcast", one(upWith(func(h *ip4) { h.dst = netip.MustParseAddr("10.0.1.255") }, data)), 0, 0},
		{"up, wrong header checksum", one(upWith(func(h *ip4) { h.wrongSum = true }, data)), 0, 0},
		{"up, wrong outer header checksum", one(tunnelled{outer: ip4{wrongSum: true}}.around(plain)), 0, 0},
		{"up, padded", one(tunnelled{}.around(append(bytes.Clone(plain), make([]byte, 6)...))), 1, 0},
		{"up, cut off", one(tunnelled{}.around(plain[:len(plain)-4])), 0, 0},
		{"up, outer UDP checksum", one(tunnelled{checksum: 1}.around(plain)), 1, 0},
		{"up, wrong outer UDP checksum", one(tunnelled{checksum: 2}.around(plain)), 0, 0},
		{"up, to another MAC", one(tunnelled{mac: plan.MAC{2, 0, 0, 0, 0, 9}}.around(plain)), 0, 0},
		{"up, other VNI", one(tunnelled{vni: 3}.around(plain)), 0, 0},
		{"up, no VNI", one(tunnelled{flags: 0x04000000}.around(plain)), 0, 0},
		{"up, reserved bit", one(tunnelled{flags: 0x08000001}.around(plain)), 0, 0},
		{"up, unknown node", one(tunnelled{outer: ip4{src: wireCloud}}.around(plain)), 0, 0},
		{"up, another node's pod", one(upWith(func(h *ip4) { h.src = netip.MustParseAddr("100.127.2.7") }, data)), 0, 0},
		{"up, a pod of nobody", one(upWith(func(h *ip4) { h.src = netip.MustParseAddr("100.127.3.7") }, data)), 0, 0},
		{"up, from the cloud", one(upWith(func(h *ip4) { h.src = wireNarrow }, data)), 0, 0},
		{"up, to elsewhere", one(upWith(func(h *ip4) { h.dst = netip.MustParseAddr("8.8.8.8") }, data)), 0, 0},
		{"up, to another pod", one(upWith(func(h *ip4) { h.dst = netip.MustParseAddr("100.127.2.7") }, data)), 0, 0},

		{"down", one(down.with(data)), 1, 1},
		{"down, TCP", one(downWith(func(h *ip4) { h.protocol = unix.IPPROTO_TCP }, tcp)), 1, 1},
		{"down, opening a TCP connection", one(downWith(func(h *ip4) { h.protocol = unix.IPPROTO_TCP }, syn)), 1, 0},
		{"down, part of a TCP header", one(downWith(func(h *ip4) { h.protocol = unix.IPPROTO_TCP }, tcp[:13])), 1, 0},
		{"down, ICMP", one(downWith(func(h *ip4) { h.protocol = unix.IPPROTO_ICMP }, echo)), 1, 1},
		{"down, an unknown protocol", one(downWith(func(h *ip4) { h.protocol = 253 }, data)), 1, 1},
		{"down, DF", one(downWith(func(h *ip4) { h.fragment = dontFragment }, data)), 1, 1},
		{"down, last hop but one", one(downWith(func(h *ip4) { h.ttl = 2 }, data)), 1, 1},
		{"down, last hop: time exceeded", one(downWith(func(h *ip4) { h.ttl = 1 }, data)), 1, 0},
		{"down, options", one(downWith(func(h *ip4) { h.options = options }, data)), 1, 0},
		{"down, fragments", pieces(down, long(600), 320), 2, 0},
		{"down, full size", one(down.with(long(1450))), 1, 1},
		{"down, too large: fragmentation needed", one(downWith(func(h *ip4) { h.fragment = dontFragment }, long(1451))), 1, 0},
		{"down, too large: fragmented", one(down.with(long(1451))), 2, 0},
		{"down, padded", one(append(down.with(data), make([]byte, 6)...)), 1, 0},
		{"down, cut off", one(down.with(data)[:60]), 0, 0},
		{"down, wrong header checksum", one(downWith(func(h *ip4) { h.wrongSum = true }, data)), 0, 0},
		{"down, from the gateway itself", one(downWith(func(h *ip4) { h.src = local }, data)), 0, 0},
		{"down, from loopback", one(downWith(func(h *ip4) { h.src = netip.MustParseAddr("127.0.0.1") }, data)), 0, 0},
		{"down, from a multicast address", one(downWith(func(h *ip4) { h.src = netip.MustParseAddr("224.0.0.9") }, data)), 0, 0},
		{"down, to a pod of nobody: out by the default route", one(downWith(func(h *ip4) { h.dst = netip.MustParseAddr("100.127.3.7") }, data)), 1, 0},
		{"down, to an unknown UDP port", one(downWith(func(h *ip4) { h.dst = local }, data)), 1, 0},
	}
	// The ECN field in all combinations. What the outer header tells of congestion is the kernel's to carry over, or to drop (RFC 6040).
	for outside := range byte(4) {
		for inside := range byte(4) {
			c := conformanceCase{name: fmt.Sprintf("up, ECN %d outside, %d inside", outside, inside), frames: 1, fast: 1,
				packets: one(tunnelled{outer: ip4{tos: outside}}.around(ip4{src: wirePod, dst: wireCloud, tos: inside}.with(data)))}
			if outside == 3 || outside == 1 && inside == 2 {
				c.fast = 0
			}
			if outside == 3 && inside == 0 {
				c.frames = 0
			}
			cases = append(cases, c)
		}
		cases = append(cases, conformanceCase{fmt.Sprintf("down, ECN %d", outside), one(downWith(func(h *ip4) { h.tos = 0x48 | outside }, data)), 1, 1})
	}
	return cases
}

// TestPrivilegedBothPathsAreAlike: of each packet becomes the same with the fast path and without, and however the kernel is programmed, byte
// by byte, and the guard counts the same. Those that the fast path is for are taken by it, and no others; on a flow-based device, none are.
func TestPrivilegedBothPathsAreAlike(t *testing.T) {
	for name, df := range map[string]bool{"outer packets may be fragmented": false, "and may not": true} {
		t.Run(name, func(t *testing.T) { bothPathsAreAlike(t, newWire(t, df)) })
	}
}

func bothPathsAreAlike(t *testing.T, w *wire) {
	cases := conformanceCases()
	type result struct {
		frames []string
		drops  map[string]uint64
	}
	run := func(c conformanceCase) result {
		before, err := w.kernel.GuardDrops()
		if err != nil {
			t.Fatal(err)
		}
		frames := w.outcome(t, c.packets, c.frames)
		drops, err := w.kernel.GuardDrops()
		if err != nil {
			t.Fatal(err)
		}
		for reason := range drops {
			drops[reason] -= before[reason]
		}
		// Fragments may come in either order.
		slices.Sort(frames)
		return result{frames, drops}
	}
	slow := make([]result, len(cases))
	for i, c := range cases {
		slow[i] = run(c)
		if len(slow[i].frames) != c.frames {
			t.Errorf("%s: the kernel makes %d frames of it, want %d: %v", c.name, len(slow[i].frames), c.frames, slow[i].frames)
		}
	}
	compare := func(way string, takes func(c conformanceCase) int) {
		for i, c := range cases {
			before := w.taken(t)
			got := run(c)
			if n, want := w.taken(t)-before, takes(c)+takes(fence); n != uint64(want) {
				t.Errorf("%s: %s, the fast path took %d packets, the fence included, want %d", c.name, way, n, want)
			}
			if !slices.Equal(got.frames, slow[i].frames) || !maps.Equal(got.drops, slow[i].drops) {
				t.Errorf("%s: %s\n%v, dropped %v, else\n%v, dropped %v", c.name, way, got.frames, got.drops, slow[i].frames, slow[i].drops)
			}
		}
	}
	attach := func() {
		if err := w.fast.Attach("eth0", w.desired.OuterDF); err != nil {
			t.Fatal(err)
		}
	}
	none := func(conformanceCase) int { return 0 }
	attach()
	compare("with the fast path", func(c conformanceCase) int { return c.fast })
	if err := w.fast.Detach(); err != nil {
		t.Fatal(err)
	}
	converge(t, w.kernel, flowBased(w.desired))
	compare("flow-based", none)
	attach()
	compare("flow-based, with the fast path", none)
}

// fence is what outcome sends after a case.
var fence = conformanceCase{fast: 1}

// TestPrivilegedFastPathHeedsPathMTU: once a router has said that the path to a node carries less, what is larger goes the kernel's way, which tells
// the sender.
func TestPrivilegedFastPathHeedsPathMTU(t *testing.T) {
	w := newWire(t, true)
	if err := w.fast.Attach("eth0", true); err != nil {
		t.Fatal(err)
	}
	large := ip4{src: wireCloud, dst: wirePod, fragment: dontFragment}.with(udp(7, 7, make([]byte, 1400)))
	w.send(t, w.ethernet(large))
	sent := w.receive(t, 20*time.Second)
	if w.taken(t) != 1 || sent == nil {
		t.Fatal("a large packet did not take the fast path")
	}
	needed := []byte{3, 4, 0, 0, 0, 0, 1300 >> 8, 1300 & 0xff}
	needed = append(needed, sent[14:14+60]...)
	binary.BigEndian.PutUint16(needed[2:], ^uint16(sum16(needed)))
	w.send(t, w.ethernet(ip4{src: netip.MustParseAddr("10.0.1.99"), dst: local, protocol: unix.IPPROTO_ICMP}.with(needed)))
	// The first may be lost, as the kernel learns of the inner MTU by it.
	for range 100 {
		w.send(t, w.ethernet(large))
		if answer := w.receive(t, 200*time.Millisecond); answer != nil {
			icmp := answer[14+20:]
			if answer[14+9] != unix.IPPROTO_ICMP || icmp[0] != 3 || icmp[1] != 4 || binary.BigEndian.Uint16(icmp[6:]) != 1300-plan.Overhead {
				t.Errorf("what comes is no \"fragmentation needed\": %x", answer)
			}
			if n := w.taken(t); n != 1 {
				t.Errorf("%d packets took the fast path, want the first alone", n)
			}
			return
		}
	}
	t.Error("the sender is not told")
}

// taken is how many packets have taken the fast path.
func (w *wire) taken(t *testing.T) uint64 {
	t.Helper()
	c, err := w.fast.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c.RxPackets + c.TxPackets
}
