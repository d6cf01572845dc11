package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestPrivilegedNetworkNamespace starts the program where the lab does: in a
// namespace with lo and one veth, and no default route.
func TestPrivilegedNetworkNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a network namespace")
	}
	// The thread enters a new namespace and never comes back: it ends with the
	// test's goroutine, and the namespace ends with the program.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	handle, err := netlink.NewHandle()
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "cptest0"}, PeerName: "cptest1"}
	if err := handle.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lo", "cptest0", "cptest1"} {
		link, err := handle.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "cptest0" {
			addr := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 0, 1, 5), Mask: net.CIDRMask(24, 32)}}
			if err := handle.AddrAdd(link, addr); err != nil {
				t.Fatal(err)
			}
		}
		if err := handle.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
	}

	cmd := exec.Command(os.Getenv("CONTROLPLANE_BIN"), "--dir="+t.TempDir(), "--listen=10.0.1.5:6443", "--die-with-parent")
	cmd.Stderr = &bytes.Buffer{}
	if server := startReady(t, cmd); server != "https://10.0.1.5:6443" {
		t.Errorf("serves on %s", server)
	}
}
