package app

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
)

// spoiled names, in the environment of a dataplane, what it shall not have. It takes that from itself and executes itself again.
const spoiled = "TEST_WITHOUT"

func spoil(what string) error {
	runtime.LockOSThread() // what is taken away is this thread's, and goes with what it executes
	var errs []error
	switch what {
	case "forwarding": // may not be switched on, as in a container without privileges
		errs = append(errs, unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""), unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	case "capability":
		errs = append(errs, unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0))
	case "kernel":
		const uname26 = 0x0020000 // personality(2): uname tells a release of 2.6
		if _, _, errno := unix.Syscall(unix.SYS_PERSONALITY, uname26, 0, 0); errno != 0 {
			errs = append(errs, errno)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.Unsetenv(spoiled); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args, os.Environ())
}

// TestPrivilegedPreconditions: what the host lacks is told in the Tunnel stream together with the remedy, and the tunnel works once the
// remedy was taken. Another tunnel on the port is TestPrivilegedBlocked's.
func TestPrivilegedPreconditions(t *testing.T) {
	var taken net.PacketConn
	for _, c := range []struct {
		name  string
		spoil func(w *world) error
		want  []string             // in the reason
		mend  func(w *world) error // nil when only another node will do
	}{
		{"forwarding", nil, []string{"the host must forward", "set net.ipv4.ip_forward=1 on the node"}, func(w *world) error {
			w.gateway.Sysctl(t, "net/ipv4/ip_forward", "1")
			return nil
		}},
		{"UDP port", func(w *world) error {
			return w.gateway.Do(func() (err error) { taken, err = net.ListenPacket("udp4", "0.0.0.0:8472"); return err })
		}, []string{"the UDP port is in use by another program or tunnel", "stop it"}, func(*world) error { return taken.Close() }},
		{"capability", nil, []string{"the capability NET_ADMIN is missing"}, nil},
		{"kernel", nil, []string{"kernel 2.6.", "is too old: run the gateway on a node with 5.4 or newer"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.registry.both(t)
			if c.spoil == nil {
				t.Setenv(spoiled, c.name)
			} else if err := c.spoil(w); err != nil {
				t.Fatal(err)
			}
			w.dataplane(t)
			w.state(t, "not ready, with the remedy", func(s *tunnelv1.Tunnel) bool {
				told := true
				for _, part := range c.want {
					told = told && strings.Contains(s.GetReason(), part)
				}
				return !s.GetReady() && told
			})
			if c.mend == nil {
				return
			}
			if err := c.mend(w); err != nil {
				t.Fatal(err)
			}
			w.ready(t, 2)
		})
	}
}

// TestPrivilegedStrictRPFilter: a strict check of sources is told while the dataplane runs, with the remedy, and is no more once it is taken.
func TestPrivilegedStrictRPFilter(t *testing.T) {
	w := newWorld(t)
	w.registry.both(t)
	w.dataplane(t)
	w.ready(t, 2)
	w.gateway.Sysctl(t, "net/ipv4/conf/eth0/rp_filter", "1")
	w.state(t, "ready, with the remedy", func(s *tunnelv1.Tunnel) bool {
		return s.GetReady() && len(s.GetProblems()) == 1 && strings.Contains(s.GetProblems()[0], "set net.ipv4.conf.eth0.rp_filter=2")
	})
	w.gateway.Sysctl(t, "net/ipv4/conf/eth0/rp_filter", "2")
	w.state(t, "without a problem", func(s *tunnelv1.Tunnel) bool { return s.GetReady() && len(s.GetProblems()) == 0 })
}
