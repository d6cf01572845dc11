package registertest

import (
	"net"
	"sync"
	"testing"
)

// link is a register that reaches its servers through proxies.
type link struct {
	register Register
	proxies  []*proxy
}

func newLink(t *testing.T, b Backend) *link {
	t.Helper()
	l := &link{}
	var through []string
	for _, a := range b.Addresses {
		p := newProxy(t, a)
		l.proxies, through = append(l.proxies, p), append(through, p.listener.Addr().String())
	}
	l.register = b.OpenThrough(t, through...)
	return l
}

// freeze lets nothing more through on the connections there are.
func (l *link) freeze() {
	for _, p := range l.proxies {
		p.freeze()
	}
}

// cut is a partition of the directions given, until both are false: what was sent meanwhile is not lost, but arrives then, as TCP
// sends it again.
func (l *link) cut(requests, replies bool) {
	for _, p := range l.proxies {
		p.cut(requests, replies)
	}
}

// proxy passes connections on to an address, until they are frozen, and while they are not cut.
type proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	frozen int // how many of conns are frozen, in pairs
	// held are the directions that are cut: requests, replies. mended tells of a change.
	held   [2]bool
	mended *sync.Cond
	closed bool
}

// The directions of a proxy.
const (
	requests = iota
	replies
)

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	p.mended = sync.NewCond(&p.mu)
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			p.mu.Lock()
			n := len(p.conns)
			p.conns = append(p.conns, client, server)
			p.mu.Unlock()
			p.wg.Go(func() { p.pass(n, requests, client, server) })
			p.wg.Go(func() { p.pass(n, replies, server, client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.closed = true
		p.mended.Broadcast()
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

// pass copies bytes of connection n in one direction, and swallows them once it is frozen.
func (p *proxy) pass(n, direction int, from, to net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		read, err := from.Read(buffer)
		p.mu.Lock()
		for p.held[direction] && !p.closed {
			p.mended.Wait()
		}
		frozen := n < p.frozen
		p.mu.Unlock()
		if err != nil {
			if !frozen {
				to.Close()
			}
			return
		}
		if frozen {
			continue
		}
		if _, err := to.Write(buffer[:read]); err != nil {
			return
		}
	}
}

// freeze lets nothing more through on the connections there are.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = len(p.conns)
}

func (p *proxy) cut(requests, replies bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = [2]bool{requests, replies}
	p.mended.Broadcast()
}
