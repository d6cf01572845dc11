package kernel

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/netnstest"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// street is a gateway between a WAN, where anybody may send anything, and a cloud with a listener.
type street struct {
	gateway, wan *netnstest.Namespace
	kernel       *Kernel
	raw          int // sends what it is given, outer IPv4 header included
	cloud        *net.UDPConn
	fence        uint16 // mark of the last good packet that follows another
}

func newStreet(t testing.TB) *street {
	t.Helper()
	s := &street{gateway: netnstest.New(t), wan: netnstest.New(t)}
	cloud := netnstest.New(t)
	netnstest.Veth(t, s.gateway, "eth0", "10.0.1.10/24", s.wan, "to-gw", "10.0.1.1/24")
	netnstest.Veth(t, s.gateway, "eth1", "10.0.2.1/24", cloud, "eth0", "10.0.2.20/24")
	cloud.SetUp(t, "lo", "172.31.0.5/32")
	cloud.Route(t, "0.0.0.0/0", "10.0.2.1")
	s.gateway.Route(t, "172.31.0.0/16", "10.0.2.20")
	s.gateway.Route(t, "0.0.0.0/0", "10.0.1.1")
	s.kernel = open(t, s.gateway)
	s.wan.Run(t, func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			t.Fatal(err)
		}
		s.raw = fd
		t.Cleanup(func() { unix.Close(fd) })
	})
	cloud.Run(t, func() {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{Port: 7000})
		if err != nil {
			t.Fatal(err)
		}
		s.cloud = conn
		t.Cleanup(func() { conn.Close() })
	})
	return s
}

// forged is a VXLAN packet; the zero value of a field is what a good one has.
type forged struct {
	outer, inner, to string
	vni              uint32
	etherType        uint16
	options          bool // the inner header has IP options
	outerOptions     bool
	fragments        bool // the outer packet comes in two pieces
	length           int  // cut to so many bytes of UDP payload
}

const goodOuter, goodInner, goodTo = "192.168.1.11", "100.64.1.10", "10.0.2.20"

func or[T comparable](v, zero T) T {
	var none T
	if v == none {
		return zero
	}
	return v
}

func ipv4(src, dst string, protocol byte, options, payload []byte, id, fragment uint16) []byte {
	b := make([]byte, 20, 20+len(options)+len(payload))
	b = append(append(b, options...), payload...)
	size := 20 + len(options)
	b[0], b[8], b[9] = byte(0x40|size/4), 64, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], fragment)
	copy(b[12:], netip.MustParseAddr(src).AsSlice())
	copy(b[16:], netip.MustParseAddr(dst).AsSlice())
	sum := uint32(0)
	for i := 0; i < size; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum>>16+sum))
	return b
}

