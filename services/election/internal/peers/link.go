package peers

import (
	"fmt"
	"net"
	"net/netip"
)

// LinkDown tells why the network interface that has the address carries nothing, or nil. It says nothing about
// what lies behind the interface.
func LinkDown(addr netip.Addr) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil // what cannot be told is no fault of the link's
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err != nil || p.Addr() != addr {
				continue
			}
			if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagRunning == 0 {
				return fmt.Errorf("network interface %s is down", i.Name)
			}
			return nil
		}
	}
	return nil
}
