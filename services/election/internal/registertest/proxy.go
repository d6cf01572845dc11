package registertest

import (
	"net"
	"sync"
	"testing"
)

// proxy passes connections on to an address, until they are frozen.
type proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	frozen int // how many of conns are frozen, in pairs
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
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
			p.wg.Go(func() { p.pass(n, client, server) })
			p.wg.Go(func() { p.pass(n, server, client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

// pass copies bytes of connection n, and swallows them once it is frozen.
func (p *proxy) pass(n int, from, to net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		read, err := from.Read(buffer)
		p.mu.Lock()
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
