package peers

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/boottime"
)

// learnAgain is how long it is relied upon that an address stays on its network interface.
const learnAgain = 10 * time.Second

// Link tells how the network interface is that has an address. It is safe for concurrent use; the zero Link is ready.
type Link struct {
	mu      sync.Mutex
	addr    netip.Addr
	device  string
	learned time.Duration
}

// Learn finds the interface, so that Down need not: it takes a list of all interfaces, of which a node may have many. It
// does so now and then only.
func (l *Link) Learn(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if addr != l.addr || boottime.Now()-l.learned > learnAgain {
		l.find(addr)
	}
}

// Down tells whether the interface carries nothing, and its name. It says nothing about what lies behind the interface, and
// nothing when the kernel does not answer.
func (l *Link) Down(addr netip.Addr) (device string, down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if addr != l.addr || l.device == "" {
		l.find(addr)
	}
	flags, err := flagsOf(l.device)
	if err != nil && l.device != "" { // it is gone, or has another name
		l.find(addr)
		flags, err = flagsOf(l.device)
	}
	if err != nil {
		return "", false
	}
	const works = unix.IFF_UP | unix.IFF_RUNNING
	return l.device, flags&works != works
}

// find notes which interface has the address; none when the interfaces cannot be listed.
func (l *Link) find(addr netip.Addr) {
	l.addr, l.device, l.learned = addr, "", boottime.Now()
	interfaces, err := net.Interfaces()
	if err != nil {
		return
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr() == addr {
				l.device = i.Name
				return
			}
		}
	}
}

// flagsOf asks for the flags of one interface (netdevice(7)).
func flagsOf(device string) (uint16, error) {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return 0, fmt.Errorf("ask for the flags of interface %q: %w", device, err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for the flags of interface %q: %w", device, err)
	}
	defer unix.Close(s)
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, request); err != nil {
		return 0, fmt.Errorf("ask for the flags of interface %q: %w", device, err)
	}
	return request.Uint16(), nil
}
