package app

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/netnstest"
)

// echo answers UDP packets at addr with what it got, and keeps who sent them.
type echo struct {
	addr netip.AddrPort
	mu   sync.Mutex
	from map[netip.Addr]bool
}

func newEcho(t testing.TB, ns *netnstest.Namespace, ip string) *echo {
	t.Helper()
	e := &echo{addr: netip.AddrPortFrom(netip.MustParseAddr(ip), 7), from: map[netip.Addr]bool{}}
	var conn *net.UDPConn
	err := ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(e.addr))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	enlarge(t, conn)
	inBackground(t, func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return err
			}
			e.mu.Lock()
			e.from[from.Addr()] = true
			e.mu.Unlock()
			if _, err := conn.WriteToUDPAddrPort(buf[:n], from); err != nil {
				return err
			}
		}
	})
	return e
}

// enlarge makes room in a socket for what comes in while the test gets no processor, so that only the network loses packets.
func enlarge(t testing.TB, conn *net.UDPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if ctlErr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) }); ctlErr != nil || err != nil {
		t.Fatal(ctlErr, err)
	}
}

func (e *echo) seen(ip string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.from[netip.MustParseAddr(ip)]
}

// probe sends numbered packets to an echo at a steady pace and counts what comes back.
type probe struct {
	conn     *net.UDPConn
	stop     chan struct{}
	done     chan struct{}
	mu       sync.Mutex
	sent     uint32
	received map[uint32]bool
}

func startProbe(t testing.TB, ns *netnstest.Namespace, from string, to *echo, pace time.Duration) *probe {
	t.Helper()
	p := &probe{stop: make(chan struct{}), done: make(chan struct{}), received: map[uint32]bool{}}
	err := ns.Do(func() (err error) {
		p.conn, err = net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0)), net.UDPAddrFromAddrPort(to.addr))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	enlarge(t, p.conn)
	t.Cleanup(func() { p.conn.Close(); <-p.done })
	go p.receive()
	go p.send(pace)
	return p
}

func (p *probe) send(pace time.Duration) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for n := uint32(0); ; n++ {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
		}
		// An error is a packet lost, which the count shows.
		_, _ = p.conn.Write(binary.BigEndian.AppendUint32(nil, n))
		p.mu.Lock()
		p.sent = n + 1
		p.mu.Unlock()
	}
}

func (p *probe) receive() {
	defer close(p.done)
	buf := make([]byte, 16)
	for {
		n, err := p.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err == nil && n == 4 {
			p.mu.Lock()
			p.received[binary.BigEndian.Uint32(buf)] = true
			p.mu.Unlock()
		}
	}
}

func (p *probe) counts() (sent, received int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.sent), len(p.received)
}

// advance waits until n more packets were sent.
func (p *probe) advance(t testing.TB, n int) {
	t.Helper()
	start, _ := p.counts()
	eventually(t, "the probe goes on", func() bool { sent, _ := p.counts(); return sent >= start+n })
}

// finish stops sending and returns how many were sent, and how many never came back although they had time to.
func (p *probe) finish() (sent, lost int) {
	close(p.stop)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if sent, received := p.counts(); sent == received {
			return sent, 0
		}
	}
	sent, received := p.counts()
	return sent, sent - received
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}

// reaches sends packets until one comes back.
func reaches(t testing.TB, ns *netnstest.Namespace, from string, to *echo) {
	t.Helper()
	p := startProbe(t, ns, from, to, 10*time.Millisecond)
	eventually(t, from+" reaches "+to.addr.String(), func() bool { _, received := p.counts(); return received > 0 })
	close(p.stop)
}
