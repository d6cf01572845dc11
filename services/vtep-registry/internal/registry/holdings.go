package registry

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// holdings says who holds which IPv4 networks. What is held is disjoint, so that sorted
// by address a network can only overlap its neighbours in the list.
type holdings []holding

type holding struct {
	first, last uint32
	node        string
}

func span(p netip.Prefix) (first, last uint32) {
	four := p.Addr().As4()
	first = binary.BigEndian.Uint32(four[:])
	return first, first | uint32(uint64(1)<<(32-p.Bits())-1)
}

// at is the index of the first holding that ends at or after the address.
func (h holdings) at(first uint32) int {
	i, _ := slices.BinarySearchFunc(h, first, func(e holding, a uint32) int {
		if e.last < a {
			return -1
		}
		return 1
	})
	return i
}

// holder is a node other than self that holds some of p; "" when there is none. Of
// several it is the one with the lowest network.
func (h holdings) holder(p netip.Prefix, self string) string {
	first, last := span(p)
	for i := h.at(first); i < len(h) && h[i].first <= last; i++ {
		if h[i].node != self {
			return h[i].node
		}
	}
	return ""
}

// take records that node holds p. Nobody may hold any of it.
func (h *holdings) take(p netip.Prefix, node string) {
	first, last := span(p)
	*h = slices.Insert(*h, h.at(first), holding{first, last, node})
}

// release undoes take.
func (h *holdings) release(p netip.Prefix) {
	first, _ := span(p)
	i := h.at(first)
	*h = slices.Delete(*h, i, i+1)
}
