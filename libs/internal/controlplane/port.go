package controlplane

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
)

// OnFreePorts calls start with n free addresses on loopback, and again with others
// when its error says that somebody has taken one.
//
// The ports are from below the range out of which the kernel serves connecting
// sockets, so that nobody takes them while a server is stopped.
func OnFreePorts(n int, start func(addresses []string) error) error {
	const tries = 20
	var err error
	for range tries {
		var addresses []string
		if addresses, err = freeAddresses(n); err != nil {
			continue
		}
		if err = start(addresses); err == nil || !strings.Contains(err.Error(), "address already in use") {
			return err
		}
	}
	return fmt.Errorf("look for free ports: %w", err)
}

func freeAddresses(n int) ([]string, error) {
	const lowest, count = 20000, 10000
	var addresses []string
	for len(addresses) < n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(count)))
		if err != nil {
			return nil, err
		}
		defer l.Close() // not before all are found, so that they differ
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
