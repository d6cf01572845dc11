package flows

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

// Balancer is a TCP load balancer with IP targets: each connection goes to the
// next target, from the balancer's own address.
type Balancer struct {
	Addr netip.AddrPort

	host     *netns.Host
	targets  []netip.AddrPort
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	running  sync.WaitGroup
	next     atomic.Uint64
}

// ServeBalancer serves on an address of the host.
func ServeBalancer(ctx context.Context, h *netns.Host, addr netip.AddrPort, targets []netip.AddrPort) (*Balancer, error) {
	if len(targets) == 0 {
		return nil, errors.New("serve load balancer: no targets")
	}
	l, err := h.Listen(ctx, "tcp4", addr.String())
	if err != nil {
		return nil, fmt.Errorf("serve load balancer: %w", err)
	}
	b := &Balancer{Addr: l.Addr().(*net.TCPAddr).AddrPort(), host: h, targets: targets, listener: l}
	b.ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	b.running.Go(b.serve)
	return b, nil
}

func (b *Balancer) serve() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		target := b.targets[(b.next.Add(1)-1)%uint64(len(b.targets))]
		b.running.Go(func() { b.relay(c.(*net.TCPConn), target) })
	}
}

// relay copies both ways; a target that cannot be reached closes the client's
// connection, as a load balancer does.
func (b *Balancer) relay(client *net.TCPConn, target netip.AddrPort) {
	defer client.Close()
	ctx, cancel := context.WithTimeout(b.ctx, askTimeout)
	defer cancel()
	conn, err := b.host.Dial(ctx, "tcp4", target.String())
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	defer context.AfterFunc(b.ctx, func() { client.Close(); server.Close() })()
	var both sync.WaitGroup
	both.Go(func() { pipe(server, client) })
	pipe(client, server)
	both.Wait()
}

// pipe copies until the end, and passes the end on.
func pipe(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from) // the other side sees a broken connection as its end
	_ = to.CloseWrite()
}

// Close ends the balancer and its connections.
func (b *Balancer) Close() {
	b.cancel()
	_ = b.listener.Close()
	b.running.Wait()
}
