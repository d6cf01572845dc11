package kernel

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// entry is a line of an FDB or a neighbour table.
type entry struct {
	family    uint8
	index     int32
	mac       plan.MAC
	addr      netip.Addr
	permanent bool
	odd       bool
}

// parseEntry reads an RTM_NEWNEIGH or RTM_DELNEIGH message.
func parseEntry(body []byte) (entry, error) {
	if len(body) < unix.SizeofNdMsg {
		return entry{}, errTruncated
	}
	e := entry{
		family:    body[0],
		index:     int32(binary.NativeEndian.Uint32(body[4:])),
		permanent: binary.NativeEndian.Uint16(body[8:])&unix.NUD_PERMANENT != 0,
	}
	return e, attrs(body[unix.SizeofNdMsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.NDA_LLADDR:
			e.mac = mac(v)
		case unix.NDA_DST:
			e.addr = addr(v)
		case unix.NDA_PORT, unix.NDA_VNI, unix.NDA_IFINDEX, ndaNextHopID:
			e.odd = true
		}
	})
}

// route is a route as the kernel tells it, with the interface's index in place of its name.
type route struct {
	plan  plan.Route
	index int32
	table uint32
	// local marks what the kernel makes for addresses (host and broadcast routes).
	local bool
}

// parseRoute reads an RTM_NEWROUTE or RTM_DELROUTE message of IPv4.
func parseRoute(body []byte) (route, error) {
	if len(body) < unix.SizeofRtMsg {
		return route{}, errTruncated
	}
	r := route{table: uint32(body[4])}
	r.plan.Protocol = body[5]
	flags := binary.NativeEndian.Uint32(body[8:])
	r.plan.Onlink = flags&unix.RTNH_F_ONLINK != 0
	r.local = body[0] != unix.AF_INET || flags&unix.RTM_F_CLONED != 0
	r.plan.Kind = routeKind(body[7])
	if tos := body[3]; tos != 0 {
		r.plan.Kind += "tos " + strconv.Itoa(int(tos))
	}
	dst := netip.IPv4Unspecified()
	var encap []byte
	var encapType uint16
	err := attrs(body[unix.SizeofRtMsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.RTA_DST:
			dst = addr(v)
		case unix.RTA_GATEWAY:
			r.plan.Via = addr(v)
		case unix.RTA_PREFSRC:
			r.plan.Src = addr(v)
		case unix.RTA_OIF:
			r.index = int32(u32(v))
		case unix.RTA_PRIORITY:
			r.plan.Metric = u32(v)
		case unix.RTA_TABLE:
			r.table = u32(v)
		case unix.RTA_MULTIPATH:
			r.plan.Kind = "multipath"
		case rtaNextHopID:
			r.plan.Kind = "nhid " + strconv.Itoa(int(u32(v)))
		case unix.RTA_ENCAP:
			encap = v
		case unix.RTA_ENCAP_TYPE:
			encapType = u16(v)
		}
	})
	switch {
	case encapType == lwtunnelEncapIP:
		r.plan.Encap = parseEncap(encap)
	case encapType != 0:
		r.plan.Kind += "encap " + strconv.Itoa(int(encapType))
	}
	r.plan.Dst = netip.PrefixFrom(dst, int(body[1]))
	return r, err
}

// parseEncap reads the attributes of a route into a flow-based tunnel (LWTUNNEL_IP_* in include/uapi/linux/lwtunnel.h).
func parseEncap(b []byte) plan.Encap {
	var e plan.Encap
	err := attrs(b, func(typ uint16, v []byte) {
		switch typ {
		case lwtunnelIPID:
			id := append(make([]byte, 8), v...)
			key := binary.BigEndian.Uint64(id[len(id)-8:])
			e.VNI, e.Odd = uint32(key), e.Odd || key>>24 != 0
		case lwtunnelIPDst:
			e.Remote = addr(v)
		case lwtunnelIPSrc:
			e.Local = addr(v)
		case lwtunnelIPTTL, lwtunnelIPTOS:
			e.Odd = e.Odd || u8(v) != 0
		case lwtunnelIPFlags:
			flags := append(make([]byte, 2), v...)
			bits := binary.BigEndian.Uint16(flags[len(flags)-2:])
			e.DF, e.Odd = bits&tunnelDontFragment != 0, e.Odd || bits&^tunnelDontFragment != 0
		case lwtunnelIPOpts:
			e.Odd = e.Odd || len(v) > 0
		}
	})
	e.Odd = e.Odd || err != nil
	return e
}

