package main

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// echo sends datagrams from one place to another, and says how many arrived.
func echo(t *testing.T, w *world, n int) (arrived int) {
	t.Helper()
	from, to := open(t, w, 0), open(t, w, 1)
	defer from.Close()
	defer to.Close()
	p := make([]byte, 10)
	for range n {
		_, err := from.WriteToUDPAddrPort(p, netip.AddrPortFrom(address(1), to.LocalAddr().(*net.UDPAddr).AddrPort().Port()))
		if err != nil {
			t.Fatal(err)
		}
		// One at a time, so that none is lost for want of room; a virtual wire takes no time.
		_ = to.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, _, err := to.ReadFromUDPAddrPort(p); err == nil {
			arrived++
		}
	}
	return arrived
}

func open(t *testing.T, w *world, place int) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	err := inside(w.places[place], func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address(place), 0)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
