package netnstest

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPrivilegedNamespaces(t *testing.T) {
	a, b := New(t), New(t)
	Veth(t, a, "left", "10.255.0.1/24", b, "right", "10.255.0.2/24")
	a.Route(t, "10.254.0.0/16", "10.255.0.2")
	a.Sysctl(t, "net/ipv4/ip_forward", "1")

	var server net.PacketConn
	err := b.Do(func() (err error) {
		server, err = net.ListenPacket("udp", "10.255.0.2:7")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var client net.Conn
	err = a.Do(func() (err error) {
		client, err = net.Dial("udp", "10.255.0.2:7")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := server.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "hello" || !strings.HasPrefix(from.String(), "10.255.0.1:") {
		t.Fatalf("got %q from %v, error %v", buf[:n], from, err)
	}
}

func TestPrivilegedStart(t *testing.T) {
	n := New(t)
	out := &strings.Builder{}
	c := exec.Command("cat", "/proc/net/dev")
	c.Stdout = out
	n.Start(t, c)
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.Contains(text, "lo:") || strings.Count(text, ":") != 1 {
		t.Errorf("the process is not in the namespace: %s", text)
	}
}

func TestPrivilegedHostUntouched(t *testing.T) {
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	n := New(t)
	n.Run(t, func() {
		inside, err := os.Readlink("/proc/thread-self/ns/net")
		if err != nil || inside == before {
			t.Errorf("inside is %s, outside %s, error %v", inside, before, err)
		}
	})
	if after, _ := os.Readlink("/proc/self/ns/net"); after != before {
		t.Errorf("the test process was moved from %s to %s", before, after)
	}
}