func udp(from, to uint16, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b[0:], from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

// packets are the outer packets for f.
func (f forged) packets(mark uint16) [][]byte {
	var options []byte
	if f.options {
		options = []byte{1, 1, 1, 1} // no operation
	}
	inner := ipv4(or(f.inner, goodInner), or(f.to, goodTo), unix.IPPROTO_UDP, options, udp(9, 7000, binary.BigEndian.AppendUint16(make([]byte, 200), mark)), mark, 0)
	gatewayMAC := netaddr.VTEPMAC(local)
	vxlan := []byte{8, 0, 0, 0}
	vxlan = binary.BigEndian.AppendUint32(vxlan, or(f.vni, 2)<<8)
	vxlan = append(vxlan, gatewayMAC[:]...)
	vxlan = append(vxlan, 2, 0, 0, 0, 0, 1)
	vxlan = binary.BigEndian.AppendUint16(vxlan, or(f.etherType, unix.ETH_P_IP))
	vxlan = append(vxlan, inner...)
	if f.length > 0 {
		vxlan = vxlan[:f.length]
	}
	datagram := udp(40000+mark, 8472, vxlan)
	options = nil
	if f.outerOptions {
		options = []byte{1, 1, 1, 1}
	}
	outer := or(f.outer, goodOuter)
	if !f.fragments {
		return [][]byte{ipv4(outer, local.String(), unix.IPPROTO_UDP, options, datagram, mark, 0)}
	}
	const cut = 24 // the second piece begins inside of the inner Ethernet header
	return [][]byte{
		ipv4(outer, local.String(), unix.IPPROTO_UDP, options, datagram[:cut], mark, 0x2000),
		ipv4(outer, local.String(), unix.IPPROTO_UDP, options, datagram[cut:], mark, cut/8),
	}
}

// arrives sends f and tells whether it arrived within the time that a stalled processor may keep it.
func (s *street) arrives(t *testing.T, f forged, mark uint16) bool {
	t.Helper()
	s.send(t, f, mark)
	_ = s.cloud.SetReadDeadline(time.Now().Add(20 * time.Second))
	buf := make([]byte, 2048)
	for {
		n, err := s.cloud.Read(buf)
		if err != nil {
			return false
		}
		if binary.BigEndian.Uint16(buf[n-2:]) == mark {
			return true
		}
	}
}

// passes is for packets that are to be dropped: it sends f and then a good packet, and tells whether f arrived before that or soon
// after, since packets may overtake each other where processors change.
func (s *street) passes(t *testing.T, f forged, mark uint16) bool {
	t.Helper()
	s.send(t, f, mark)
	passed, fenced := false, false
	buf := make([]byte, 2048)
	for range 50 { // the good one is repeated: it is not what is tested
		s.fence = max(s.fence, 20000) + 1
		s.send(t, forged{}, s.fence)
		_ = s.cloud.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		for !passed || !fenced {
			n, err := s.cloud.Read(buf)
			if err != nil {
				break
			}
			switch binary.BigEndian.Uint16(buf[n-2:]) {
			case mark:
				passed = true
			case s.fence:
				fenced = true
				_ = s.cloud.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			}
		}
		if fenced {
			return passed
		}
	}
	t.Fatal("no good packet arrives")
	return false
}

func (s *street) send(t testing.TB, f forged, mark uint16) {
	t.Helper()
	for _, p := range f.packets(mark) {
		if err := unix.Sendto(s.raw, p, 0, &unix.SockaddrInet4{Addr: local.As4()}); err != nil {
			t.Fatalf("send %+v: %v", f, err)
		}
	}
}

func (s *street) drops(t *testing.T) map[string]uint64 {
	t.Helper()
	drops, err := s.kernel.GuardDrops()
	if err != nil {
		t.Fatal(err)
	}
	return drops
}

// somebodyElse is another program that can change the gateway's rules.
func (s *street) somebodyElse(t *testing.T) *nftables.Conn {
	t.Helper()
	var c *nftables.Conn
	s.gateway.Run(t, func() {
		var err error
		if c, err = nftables.New(nftables.AsLasting()); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { _ = c.CloseLasting() })
	return c
}

// TestPrivilegedForgedPackets sends raw packets that break each rule of the guard; and the same ones with the guard off, which shows that it
// was the guard that stopped them.
func TestPrivilegedForgedPackets(t *testing.T) { inEachMode(t, forgedPackets) }

func forgedPackets(t *testing.T, in mode) {
	s := newStreet(t)
	d := in(desired(vtep("a", goodOuter, "100.64.1.0/24", "100.66.0.0/20"), vtep("b", "192.168.1.12", "100.64.2.0/24", "100.67.1.1/32")))
	converge(t, s.kernel, d)
	cases := []struct {
		name   string
		packet forged
		reason string // why it is dropped; empty when it passes
		harms  bool   // it would pass without the guard
	}{
		{"good", forged{}, "", true},
		{"of the node's second network", forged{inner: "100.66.15.254"}, "", true},
		{"of the other node", forged{outer: "192.168.1.12", inner: "100.64.2.9"}, "", true},
		{"of a network of one address", forged{outer: "192.168.1.12", inner: "100.67.1.1"}, "", true},
		{"good with inner options", forged{options: true}, "", true},
		{"good with outer options", forged{outerOptions: true}, "", true},
		{"good in fragments", forged{fragments: true}, "", true},
		{"unknown outer source", forged{outer: "192.168.1.99"}, reasonOuterSource, true},
		{"unknown outer source in fragments", forged{outer: "192.168.1.99", fragments: true}, reasonOuterSource, true},
		{"inner source of another node", forged{inner: "100.64.2.10"}, reasonInnerSource, true},
		{"inner source of another node in fragments", forged{inner: "100.64.2.10", fragments: true}, reasonInnerSource, true},
		{"inner source of another node with inner options", forged{inner: "100.64.2.10", options: true}, reasonInnerSource, true},
		{"inner source of another node with outer options", forged{inner: "100.64.2.10", outerOptions: true}, reasonInnerSource, true},
		{"inner source just outside", forged{inner: "100.66.16.1"}, reasonInnerSource, true},
		{"inner source of the cloud", forged{inner: "10.0.2.99"}, reasonInnerSource, true},
		{"inner source the node itself", forged{inner: goodOuter}, reasonInnerSource, true},
		{"inner destination outside the VPC", forged{to: "172.31.0.5"}, reasonInnerDestination, true},
		{"inner destination another pod", forged{to: "100.64.2.10"}, reasonInnerDestination, false},
		{"other VNI", forged{vni: 3}, reasonVNI, false},
		{"inner IPv6", forged{etherType: unix.ETH_P_IPV6}, reasonInnerProtocol, false},
		{"inner ARP", forged{etherType: unix.ETH_P_ARP}, reasonInnerProtocol, false},
		{"inner VLAN", forged{etherType: unix.ETH_P_8021Q}, reasonInnerProtocol, false},
		{"ends in the VXLAN header", forged{length: 5}, reasonMalformed, false},
		{"ends in the inner addresses", forged{length: 8 + 14 + 14}, reasonMalformed, false},
		{"ends in the inner destination", forged{length: 8 + 14 + 18}, reasonInnerDestination, false},
	}
	for i, c := range cases {
		want := s.drops(t)
		if c.reason == "" {
			if !s.arrives(t, c.packet, uint16(100+i)) {
				t.Errorf("%s: does not pass", c.name)
			}
		} else {
			if s.passes(t, c.packet, uint16(100+i)) {
				t.Errorf("%s: passes", c.name)
			}
			want[c.reason]++
		}
		got := s.drops(t)
		for deadline := time.Now().Add(20 * time.Second); !maps.Equal(got, want) && time.Now().Before(deadline); got = s.drops(t) {
			time.Sleep(10 * time.Millisecond) // a stalled processor may keep it
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: dropped %v, want %v", c.name, got, want)
		}
	}
	d.Guard = false
	converge(t, s.kernel, d)
	for i, c := range cases {
		// A flow-based device takes every VNI.
		harms, passes := c.harms || d.Device.Flow && c.reason == reasonVNI, s.passes
		if harms {
			passes = s.arrives
		}
		if passed := passes(t, c.packet, uint16(200+i)); passed != harms {
			t.Errorf("%s, without a guard: passed %v", c.name, passed)
		}
	}
}

// TestPrivilegedGuardSurvives: another process finds the guard as it is, keeps it, and what it counted goes on when it must be made anew.
func TestPrivilegedGuardSurvives(t *testing.T) { inEachMode(t, guardSurvives) }

func guardSurvives(t *testing.T, in mode) {
	s := newStreet(t)
	d := in(desired(vtep("a", goodOuter, "100.64.1.0/24")))
	converge(t, s.kernel, d)
	if s.passes(t, forged{outer: "192.168.1.99"}, 1) {
		t.Fatal("a forged packet passed")
	}
	s.kernel.Close()
	if s.passes(t, forged{outer: "192.168.1.99"}, 2) || !s.arrives(t, forged{}, 3) {
		t.Error("without a process the guard does not do what it did")
	}
	s.kernel = open(t, s.gateway)
	if r := plan.Plan(d, dump(t, s.kernel)); len(r.Ops) > 0 {
		t.Errorf("a restart changes %v", r.Ops)
	}
	starting := in(plan.Desired{Device: device, Source: local, Guard: true})
	if r := plan.Plan(starting, dump(t, s.kernel)); len(r.Ops) > 0 {
		t.Errorf("before the registry has sent anything, a restart changes %v", r.Ops)
	}
	// A prefix length that is new needs new rules.
	if r := converge(t, s.kernel, in(desired(d.VTEPs[0], vtep("b", "192.168.1.12", "100.65.0.0/26")))); kinds(r.Ops[:1]) != "guard-set" {
		t.Errorf("ops %v", r.Ops)
	}
	if n := s.drops(t)[reasonOuterSource]; n != 2 {
		t.Errorf("%d packets counted, want 2", n)
	}
	// Without a guard, and before the registry has sent anything, those whose networks are routed are let through.
	if failures := s.kernel.Apply([]plan.Op{plan.DeleteGuard{}, plan.DeleteGuard{}}); len(failures) > 0 {
		t.Fatal(failures)
	}
	converge(t, s.kernel, starting)
	if !s.arrives(t, forged{}, 4) || s.passes(t, forged{inner: "100.65.0.1"}, 5) {
		t.Error("the guard does not follow from the routes")
	}
}

// TestPrivilegedGuardTampered: whatever others do to the guard, it is seen, told, and put right.
func TestPrivilegedGuardTampered(t *testing.T) {
	s := newStreet(t)
	d := desired(vtep("a", goodOuter, "100.64.1.0/24"), vtep("b", "192.168.1.12", "100.64.2.0/24"))
	converge(t, s.kernel, d)
	other := s.somebodyElse(t)
	changes := watchWith(t, s.gateway, s.kernel.WatchGuard)
	t4 := table()
	judge := &nftables.Chain{Table: t4, Name: "judge"}
	a := plan.Source{Outer: netip.MustParseAddr(goodOuter), Inner: netip.MustParsePrefix("100.64.1.0/24")}
	x := plan.Source{Outer: netip.MustParseAddr("192.168.1.66"), Inner: netip.MustParsePrefix("100.64.6.0/24")}
	tampers := map[string]func() error{
		"table deleted":   func() error { other.DelTable(t4); return nil },
		"ruleset flushed": func() error { other.FlushRuleset(); return nil },
		"chain flushed":   func() error { other.FlushChain(judge); return nil },
		"rules flushed":   func() error { other.FlushTable(t4); return nil },
		"rule inserted": func() error {
			other.InsertRule(&nftables.Rule{Table: t4, Chain: judge, Exprs: verdict(expr.VerdictAccept, "")})
			return nil
		},
		"rule added": func() error {
			other.AddRule(&nftables.Rule{Table: t4, Chain: judge, Exprs: drop(reasonVNI)})
			return nil
		},
		"chain added": func() error { other.AddChain(&nftables.Chain{Table: t4, Name: "x"}); return nil },
		"set added": func() error {
			return other.AddSet(&nftables.Set{Table: t4, Name: "x", KeyType: nftables.TypeIPAddr}, nil)
		},
		"set flushed": func() error { other.FlushSet(sourcesSet(t4, 24)); return nil },
		"source removed": func() error {
			return other.SetDeleteElements(sourcesSet(t4, 24), []nftables.SetElement{{Key: sourceKey(a)}})
		},
		"source added": func() error {
			return other.SetAddElements(sourcesSet(t4, 24), []nftables.SetElement{{Key: sourceKey(x)}})
		},
		"node removed": func() error {
			return other.SetDeleteElements(outersSet(t4), []nftables.SetElement{{Key: a.Outer.AsSlice()}})
		},
		"node added": func() error {
			return other.SetAddElements(outersSet(t4), []nftables.SetElement{{Key: x.Outer.AsSlice()}})
		},
	}
	for name, tamper := range tampers {
		t.Run(name, func(t *testing.T) {
			before := dump(t, s.kernel)
			for len(changes) > 0 {
				<-changes
			}
			if err := tamper(); err != nil {
				t.Fatal(err)
			}
			if err := other.Flush(); err != nil {
				t.Fatal(err)
			}
			target := plan.Compile(d)
			for told := false; !told; {
				select {
				case c := <-changes:
					told = !target.Explains(before, c)
				case <-time.After(20 * time.Second):
					t.Fatal("nothing was told")
				}
			}
			if r := converge(t, s.kernel, d); len(r.Ops) == 0 {
				t.Error("nothing was found to mend")
			}
			if s.passes(t, forged{outer: "192.168.1.66", inner: "100.64.6.1"}, 1) || !s.arrives(t, forged{}, 2) {
				t.Error("the guard does not do what it should")
			}
		})
	}
}

// TestPrivilegedGuardOwnChangesAreExplained: what we do to the guard for a node asks for no look at the whole kernel.
func TestPrivilegedGuardOwnChangesAreExplained(t *testing.T) {
	s := newStreet(t)
	converge(t, s.kernel, desired(vtep("a", goodOuter, "100.64.1.0/24")))
	actual := dump(t, s.kernel)
	changes := watchWith(t, s.gateway, s.kernel.WatchGuard)
	other := s.somebodyElse(t)
	mark := plan.Source{Outer: netip.MustParseAddr("192.168.1.66"), Inner: netip.MustParsePrefix("100.64.6.0/24")}
	told := 0
	for _, d := range []plan.Desired{
		desired(vtep("a", goodOuter, "100.64.1.0/24"), vtep("b", "192.168.1.12", "100.64.2.0/24")),
		desired(vtep("b", "192.168.1.12", "100.64.1.0/24")),
	} {
		target := plan.Compile(d)
		ops := target.Plan(actual).Ops
		if failures := s.kernel.Apply(ops); len(failures) > 0 {
			t.Fatal(failures)
		}
		for _, op := range ops {
			actual.Apply(op)
		}
		// A mark after it all, which goes again.
		for gone, change := range []func(*nftables.Set, []nftables.SetElement) error{other.SetAddElements, other.SetDeleteElements} {
			if err := change(sourcesSet(table(), 24), []nftables.SetElement{{Key: sourceKey(mark)}}); err != nil {
				t.Fatal(err)
			}
			if err := other.Flush(); err != nil {
				t.Fatal(err)
			}
			await(t, changes, "the mark", func(c plan.Change) bool {
				if c.Source == mark {
					return c.Gone == (gone == 1)
				}
				told++
				if !target.Explains(actual, c) {
					t.Errorf("unexplained: %+v", c)
				}
				return false
			})
		}
	}
	if told == 0 {
		t.Error("nothing was told")
	}
	if fmt.Sprint(dump(t, s.kernel).Guard) != fmt.Sprint(actual.Guard) {
		t.Error("the picture is not the kernel")
	}
}
