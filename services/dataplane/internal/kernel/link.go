package kernel

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// link is an interface with what the dataplane may want to know of it.
type link struct {
	index    int32
	loopback bool
	hasIPv6  bool
	plan     plan.Link
	counters plan.Counters
}

const kindVXLAN = "vxlan"

// parseLink reads an RTM_NEWLINK or RTM_DELLINK message.
func parseLink(body []byte) (link, error) {
	if len(body) < unix.SizeofIfInfomsg {
		return link{}, errTruncated
	}
	flags := binary.NativeEndian.Uint32(body[8:])
	l := link{index: int32(binary.NativeEndian.Uint32(body[4:])), loopback: flags&unix.IFF_LOOPBACK != 0}
	l.plan.Up = flags&unix.IFF_UP != 0
	l.plan.Conf.AddrGenNone = true // without IPv6 there is no address to generate
	return l, attrs(body[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.plan.Name = text(v)
		case unix.IFLA_MTU:
			l.plan.MTU = int(u32(v))
		case unix.IFLA_ADDRESS:
			l.plan.MAC = mac(v)
		case unix.IFLA_LINKINFO:
			parseLinkInfo(&l.plan, v)
		case unix.IFLA_AF_SPEC:
			parseAFSpec(&l, v)
		case unix.IFLA_STATS64:
			l.counters = parseCounters(v)
		}
	})
}

func parseLinkInfo(l *plan.Link, b []byte) {
	var data []byte
	_ = attrs(b, func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_INFO_KIND:
			l.Kind = text(v)
		case unix.IFLA_INFO_DATA:
			data = v
		}
	})
	if l.Kind != kindVXLAN {
		return
	}
	_ = attrs(data, func(typ uint16, v []byte) {
		switch typ {
		case unix.IFLA_VXLAN_ID:
			l.VNI = u32(v)
		case unix.IFLA_VXLAN_PORT:
			if len(v) >= 2 {
				l.Port = binary.BigEndian.Uint16(v)
			}
		case unix.IFLA_VXLAN_LOCAL, unix.IFLA_VXLAN_LOCAL6:
			l.Local = addr(v)
		case unix.IFLA_VXLAN_LEARNING:
			l.Learning = u8(v) != 0
		case unix.IFLA_VXLAN_DF:
			l.DF = plan.DF(u8(v))
		case unix.IFLA_VXLAN_COLLECT_METADATA:
			l.FlowBased = u8(v) != 0
		default:
			// The extensions are flags, present without a value or with 1.
			if name := extension(typ); name != "" && (len(v) == 0 || v[0] != 0) {
				l.Extension = name
			}
		}
	})
}

func extension(typ uint16) string {
	switch typ {
	case unix.IFLA_VXLAN_PROXY:
		return "proxy"
	case unix.IFLA_VXLAN_RSC:
		return "rsc"
	case unix.IFLA_VXLAN_REMCSUM_TX, unix.IFLA_VXLAN_REMCSUM_RX:
		return "remcsum"
	case unix.IFLA_VXLAN_GBP:
		return "gbp"
	case unix.IFLA_VXLAN_GPE:
		return "gpe"
	case unix.IFLA_VXLAN_VNIFILTER:
		return "vnifilter"
	}
	return ""
}

func parseAFSpec(l *link, b []byte) {
	_ = attrs(b, func(family uint16, v []byte) {
		_ = attrs(v, func(typ uint16, v []byte) {
			switch {
			case family == unix.AF_INET && typ == unix.IFLA_INET_CONF:
				conf := func(id int) int { return int(u32(v[min((id-1)*4, len(v)):])) }
				l.plan.Conf.Forwarding = conf(devconfForwarding)
				l.plan.Conf.RPFilter = conf(devconfRPFilter)
				l.plan.Conf.SendRedirects = conf(devconfSendRedirects)
			case family == unix.AF_INET6 && typ == unix.IFLA_INET6_ADDR_GEN_MODE:
				l.hasIPv6 = true
				l.plan.Conf.AddrGenNone = u8(v) == addrGenModeNone
			}
		})
	})
}

