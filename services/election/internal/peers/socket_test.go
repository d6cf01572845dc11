package peers

import (
	"net/netip"
	"syscall"
	"testing"
	"time"
)

func TestSocket(t *testing.T) {
	for _, at := range []string{"127.0.98.1:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			a, b := open(t, at), open(t, at)
			if _, ok, err := a.receive(make([]byte, 10)); ok || err != nil {
				t.Errorf("an empty socket: %v, error %v", ok, err)
			}
			before := time.Now()
			if err := b.send(make([]byte, 20), a.local()); err != nil {
				t.Fatal(err)
			}
			var d datagram
			eventually(t, "the datagram is there", func() bool {
				var ok bool
				var err error
				if d, ok, err = a.receive(make([]byte, 10)); err != nil {
					t.Fatal(err)
				}
				return ok
			})
			if d.size != 20 || d.from != b.local() {
				t.Errorf("%d bytes from %s, want 20 from %s", d.size, d.from, b.local())
			}
			if d.stamp.Before(before.Add(-time.Second)) || d.stamp.After(time.Now().Add(time.Second)) {
				t.Errorf("stamped %s, sent at %s", d.stamp, before)
			}
		})
	}
	if err := open(t, "127.0.98.1:0").send(nil, netip.MustParseAddrPort("[::1]:9")); err == nil {
		t.Error("an IPv4 socket sent to an IPv6 address")
	}
}

func open(t *testing.T, at string) *socket {
	t.Helper()
	s, err := listen(netip.MustParseAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	return s
}

func TestSocketOptions(t *testing.T) {
	s := open(t, "127.0.98.1:0")
	err := s.raw.Control(func(fd uintptr) {
		for _, o := range []struct {
			name                 string
			level, option, least int
		}{
			{"IP_TOS", syscall.IPPROTO_IP, syscall.IP_TOS, 0xc0},
			{"SO_PRIORITY", syscall.SOL_SOCKET, syscall.SO_PRIORITY, 6},
			{"SO_RCVBUF", syscall.SOL_SOCKET, syscall.SO_RCVBUF, 200_000},
		} {
			if got, err := syscall.GetsockoptInt(int(fd), o.level, o.option); err != nil || got < o.least {
				t.Errorf("%s is %d, error %v; want at least %d", o.name, got, err, o.least)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What the kernel throws away for want of room is counted.
func TestOverflow(t *testing.T) {
	a, b := open(t, "127.0.98.1:0"), open(t, "127.0.98.1:0")
	p := make([]byte, 1000)
	for range 10_000 {
		if err := b.send(p, a.local()); err != nil {
			t.Fatal(err)
		}
	}
	for {
		if _, ok, err := a.receive(p); err != nil {
			t.Fatal(err)
		} else if !ok {
			break
		}
	}
	if err := b.send(p, a.local()); err != nil {
		t.Fatal(err)
	}
	var d datagram
	eventually(t, "the last datagram is there", func() bool {
		var ok bool
		d, ok, _ = a.receive(p)
		return ok
	})
	if !d.counted || d.overflowed == 0 {
		t.Errorf("the kernel says that it lost %d", d.overflowed)
	}
}

func TestReasons(t *testing.T) {
	for r := range reasons {
		if r.String() == "" || r.String() == "invalid" {
			t.Errorf("reason %d has no name", r)
		}
	}
}
