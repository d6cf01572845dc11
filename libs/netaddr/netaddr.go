// Package netaddr parses the addresses that come from outside, flags and Kubernetes
// objects, into netip values, once and strictly.
package netaddr

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ParseIPv4 parses a unicast IPv4 address such as 10.0.1.10.
func ParseIPv4(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}, fmt.Errorf("%q is not an IPv4 address such as 10.0.1.10", s)
	}
	if a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}, fmt.Errorf("%q is not an address of one host on a network", s)
	}
	return a, nil
}

// ParseIPv4Prefix parses an IPv4 network such as 10.0.0.0/16. Bits set below the
// mask are an error, since they hint at a mistyped length.
func ParseIPv4Prefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return netip.Prefix{}, fmt.Errorf("%q is not an IPv4 CIDR such as 10.0.0.0/16", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits set below its mask: write %s", s, p.Masked())
	}
	return p, nil
}

// Contains tells whether outer contains all of inner.
func Contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// IPv4 is a flag's value: see ParseIPv4. The zero IPv4 is "not given".
type IPv4 struct{ netip.Addr }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *IPv4) UnmarshalText(text []byte) (err error) {
	a.Addr, err = ParseIPv4(string(text))
	return err
}

// IPv4Prefix is a flag's value: see ParseIPv4Prefix.
type IPv4Prefix struct{ netip.Prefix }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *IPv4Prefix) UnmarshalText(text []byte) (err error) {
	p.Prefix, err = ParseIPv4Prefix(string(text))
	return err
}

// Listen is where a server listens: a port, of one address or, without one, of all the
// machine has.
type Listen struct {
	Addr netip.Addr
	Port uint16
}

// ParseListen parses :9811, 127.0.0.1:9811 or [::1]:9811. Port 0 is any free one.
func ParseListen(s string) (Listen, error) {
	if port, ok := strings.CutPrefix(s, ":"); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			return Listen{Port: uint16(n)}, nil
		}
	} else if a, err := netip.ParseAddrPort(s); err == nil {
		return Listen{a.Addr(), a.Port()}, nil
	}
	return Listen{}, fmt.Errorf("%q is not an IP address and a port such as 127.0.0.1:9811, or a port alone such as :9811", s)
}

// String is the text that ParseListen takes.
func (l Listen) String() string {
	if !l.Addr.IsValid() {
		return fmt.Sprintf(":%d", l.Port)
	}
	return netip.AddrPortFrom(l.Addr, l.Port).String()
}

// UnmarshalText implements encoding.TextUnmarshaler: a Listen is a flag's value.
func (l *Listen) UnmarshalText(text []byte) (err error) {
	*l, err = ParseListen(string(text))
	return err
}

// Prefixes are the netip values of flags.
func Prefixes(flags []IPv4Prefix) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(flags))
	for i, f := range flags {
		prefixes[i] = f.Prefix
	}
	return prefixes
}

// MAC is a 48-bit Ethernet address. Unlike net.HardwareAddr it can be compared and be
// a map's key.
type MAC [6]byte

// ParseMAC parses a MAC address such as 02:00:0a:00:01:0a.
func ParseMAC(s string) (MAC, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return MAC{}, fmt.Errorf("%q is not a MAC address such as 02:00:0a:00:01:0a", s)
	}
	return MAC(hw), nil
}

// VTEPMAC derives the MAC of a VTEP from its IPv4 address: locally administered, unicast, and
// different for different addresses. Both ends of a tunnel can so be known without asking.
// It is the zero MAC for anything but IPv4.
func VTEPMAC(addr netip.Addr) MAC {
	if !addr.Is4() {
		return MAC{}
	}
	b := addr.As4()
	return MAC{0x02, 0x68, b[0], b[1], b[2], b[3]}
}

// String is the address in lower-case hexadecimal with colons.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// MarshalText implements encoding.TextMarshaler: the text is String's.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler: see ParseMAC.
func (m *MAC) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMAC(string(text))
	return err
}

// IsZero tells whether m is the zero value.
func (m MAC) IsZero() bool { return m == MAC{} }
