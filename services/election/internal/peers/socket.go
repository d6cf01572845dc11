package peers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

const (
	// Class selector 6, network control (RFC 4594), shifted past the two bits of ECN.
	trafficClass = 48 << 2
	// The highest that needs no capability; TC_PRIO_CONTROL is 7.
	socketPriority = 6
	// About a second of a flood on a small node; SO_RCVBUF doubles it for the kernel's own needs.
	receiveBuffer = 1 << 20
	// Control messages: a timestamp and a counter, with their headers.
	controlSpace = 128
)

// socket is a UDP socket that is never waited for.
type socket struct {
	conn    *net.UDPConn
	raw     syscall.RawConn
	ipv4    bool
	control [controlSpace]byte
}

// datagram is one that was received.
type datagram struct {
	size int
	from netip.AddrPort
	// stamp is when the kernel received it, by the wall clock; zero when the kernel does not say.
	stamp time.Time
	// overflowed is how many the socket has lost before this one, modulo 2^32.
	overflowed uint32
	counted    bool
}

func listen(at netip.AddrPort) (*socket, error) {
	network := "udp6"
	if at.Addr().Is4() {
		network = "udp4"
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = setOptions(int(fd), at.Addr().Is4()) })
		return errors.Join(err, failed)
	}}
	pc, err := lc.ListenPacket(context.Background(), network, at.String())
	if err != nil {
		return nil, fmt.Errorf("listen for heartbeats on %s: %w", at, err)
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen for heartbeats on %s: not a UDP socket", at), pc.Close())
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for heartbeats on %s: %w", at, err), conn.Close())
	}
	return &socket{conn: conn, raw: raw, ipv4: at.Addr().Is4()}, nil
}

func setOptions(fd int, ipv4 bool) error {
	// Without CAP_NET_ADMIN the forced size is refused, and the other one is cut to net.core.rmem_max.
	if syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, receiveBuffer) != nil {
		if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer); err != nil {
			return fmt.Errorf("set SO_RCVBUF: %w", err)
		}
	}
	level, option := syscall.IPPROTO_IP, syscall.IP_TOS
	if !ipv4 {
		level, option = syscall.IPPROTO_IPV6, syscall.IPV6_TCLASS
	}
	for _, o := range []struct {
		name                 string
		level, option, value int
	}{
		// IP_TOS sets the priority, too, so it comes first.
		{"traffic class", level, option, trafficClass},
		{"SO_PRIORITY", syscall.SOL_SOCKET, syscall.SO_PRIORITY, socketPriority},
		{"SO_TIMESTAMPNS", syscall.SOL_SOCKET, syscall.SO_TIMESTAMPNS, 1},
		{"SO_RXQ_OVFL", syscall.SOL_SOCKET, syscall.SO_RXQ_OVFL, 1},
	} {
		if err := syscall.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return fmt.Errorf("set %s: %w", o.name, err)
		}
	}
	return nil
}

func (s *socket) local() netip.AddrPort {
	a, ok := s.conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

func (s *socket) close() error { return s.conn.Close() }

// receive takes the next datagram into p; ok is false when there is none. One longer than p is cut, and its size says so.
func (s *socket) receive(p []byte) (d datagram, ok bool, err error) {
	var n, cn int
	var from syscall.Sockaddr
	var failed error
	err = s.raw.Read(func(fd uintptr) bool {
		for {
			n, cn, _, from, failed = syscall.Recvmsg(int(fd), p, s.control[:], syscall.MSG_DONTWAIT|syscall.MSG_TRUNC)
			if !errors.Is(failed, syscall.EINTR) {
				return true
			}
		}
	})
	switch {
	case err != nil:
		return d, false, fmt.Errorf("receive heartbeats: %w", err)
	case errors.Is(failed, syscall.EAGAIN):
		return d, false, nil
	case failed != nil:
		return d, false, fmt.Errorf("receive heartbeats: %w", failed)
	}
	d.size = n
	switch a := from.(type) {
	case *syscall.SockaddrInet4:
		d.from = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		d.from = netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	d.readControl(s.control[:cn])
	return d, true, nil
}

func (d *datagram) readControl(p []byte) {
	messages, err := syscall.ParseSocketControlMessage(p)
	if err != nil {
		return // then the time of reading has to do
	}
	for _, m := range messages {
		if m.Header.Level != syscall.SOL_SOCKET {
			continue
		}
		switch m.Header.Type {
		case syscall.SO_TIMESTAMPNS:
			if len(m.Data) >= 16 {
				d.stamp = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		case syscall.SO_RXQ_OVFL:
			if len(m.Data) >= 4 {
				d.overflowed, d.counted = binary.NativeEndian.Uint32(m.Data), true
			}
		}
	}
}

// send gives p to the kernel, or fails if that would have to wait.
func (s *socket) send(p []byte, to netip.AddrPort) error {
	var a syscall.Sockaddr = &syscall.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
	if s.ipv4 {
		if !to.Addr().Is4() {
			return fmt.Errorf("send a heartbeat to %s: the socket is IPv4", to)
		}
		a = &syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	}
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		failed = syscall.Sendto(int(fd), p, syscall.MSG_DONTWAIT, a)
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("send a heartbeat to %s: %w", to, err)
	}
	return nil
}
