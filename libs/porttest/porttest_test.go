package porttest

import (
	"net"
	"testing"
)

func TestAddressIsForOneOnly(t *testing.T) {
	address := Address(t)
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if port < lowest || port >= lowest+count {
		t.Errorf("the port is %d", port)
	}
	l.Close()
	if got, _, err := reserve(port); err == nil {
		t.Errorf("%s was given twice", got)
	}
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestPortInUseIsPassedOver(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		address := Address(t)
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		var closer interface{ Close() error }
		if network == "tcp" {
			closer, err = net.Listen(network, ":"+port)
		} else {
			closer, err = net.ListenPacket(network, ":"+port)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := unused(address); err == nil {
			t.Errorf("%s is in use by %s, and called unused", address, network)
		}
		closer.Close()
	}
}

func TestAddressIsFreeAfterItsTest(t *testing.T) {
	var address string
	t.Run("inner", func(t *testing.T) { address = Address(t) })
	c, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	got, release, err := reserve(c.Port)
	if err != nil || got != address {
		t.Fatalf("got %q, %v", got, err)
	}
	release()
}
