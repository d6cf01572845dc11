package peers

import (
	"net"
	"net/netip"
)

// LinkDown tells whether the network interface that has the address carries nothing, and its name. It says
// nothing about what lies behind the interface, and nothing when the interfaces cannot be listed.
func LinkDown(addr netip.Addr) (device string, down bool) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return "", false
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == addr {
				return i.Name, i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0
			}
		}
	}
	return "", false
}
