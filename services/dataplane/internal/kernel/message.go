package kernel

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// The kernel's constants that x/sys/unix does not have (include/uapi/linux/{ip,if_link,if_tunnel,lwtunnel,rtnetlink,neighbour,netconf}.h).
const (
	devconfForwarding    = 1
	devconfSendRedirects = 6
	devconfRPFilter      = 8
	addrGenModeNone      = 1
	ndaNextHopID         = 13
	rtaNextHopID         = 30
	lwtunnelEncapIP      = 2 // LWTUNNEL_ENCAP_IP
	lwtunnelIPID         = 1
	lwtunnelIPDst        = 2
	lwtunnelIPSrc        = 3
	lwtunnelIPTTL        = 4
	lwtunnelIPTOS        = 5
	lwtunnelIPFlags      = 6
	lwtunnelIPOpts       = 8
	tunnelDontFragment   = 0x0100 // TUNNEL_DONT_FRAGMENT, in network order
	netconfaIfindex      = 1
	netconfaForwarding   = 2
	netconfaRPFilter     = 3
	netconfaAll          = 0xffffffff // NETCONFA_IFINDEX_ALL is -1
	sizeofNetconfmsg     = 1
)

var errTruncated = errors.New("truncated netlink message")

// message is a netlink message under construction. Lengths are filled in by finish.
type message struct{ b []byte }

func newMessage(typ uint16, flags uint16) *message {
	m := &message{b: make([]byte, unix.SizeofNlMsghdr, 128)}
	binary.NativeEndian.PutUint16(m.b[4:], typ)
	binary.NativeEndian.PutUint16(m.b[6:], unix.NLM_F_REQUEST|flags)
	return m
}

func (m *message) raw(b ...byte) *message {
	m.b = append(m.b, b...)
	m.pad()
	return m
}

func (m *message) pad() {
	for len(m.b)%4 != 0 {
		m.b = append(m.b, 0)
	}
}

func (m *message) attr(typ uint16, value ...byte) *message {
	m.b = binary.NativeEndian.AppendUint16(m.b, uint16(4+len(value)))
	m.b = binary.NativeEndian.AppendUint16(m.b, typ)
	m.b = append(m.b, value...)
	m.pad()
	return m
}

func (m *message) attr32(typ uint16, v uint32) *message {
	return m.attr(typ, binary.NativeEndian.AppendUint32(nil, v)...)
}

func (m *message) attrAddr(typ uint16, a netip.Addr) *message { return m.attr(typ, a.AsSlice()...) }

// nest makes the attributes that inside adds the value of one attribute.
func (m *message) nest(typ uint16, inside func()) *message {
	start := len(m.b)
	m.attr(typ)
	inside()
	binary.NativeEndian.PutUint16(m.b[start:], uint16(len(m.b)-start))
	return m
}

func (m *message) finish(seq uint32) []byte {
	binary.NativeEndian.PutUint32(m.b[0:], uint32(len(m.b)))
	binary.NativeEndian.PutUint32(m.b[8:], seq)
	return m.b
}

func (m *message) ifinfo(index int32, flags, change uint32) *message {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return m.raw(b...)
}

func (m *message) ndmsg(family uint8, index int32, state uint16, flags uint8) *message {
	b := make([]byte, unix.SizeofNdMsg)
	b[0] = family
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint16(b[8:], state)
	b[10] = flags
	return m.raw(b...)
}

func (m *message) rtmsg(dstLen, table, protocol, scope, typ uint8, flags uint32) *message {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1], b[4], b[5], b[6], b[7] = unix.AF_INET, dstLen, table, protocol, scope, typ
	binary.NativeEndian.PutUint32(b[8:], flags)
	return m.raw(b...)
}

// attrs calls each for the attributes in b. It stops at the first malformed one.
func attrs(b []byte, each func(typ uint16, value []byte)) error {
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return errTruncated
		}
		each(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[4:n])
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

func u16(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.NativeEndian.Uint16(b)
}

func u8(b []byte) uint8 {
	if len(b) < 1 {
		return 0
	}
	return b[0]
}

func addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

func mac(b []byte) (m plan.MAC) {
	if len(b) == len(m) {
		copy(m[:], b)
	}
	return m
}

func text(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}
