package fastpath

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// What the program says of a packet (include/uapi/linux/bpf.h).
const (
	tcxNext     = ^uint32(0) // the kernel's way
	tcxRedirect = 7
)

// errSelfTest says that the kernel does with a packet something else than it should.
var errSelfTest = errors.New("the self-test of the fast path failed")

// The self-test's packets go between these.
var (
	sampleHop   = netip.AddrFrom4([4]byte{192, 0, 2, 1}) // and remote end
	samplePod   = netip.AddrFrom4([4]byte{198, 51, 100, 1})
	sampleCloud = netip.AddrFrom4([4]byte{203, 0, 113, 1})
)

const (
	sampleTTL   = 64
	shellLength = plan.Overhead
	etherLength = 14
)

// selfTest runs the program, with everything but the routes, on packets that it should unwrap, wrap, and leave alone.
func selfTest(spec *ebpf.CollectionSpec, c Config) error {
	spec = spec.Copy()
	if err := configure(spec, c, place{outerTTL: sampleTTL, ports: portRange{1000, 1001}}, sampleHop); err != nil {
		return err
	}
	var objects programObjects
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return explain("load the program", err)
	}
	defer objects.Close()
	if err := allow(objects.Vpc, []netip.Prefix{netip.PrefixFrom(sampleCloud, 32)}); err != nil {
		return err
	}
	for _, s := range samples(c.Device) {
		verdict, out, err := objects.Forward.Test(s.in)
		if err != nil {
			return explain("run the program on a sample", err)
		}
		if s.out == nil {
			if verdict != tcxNext || !bytes.Equal(out, s.in) {
				return fmt.Errorf("%w: a packet %s was not left alone", errSelfTest, s.name)
			}
			continue
		}
		if s.wrapped && len(out) >= etherLength+shellLength {
			copyIdentity(s.out, out)
		}
		if verdict != tcxRedirect || !bytes.Equal(out, s.out) {
			return fmt.Errorf("%w: a packet %s became, with verdict %d,\n%x\nnot\n%x", errSelfTest, s.name, int32(verdict), out, s.out)
		}
	}
	return nil
}

// copyIdentity takes over the outer identification, which is random, and so the checksum over it.
func copyIdentity(to, from []byte) {
	header := to[etherLength : etherLength+20]
	copy(header[4:6], from[etherLength+4:])
	putChecksum(header)
}

// sample is a frame and what should become of it; without out it is to be left alone.
type sample struct {
	name    string
	in, out []byte
	wrapped bool
}

func samples(d plan.Device) []sample {
	payload := bytes.Repeat([]byte{0xa5}, 40)
	inner := func(src, dst netip.Addr, ttl byte) []byte { return ipv4(src, dst, ttl, udp(7, 7, payload)) }
	tunnelled := func(outer, inside []byte) []byte { return frame(append(outer, inside...)) }
	shell := func(src, dst netip.Addr, vni uint32, srcMAC, dstMAC plan.MAC, inside []byte) []byte {
		vxlan := binary.BigEndian.AppendUint32([]byte{8, 0, 0, 0}, vni<<8)
		vxlan = append(append(append(vxlan, dstMAC[:]...), srcMAC[:]...), 8, 0)
		packet := ipv4(src, dst, sampleTTL, udp(1000, d.Port, append(vxlan, inside...)))
		return packet[:shellLength]
	}
	in := func(vni uint32, inside []byte) []byte {
		return tunnelled(shell(sampleHop, d.Local, vni, netaddr.VTEPMAC(sampleHop), d.MAC, inside), inside)
	}
	fromPod, toPod := inner(samplePod, sampleCloud, sampleTTL), inner(sampleCloud, samplePod, sampleTTL)
	fragment := bytes.Clone(toPod)
	fragment[6] = 0x20 // more fragments
	putChecksum(fragment[:20])
	broken := bytes.Clone(toPod)
	broken[10]++
	congested := in(d.VNI, fromPod)
	congested[etherLength+1] = 3
	putChecksum(congested[etherLength : etherLength+20])
	sent := inner(sampleCloud, samplePod, sampleTTL-1)
	return []sample{
		{name: "out of the tunnel", in: in(d.VNI, fromPod), out: frame(inner(samplePod, sampleCloud, sampleTTL-1))},
		{name: "into the tunnel", in: frame(toPod), wrapped: true,
			out: tunnelled(shell(d.Local, sampleHop, d.VNI, d.MAC, netaddr.VTEPMAC(sampleHop), sent), sent)},
		{name: "of another tunnel", in: in(d.VNI+1, fromPod)},
		{name: "that congestion was met by", in: congested},
		{name: "out of the tunnel to elsewhere", in: in(d.VNI, inner(samplePod, samplePod, sampleTTL))},
		{name: "out of the tunnel at its last hop", in: in(d.VNI, inner(samplePod, sampleCloud, 1))},
		{name: "into the tunnel at its last hop", in: frame(inner(sampleCloud, samplePod, 1))},
		{name: "that is a fragment", in: frame(fragment)},
		{name: "with a wrong checksum", in: frame(broken)},
		{name: "to this host", in: frame(inner(sampleCloud, d.Local, sampleTTL))},
		{name: "that is not IPv4", in: append(make([]byte, 12), append([]byte{0x86, 0xdd}, make([]byte, 60)...)...)},
	}
}

// frame puts an Ethernet header before an IPv4 packet. Its addresses are those of the loopback interface, which the kernel lets samples come from.
func frame(packet []byte) []byte {
	return append(append(make([]byte, 12), 8, 0), packet...)
}

func udp(from, to uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, from)
	b = binary.BigEndian.AppendUint16(b, to)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

func ipv4(src, dst netip.Addr, ttl byte, payload []byte) []byte {
	b := append([]byte{0x45, 0, 0, 0, 0, 0, 0, 0, ttl, unix.IPPROTO_UDP, 0, 0}, src.AsSlice()...)
	b = append(b, dst.AsSlice()...)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(payload)))
	putChecksum(b)
	return append(b, payload...)
}

// putChecksum sets the checksum of an IPv4 header (RFC 791).
func putChecksum(header []byte) {
	header[10], header[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(header[10:], ^uint16(sum>>16+sum))
}