func routeKind(t uint8) string {
	switch t {
	case unix.RTN_UNICAST:
		return ""
	case unix.RTN_BLACKHOLE:
		return "blackhole"
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	case unix.RTN_PROHIBIT:
		return "prohibit"
	case unix.RTN_THROW:
		return "throw"
	default:
		return "type " + strconv.Itoa(int(t))
	}
}

func setFDB(index int32, o plan.SetFDB) *message {
	return newMessage(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE).
		ndmsg(unix.AF_BRIDGE, index, unix.NUD_PERMANENT, unix.NTF_SELF).
		attr(unix.NDA_LLADDR, o.MAC[:]...).
		attrAddr(unix.NDA_DST, o.Remote)
}

func deleteFDB(index int32, o plan.DeleteFDB) *message {
	return newMessage(unix.RTM_DELNEIGH, 0).
		ndmsg(unix.AF_BRIDGE, index, unix.NUD_PERMANENT, unix.NTF_SELF).
		attr(unix.NDA_LLADDR, o.MAC[:]...)
}

func setNeighbour(index int32, o plan.SetNeighbour) *message {
	return newMessage(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE).
		ndmsg(unix.AF_INET, index, unix.NUD_PERMANENT, 0).
		attrAddr(unix.NDA_DST, o.Addr).
		attr(unix.NDA_LLADDR, o.MAC[:]...)
}

func deleteNeighbour(index int32, o plan.DeleteNeighbour) *message {
	return newMessage(unix.RTM_DELNEIGH, 0).
		ndmsg(unix.AF_INET, index, 0, 0).
		attrAddr(unix.NDA_DST, o.Addr)
}

// routeMessage fits adding, replacing and deleting: a route is deleted only when all that is given here agrees.
func routeMessage(typ, flags uint16, index int32, r plan.Route) *message {
	scope, nhFlags, kind := uint8(unix.RT_SCOPE_UNIVERSE), uint32(0), uint8(unix.RTN_UNICAST)
	if typ == unix.RTM_DELROUTE {
		scope, kind = unix.RT_SCOPE_NOWHERE, unix.RTN_UNSPEC // any
	}
	if r.Onlink {
		nhFlags = unix.RTNH_F_ONLINK
	}
	m := newMessage(typ, flags).
		rtmsg(uint8(r.Dst.Bits()), unix.RT_TABLE_MAIN, r.Protocol, scope, kind, nhFlags).
		attrAddr(unix.RTA_DST, r.Dst.Addr())
	if r.Via.IsValid() {
		m.attrAddr(unix.RTA_GATEWAY, r.Via)
	}
	if r.Src.IsValid() {
		m.attrAddr(unix.RTA_PREFSRC, r.Src)
	}
	if index != 0 {
		m.attr32(unix.RTA_OIF, uint32(index))
	}
	if r.Metric != 0 {
		m.attr32(unix.RTA_PRIORITY, r.Metric)
	}
	// What is odd about a route cannot be repeated here, and a route is deleted without.
	if r.Encap != (plan.Encap{}) && (typ != unix.RTM_DELROUTE || !r.Encap.Odd) {
		m.encap(r.Encap)
	}
	return m
}

// encap says what a flow-based device puts around the packets of a route. TTL and TOS are left to the kernel, as they are where the device has
// remotes of its own, and so is the outer checksum, of which there is none.
func (m *message) encap(e plan.Encap) {
	m.attr(unix.RTA_ENCAP_TYPE, binary.NativeEndian.AppendUint16(nil, lwtunnelEncapIP)...)
	m.nest(unix.RTA_ENCAP|unix.NLA_F_NESTED, func() {
		m.attr(lwtunnelIPID, binary.BigEndian.AppendUint64(nil, uint64(e.VNI))...)
		m.attrAddr(lwtunnelIPDst, e.Remote)
		m.attrAddr(lwtunnelIPSrc, e.Local)
		if e.DF {
			m.attr(lwtunnelIPFlags, binary.BigEndian.AppendUint16(nil, tunnelDontFragment)...)
		}
	})
}