// parseCounters reads struct rtnl_link_stats64 (include/uapi/linux/if_link.h).
func parseCounters(b []byte) plan.Counters {
	at := func(i int) uint64 {
		if len(b) < (i+1)*8 {
			return 0
		}
		return binary.NativeEndian.Uint64(b[i*8:])
	}
	return plan.Counters{RxPackets: at(0), TxPackets: at(1), RxBytes: at(2), TxBytes: at(3), RxDropped: at(6), TxDropped: at(7)}
}

func linkByName(name string) *message {
	return newMessage(unix.RTM_GETLINK, 0).ifinfo(0, 0, 0).attr(unix.IFLA_IFNAME, append([]byte(name), 0)...)
}

func addVXLAN(d plan.Device, mtu int) *message {
	m := newMessage(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL).ifinfo(0, 0, 0)
	m.attr(unix.IFLA_IFNAME, append([]byte(d.Name), 0)...)
	m.attr32(unix.IFLA_MTU, uint32(mtu))
	m.attr(unix.IFLA_ADDRESS, d.MAC[:]...)
	return m.nest(unix.IFLA_LINKINFO, func() {
		m.attr(unix.IFLA_INFO_KIND, []byte(kindVXLAN)...)
		m.nest(unix.IFLA_INFO_DATA, func() {
			if d.Flow {
				m.attr(unix.IFLA_VXLAN_COLLECT_METADATA, 1)
			} else {
				m.attr32(unix.IFLA_VXLAN_ID, d.VNI)
			}
			m.attrAddr(unix.IFLA_VXLAN_LOCAL, d.Local)
			m.attr(unix.IFLA_VXLAN_PORT, binary.BigEndian.AppendUint16(nil, d.Port)...)
			m.attr(unix.IFLA_VXLAN_LEARNING, 0)
			// No outer checksum, as RFC 7348 advises and as Cilium sends; the inner one covers the payload.
			m.attr(unix.IFLA_VXLAN_UDP_CSUM, 0)
		})
	})
}

// changeVXLAN changes single attributes of an existing device.
func changeVXLAN(index int32, inside func(m *message)) *message {
	m := newMessage(unix.RTM_NEWLINK, 0).ifinfo(index, 0, 0)
	return m.nest(unix.IFLA_LINKINFO, func() {
		m.attr(unix.IFLA_INFO_KIND, []byte(kindVXLAN)...)
		m.nest(unix.IFLA_INFO_DATA, func() { inside(m) })
	})
}

func setLocal(index int32, local netip.Addr) *message {
	return changeVXLAN(index, func(m *message) { m.attrAddr(unix.IFLA_VXLAN_LOCAL, local) })
}

func setNoLearning(index int32) *message {
	return changeVXLAN(index, func(m *message) { m.attr(unix.IFLA_VXLAN_LEARNING, 0) })
}

func setDF(index int32, df plan.DF) *message {
	return changeVXLAN(index, func(m *message) { m.attr(unix.IFLA_VXLAN_DF, byte(df)) })
}

func setConf(l link, c plan.Conf) *message {
	m := newMessage(unix.RTM_SETLINK, 0).ifinfo(l.index, 0, 0)
	return m.nest(unix.IFLA_AF_SPEC, func() {
		m.nest(unix.AF_INET, func() {
			m.nest(unix.IFLA_INET_CONF, func() {
				m.attr32(devconfForwarding, uint32(c.Forwarding))
				m.attr32(devconfSendRedirects, uint32(c.SendRedirects))
				m.attr32(devconfRPFilter, uint32(c.RPFilter))
			})
		})
		if l.hasIPv6 && c.AddrGenNone {
			m.nest(unix.AF_INET6, func() { m.attr(unix.IFLA_INET6_ADDR_GEN_MODE, addrGenModeNone) })
		}
	})
}
