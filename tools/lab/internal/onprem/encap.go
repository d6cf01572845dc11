package onprem

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// tunnelEncap makes a route encapsulate what it carries: tunnel key and outer
// destination (enum lwtunnel_ip_t of linux/lwtunnel.h).
type tunnelEncap struct {
	id  uint64
	dst netip.Addr
}

const (
	lwtunnelIPID  = 1 // 8 bytes, network order
	lwtunnelIPDst = 2 // 4 bytes
)

// Type is part of netlink.Encap.
func (e *tunnelEncap) Type() int { return nl.LWTUNNEL_ENCAP_IP }

// Encode is part of netlink.Encap.
func (e *tunnelEncap) Encode() ([]byte, error) {
	if !e.dst.Is4() {
		return nil, fmt.Errorf("tunnel destination %s is not an IPv4 address", e.dst)
	}
	id := nl.NewRtAttr(lwtunnelIPID, binary.BigEndian.AppendUint64(nil, e.id))
	dst := nl.NewRtAttr(lwtunnelIPDst, e.dst.AsSlice())
	return append(id.Serialize(), dst.Serialize()...), nil
}

// Decode is part of netlink.Encap.
func (e *tunnelEncap) Decode(buf []byte) error {
	attrs, err := nl.ParseRouteAttr(buf)
	if err != nil {
		return fmt.Errorf("decode tunnel encapsulation: %w", err)
	}
	for _, a := range attrs {
		switch {
		case a.Attr.Type == lwtunnelIPID && len(a.Value) == 8:
			e.id = binary.BigEndian.Uint64(a.Value)
		case a.Attr.Type == lwtunnelIPDst && len(a.Value) == 4:
			e.dst = netip.AddrFrom4([4]byte(a.Value))
		}
	}
	return nil
}

// String is part of netlink.Encap.
func (e *tunnelEncap) String() string { return fmt.Sprintf("ip id %d dst %s", e.id, e.dst) }

// Equal is part of netlink.Encap.
func (e *tunnelEncap) Equal(o netlink.Encap) bool {
	other, ok := o.(*tunnelEncap)
	return ok && *e == *other
}
