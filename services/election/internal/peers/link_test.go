package peers

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// An interface that is down is told from one that is up, in a namespace that goes with the thread.
func TestPrivilegedLinkDown(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	const addr = "10.77.0.1"
	down, up, err := inNewNamespace(func() (down, up string, err error) {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return "", "", err
		}
		defer unix.Close(s)
		lo, err := unix.NewIfreq("lo")
		if err != nil {
			return "", "", err
		}
		if err := errors.Join(lo.SetInet4Addr([]byte{10, 77, 0, 1}), unix.IoctlIfreq(s, unix.SIOCSIFADDR, lo)); err != nil {
			return "", "", err
		}
		lo.SetUint16(0)
		if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
			return "", "", err
		}
		var link Link
		link.Learn(netip.MustParseAddr(addr))
		down = describe(&link, netip.MustParseAddr(addr))
		lo.SetUint16(unix.IFF_UP)
		if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
			return "", "", err
		}
		return down, describe(&link, netip.MustParseAddr(addr)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if down != "lo true" || up != "lo false" {
		t.Errorf("while it is down: %q, while it is up: %q", down, up)
	}
}

// inNewNamespace calls f on a thread that ends after it, and its namespace with it.
func inNewNamespace(f func() (down, up string, err error)) (down, up string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			down, up, err = f()
		}
	}()
	<-done
	return down, up, err
}

// Of an address that this machine does not have nothing is known.
func TestLinkDownOfAnotherAddress(t *testing.T) {
	var link Link
	if got := describe(&link, netip.MustParseAddr("192.0.2.1")); got != " false" {
		t.Errorf("got %q", got)
	}
}

// The interface is found anew when the address is another one, and when the one that had it is gone.
func TestLinkFollowsTheAddress(t *testing.T) {
	var link Link
	link.Learn(netip.MustParseAddr("192.0.2.1"))
	if got := describe(&link, netip.MustParseAddr("127.0.0.1")); got != "lo false" {
		t.Errorf("got %q", got)
	}
	link.device = "gone0"
	if got := describe(&link, netip.MustParseAddr("127.0.0.1")); got != "lo false" {
		t.Errorf("after its interface is gone: %q", got)
	}
}

func describe(l *Link, addr netip.Addr) string {
	device, down := l.Down(addr)
	return fmt.Sprint(device, " ", down)
}
