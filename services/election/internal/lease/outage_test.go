package lease_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// The API server is frozen, then killed and started again: writes end in time with an
// outcome that promises nothing, and following goes on by itself.
func TestOutages(t *testing.T) {
	s := apiservertest.Start(t)
	kubeconfig := s.ServiceAccountKubeconfig(apiservertest.Election)
	f := follow(t, kubeconfig)
	made := swap(t, f.Lease, 0, record(gateway1, 1, 1), term.Swapped)
	f.untilWrite(t, 1)

	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	swap(t, f.Lease, made.Version, record(gateway1, 1, 2), term.Unknown)
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	f.Read(t.Context())
	// The frozen write may or may not be applied in the end.
	after := f.until(t, "any record", func(o term.Observation) bool { return o.Present })
	t.Logf("the write that timed out was applied: %v", after.Record.Write == 2)

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	swap(t, f.Lease, after.Version, record(gateway1, 1, 3), term.Failed)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	f.Read(t.Context())
	after = f.until(t, "the record after the restart", func(o term.Observation) bool { return o.Present })
	if after.Rollback {
		t.Error("a restart looks like a rollback")
	}
	writer := follow(t, kubeconfig)
	known := writer.until(t, "any record", func(o term.Observation) bool { return o.Present })
	swap(t, writer.Lease, known.Version, record(gateway1, 2, 9), term.Swapped)
	f.untilWrite(t, 9)
}

// Connections die without a word, as they do when a load balancer's target goes. Calls
// on them time out, the next ones make new connections, and the watch is found dead too.
func TestDeadConnections(t *testing.T) {
	s, kubeconfig, _ := fresh(t)
	p := newProxy(t, s.Address())
	f := follow(t, p.kubeconfig(t, kubeconfig, s.Address()))
	writer := open(t, kubeconfig)
	made := swap(t, writer, 0, record(gateway1, 1, 1), term.Swapped)
	f.untilWrite(t, 1)

	p.freeze()
	renewed := swap(t, writer, made.Version, record(gateway1, 1, 2), term.Swapped)
	f.untilWrite(t, 2)
	// The connection that just answered a read is alive.
	swap(t, f.Lease, renewed.Version, record(gateway1, 1, 3), term.Swapped)
	f.until(t, "a living watch", func(term.Observation) bool { return f.Watched() >= renewed.Version })
}

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
		if _, err := io.Copy(to, strings.NewReader(string(buffer[:read]))); err != nil {
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

// kubeconfig is a copy of the given one that leads through the proxy.
func (p *proxy) kubeconfig(t *testing.T, path, address string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	through := strings.ReplaceAll(string(text), address, p.listener.Addr().String())
	copied := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(copied, []byte(through), 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}
