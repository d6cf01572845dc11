package nft

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers: the first two 4-byte slots of the rule's scratch space, so that a
// pair lies side by side for the lookup of a concatenation.
const (
	reg1 = unix.NFT_REG_1
	reg2 = unix.NFT_REG32_00 + 1
)

// Part is a piece of a rule.
type Part []expr.Any

// Drop drops the packet without a word.
var Drop = Part{&expr.Verdict{Kind: expr.VerdictDrop}}

// Accept ends the chain; the packet goes on.
var Accept = Part{&expr.Verdict{Kind: expr.VerdictAccept}}

// Jump continues in another chain of the table.
func Jump(chain string) Part {
	return Part{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

// Count counts the packet in a named counter.
func Count(counter string) Part {
	return Part{&expr.Objref{Type: int(nftables.ObjTypeCounter), Name: counter}}
}

// In matches packets that came in on a device.
func In(device string) Part { return ifName(expr.MetaKeyIIFNAME, device) }

// Out matches packets that are about to leave on a device.
func Out(device string) Part { return ifName(expr.MetaKeyOIFNAME, device) }

func ifName(key expr.MetaKey, device string) Part {
	return Part{
		&expr.Meta{Key: key, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: deviceKey(device)},
	}
}

// InAmong matches packets that came in on one of the devices of a set.
func InAmong(s Set) Part {
	return append(Part{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg1}}, lookup(s))
}

// OutAmong matches packets that are about to leave on one of the devices of a set.
func OutAmong(s Set) Part {
	return append(Part{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg1}}, lookup(s))
}

// Field is a 4-byte field of the packet that holds an IPv4 address.
type Field struct {
	base   expr.PayloadBase
	offset uint32
}

// Fields that hold addresses. The inner ones are those of the IPv4 packet in a
// VXLAN packet: after 8 bytes of UDP, 8 of VXLAN and 14 of Ethernet header.
var (
	Src      = Field{expr.PayloadBaseNetworkHeader, 12}
	Dst      = Field{expr.PayloadBaseNetworkHeader, 16}
	InnerSrc = Field{expr.PayloadBaseTransportHeader, 8 + 8 + 14 + 12}
	InnerDst = Field{expr.PayloadBaseTransportHeader, 8 + 8 + 14 + 16}
)

func (f Field) load(register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: f.base, Offset: f.offset, Len: 4}
}

// Among matches packets of which an address is in a set.
func Among(f Field, s Set) Part { return Part{f.load(reg1), lookup(s)} }

// PairAmong matches packets of which a pair of addresses is in a set.
func PairAmong(a, b Field, s Set) Part { return Part{a.load(reg1), b.load(reg2), lookup(s)} }

// IsNot matches packets of which an address is not the one given.
func IsNot(f Field, a netip.Addr) Part {
	return Part{f.load(reg1), &expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: a.AsSlice()}}
}

// Is matches packets of which an address is the one given.
func Is(f Field, a netip.Addr) Part {
	return Part{f.load(reg1), &expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: a.AsSlice()}}
}

// UDPTo matches UDP packets to a port.
func UDPTo(port uint16) Part {
	return Part{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg1, Data: binary.BigEndian.AppendUint16(nil, port)},
	}
}

// VNIIsNot matches VXLAN packets (see UDPTo) of another network identifier.
func VNIIsNot(vni uint32) Part {
	return Part{
		&expr.Payload{DestRegister: reg1, Base: expr.PayloadBaseTransportHeader, Offset: 8 + 4, Len: 3},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg1, Data: []byte{byte(vni >> 16), byte(vni >> 8), byte(vni)}},
	}
}

// Share matches a random share (0 to 1) of packets.
func Share(p float64) Part {
	const grain = 1 << 24
	limit := uint32(math.Round(min(max(p, 0), 1) * grain))
	return Part{
		&expr.Numgen{Register: reg1, Modulus: grain, Type: unix.NFT_NG_RANDOM},
		// The generator gives host byte order; comparisons are bytewise.
		&expr.Byteorder{SourceRegister: reg1, DestRegister: reg1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: reg1, Data: binary.BigEndian.AppendUint32(nil, limit)},
	}
}

// ForThisHost makes the stack take a packet as addressed to this host,
// whatever its destination MAC address.
var ForThisHost = Part{
	&expr.Immediate{Register: reg1, Data: []byte{unix.PACKET_HOST}},
	&expr.Meta{Key: expr.MetaKeyPKTTYPE, SourceRegister: true, Register: reg1},
}

// Set is the description of a named set.
type Set struct {
	name string
	set  nftables.Set
}

// Devices describes a set of device names.
func Devices(name string) Set {
	return Set{name, nftables.Set{KeyType: nftables.TypeIFName}}
}

// Prefixes describes a set of IPv4 prefixes.
func Prefixes(name string) Set {
	return Set{name, nftables.Set{KeyType: nftables.TypeIPAddr, Interval: true}}
}

// Pairs describes a set of pairs of IPv4 addresses.
func Pairs(name string) Set {
	t := nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeIPAddr)
	return Set{name, nftables.Set{KeyType: t, Concatenation: true}}
}

func (s Set) in(t *nftables.Table) *nftables.Set {
	c := s.set
	c.Name, c.Table = s.name, t
	return &c
}

func lookup(s Set) expr.Any { return &expr.Lookup{SourceRegister: reg1, SetName: s.name} }

// Device is an element of a set of devices.
func Device(name string) nftables.SetElement { return nftables.SetElement{Key: deviceKey(name)} }

func deviceKey(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

// Pair is an element of a set of pairs.
func Pair(a, b netip.Addr) nftables.SetElement {
	return nftables.SetElement{Key: slices.Concat(a.AsSlice(), b.AsSlice())}
}

// Ranges are the elements that make a set of prefixes; prefixes may overlap.
func Ranges(prefixes []netip.Prefix) []nftables.SetElement {
	sorted := slices.Clone(prefixes)
	slices.SortFunc(sorted, func(a, b netip.Prefix) int {
		if c := a.Masked().Addr().Compare(b.Masked().Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var elements []nftables.SetElement
	var end []byte // exclusive end of the last range; nil: none yet
	for _, p := range sorted {
		start := p.Masked().Addr().AsSlice()
		switch {
		case end != nil && bytes.Compare(start, end) < 0:
			continue // inside the last one
		case end != nil && bytes.Equal(start, end):
			elements = elements[:len(elements)-1] // goes on
		default:
			elements = append(elements, nftables.SetElement{Key: start})
		}
		next := uint64(binary.BigEndian.Uint32(start)) + 1<<(32-p.Bits())
		if next > math.MaxUint32 {
			return elements // open end
		}
		end = binary.BigEndian.AppendUint32(nil, uint32(next))
		elements = append(elements, nftables.SetElement{Key: end, IntervalEnd: true})
	}
	return elements
}
