package peers

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/peers/session"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// network carries datagrams between a and b, who take its two sockets for each other, and does to them what a
// hostile one can do.
type network struct {
	asA, asB *net.UDPConn // what b takes for a, and a for b
	a, b     netip.AddrPort

	mu       sync.Mutex
	cutAB    bool // what a sends to b is lost
	captured [][]byte
	wait     sync.WaitGroup
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{}
	for _, c := range []**net.UDPConn{&n.asA, &n.asB} {
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.98.9:0")))
		if err != nil {
			t.Fatal(err)
		}
		*c = conn
	}
	t.Cleanup(func() {
		n.asA.Close()
		n.asB.Close()
		n.wait.Wait()
	})
	return n
}

func local(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

func (n *network) run(a, b netip.AddrPort) {
	n.a, n.b = a, b
	n.wait.Go(func() { n.carry(n.asB, n.asA, a, b) })
	n.wait.Go(func() { n.carry(n.asA, n.asB, b, a) })
}

func (n *network) carry(in, out *net.UDPConn, from, to netip.AddrPort) {
	p := make([]byte, 2048)
	for {
		size, source, err := in.ReadFromUDPAddrPort(p)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if source != from {
			continue
		}
		n.mu.Lock()
		lost := n.cutAB && from == n.a
		if from == n.b && len(n.captured) < 5000 {
			n.captured = append(n.captured, bytes.Clone(p[:size]))
		}
		n.mu.Unlock()
		if !lost {
			_, _ = out.WriteToUDPAddrPort(p[:size], to)
		}
	}
}

// inject sends to a as if it came from b.
func (n *network) inject(t *testing.T, p []byte) {
	t.Helper()
	if _, err := n.asB.WriteToUDPAddrPort(p, n.a); err != nil {
		t.Fatal(err)
	}
}

func (n *network) record() [][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.captured)
}

func (n *network) cut(yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cutAB = yes
}

// apart makes two gateways with a network between them.
func apart(t *testing.T) (n *network, a, b *gateway) {
	t.Helper()
	n = newNetwork(t)
	a = start(t, "a", "127.0.98.1:0", func(c *Config) { c.Static = []netip.AddrPort{local(n.asB)} })
	b = start(t, "b", "127.0.98.2:0", func(c *Config) { c.Static = []netip.AddrPort{local(n.asA)} })
	n.run(addr(a), addr(b))
	a.expect(t, session.CameUp)
	b.expect(t, session.CameUp)
	return n, a, b
}

func TestOneWay(t *testing.T) {
	n, a, b := apart(t)
	n.cut(true)
	b.expect(t, session.BecameSuspected)
	a.expect(t, session.BecameUnheard)
	n.cut(false)
	a.expect(t, session.Recovered)
	b.expect(t, session.Recovered)
}

func TestReplayAndForgery(t *testing.T) {
	n, a, b := apart(t)
	a.goesOn(t)
	good := n.record()
	forged := bytes.Clone(good[len(good)-1])
	forged[100] ^= 1
	own, err := (&wire.Heartbeat{
		Multiplier: 3, Session: 1, Sequence: 1, Period: period, Least: period, Self: wire.Self{ID: "a"},
	}).Append(nil, mustKeys(t, keyLine(1))[0])
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := (&wire.Heartbeat{
		Multiplier: 3, Session: 1, Sequence: 1 << 60, Period: period, Least: period, Self: wire.Self{ID: "b"},
	}).Append(nil, mustKeys(t, keyLine(9))[0])
	if err != nil {
		t.Fatal(err)
	}
	nonsense := absurd(good[0])
	for reason, p := range map[Reason][]byte{
		BadSize: forged[:100], BadVersion: make([]byte, wire.Size), BadKey: stranger, BadContent: nonsense, OwnID: own, Replayed: good[0],
	} {
		before := a.Stats().Dropped[reason]
		n.inject(t, p)
		eventually(t, reason.String()+" is counted", func() bool { return a.Stats().Dropped[reason] > before })
	}
	before := a.Stats().Dropped[BadKey]
	n.inject(t, forged)
	n.inject(t, make([]byte, 2000))
	eventually(t, "a changed bit is counted", func() bool { return a.Stats().Dropped[BadKey] > before })
	a.quiet(t)

	// All that was ever sent is of no use once the gateway is dead, even to one that has just started.
	record := n.record()
	b.crash()
	drop := a.Stats().Dropped[Replayed]
	for _, p := range record {
		n.inject(t, p)
	}
	eventually(t, "replays are counted", func() bool { return a.Stats().Dropped[Replayed] > drop })
	a.expect(t, session.BecameSuspected)
	at := addr(a)
	a.stop()
	a = start(t, "a", at.String(), func(c *Config) { c.Static = []netip.AddrPort{local(n.asB)} })
	for _, p := range record {
		n.inject(t, p)
	}
	eventually(t, "nothing is proven", func() bool { return a.Stats().Dropped[Unproven] > 0 })
	a.quiet(t)
	if got := a.Stats().Accepted; got != 0 {
		t.Errorf("%d recorded heartbeats were accepted", got)
	}
}

// absurd signs a heartbeat with the right key that no gateway would send: one that was right, of a state that does not exist.
func absurd(good []byte) []byte {
	p := bytes.Clone(good)
	p[5] = 77
	m := hmac.New(sha256.New, bytes.Repeat([]byte{1}, 32))
	m.Write([]byte("hybrid-gateway heartbeat v1\x00"))
	m.Write(p[:wire.Size-sha256.Size])
	return m.Sum(p[:wire.Size-sha256.Size])
}

// Who is not a peer gets no answer, whatever it sends.
func TestStrangersGetNoAnswer(t *testing.T) {
	a, _ := couple(t, nil)
	stranger, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.98.8:0")))
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	p, err := (&wire.Heartbeat{
		Multiplier: 3, Session: 1, Sequence: 1, Period: period, Least: period, Self: wire.Self{ID: "c"},
	}).Append(nil, mustKeys(t, keyLine(1))[0])
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := stranger.WriteToUDPAddrPort(p, addr(a)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are counted", func() bool { return a.Stats().Dropped[UnknownSource] == 100 })
	a.goesOn(t)
	// Whatever was sent to it by now is there.
	_ = stranger.SetReadDeadline(time.Now().Add(time.Millisecond))
	if size, _, err := stranger.ReadFromUDPAddrPort(p); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes came back, error %v", size, err)
	}
	if got := len(a.Peers()); got != 1 {
		t.Errorf("%d peers", got)
	}
}

// A flood from a stranger neither stops the heartbeats nor makes anybody suspected.
func TestFlood(t *testing.T) {
	a, b := couple(t, nil)
	flood, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(addr(a)))
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	p := make([]byte, wire.Size)
	var wait sync.WaitGroup
	end := make(chan struct{})
	wait.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				_, _ = flood.Write(p)
			}
		}
	})
	for range 10 {
		b.goesOn(t)
	}
	close(end)
	wait.Wait()
	a.goesOn(t)
	b.quiet(t)
	if a.Stats().Dropped[UnknownSource] < 1000 {
		t.Errorf("stats are %+v", a.Stats())
	}
}
