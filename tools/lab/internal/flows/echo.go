package flows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

// askTimeout bounds one question.
const askTimeout = 2 * time.Second

// Echo answers, over TCP and UDP on one port, with the address that it sees the
// question come from.
type Echo struct {
	Addr netip.AddrPort

	tcp     net.Listener
	udp     net.PacketConn
	running sync.WaitGroup
}

// ServeEcho serves on an address of the host.
func ServeEcho(ctx context.Context, h *netns.Host, addr netip.AddrPort) (*Echo, error) {
	tcp, err := h.Listen(ctx, "tcp4", addr.String())
	if err != nil {
		return nil, fmt.Errorf("serve echo: %w", err)
	}
	addr = tcp.Addr().(*net.TCPAddr).AddrPort()
	udp, err := h.ListenPacket(ctx, "udp4", addr.String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("serve echo: %w", err), tcp.Close())
	}
	e := &Echo{Addr: addr, tcp: tcp, udp: udp}
	e.running.Go(e.serveTCP)
	e.running.Go(e.serveUDP)
	return e, nil
}

func (e *Echo) serveTCP() {
	for {
		c, err := e.tcp.Accept()
		if err != nil {
			return
		}
		e.running.Go(func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(askTimeout)) // an open TCP connection has deadlines
			_, _ = io.WriteString(c, c.RemoteAddr().String())
		})
	}
}

func (e *Echo) serveUDP() {
	buf := make([]byte, 512)
	for {
		_, from, err := e.udp.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		_, _ = e.udp.WriteTo([]byte(from.String()), from)
	}
}

// Close ends the server.
func (e *Echo) Close() {
	_ = e.tcp.Close()
	_ = e.udp.Close()
	e.running.Wait()
}

// Ask asks an Echo from a host, over "tcp4" or "udp4", and returns the address
// that it saw.
func Ask(ctx context.Context, from *netns.Host, network string, to netip.AddrPort) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	c, err := from.Dial(ctx, network, to.String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ask %s: %w", to, err)
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return netip.Addr{}, fmt.Errorf("ask %s: %w", to, err)
	}
	if network == "udp4" {
		if _, err := c.Write([]byte("?")); err != nil {
			return netip.Addr{}, fmt.Errorf("ask %s: %w", to, err)
		}
	}
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ask %s: %w", to, err)
	}
	seen, err := netip.ParseAddrPort(string(buf[:n]))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("ask %s: answer %q: %w", to, buf[:n], err)
	}
	return seen.Addr().Unmap(), nil
}
