// Package porttest finds ports for servers under test that have to be told their port
// before they listen.
package porttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports are from below the range out of which the kernel serves connecting sockets
// (net.ipv4.ip_local_port_range), so that no connection gets one before its server listens, or
// while it is away; and from below those of libs/internal/controlplane.
const lowest, count = 10000, 10000

// Address is an address on loopback, such as 127.0.0.1:10001, on whose port nobody listens,
// neither with TCP nor with UDP. Until the test ends no other call gets it, in any process.
func Address(t testing.TB) string {
	t.Helper()
	const tries = 100
	var errs []error
	for range tries {
		address, release, err := reserve(lowest + rand.IntN(count))
		if err == nil {
			t.Cleanup(release)
			return address
		}
		errs = append(errs, err)
	}
	t.Fatal(fmt.Errorf("look for a free port: %w", errors.Join(errs...)))
	return ""
}

// reserve fails for a port that is in use, and for one that is reserved.
func reserve(port int) (address string, release func(), err error) {
	// A name of the abstract namespace (unix(7)) goes with the process, however it ends.
	held, err := net.Listen("unix", fmt.Sprintf("@hybridgateway-porttest-%d", port))
	if err != nil {
		return "", nil, fmt.Errorf("reserve port %d: %w", port, err)
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	if err := unused(address); err != nil {
		held.Close()
		return "", nil, err
	}
	return address, func() { held.Close() }, nil
}

func unused(address string) error {
	stream, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer stream.Close()
	datagrams, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	return datagrams.Close()
}
