package peers

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/peers/session"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// These tests run on machines that are busy with much else. So a peer is dead here after seconds, unless dying is what
// a test is about, and everything that is bound to happen may take long.
const (
	patience = 30 * time.Second
	period   = 20 * time.Millisecond
	tolerant = 150 // 3 s
	brisk    = 15  // 300 ms
)

func keyLine(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) + "\n"
}

func writeKeys(t *testing.T, path string, lines ...string) {
	t.Helper()
	// As a Secret's mount does it: whoever reads sees the old or the new content.
	fresh := path + ".new"
	err := os.WriteFile(fresh, []byte(strings.Join(lines, "")), 0o600)
	if err = errors.Join(err, os.Rename(fresh, path)); err != nil {
		t.Fatal(err)
	}
}

// gateway is a running Node.
type gateway struct {
	*Node
	keys   string
	events chan Event
	// stop ends it in order, crash without a word. Both wait for the end.
	stop, crash func()
}

// start runs a gateway on an address of the loopback network.
func start(t *testing.T, id string, listen string, change func(*Config)) *gateway {
	t.Helper()
	g := &gateway{keys: filepath.Join(t.TempDir(), "keys"), events: make(chan Event, 1000)}
	writeKeys(t, g.keys, keyLine(1))
	c := Config{
		Listen: netip.MustParseAddrPort(listen), KeyFile: g.keys, Self: wire.Self{ID: id}, Period: period, Multiplier: tolerant,
		Events: func(e Event) {
			if e.Change != session.Watched && e.Change != session.Forgotten { // TestWatchedAndForgotten is about these
				g.events <- e
			}
		}, Log: slog.New(slog.DiscardHandler), refresh: 20 * time.Millisecond,
	}
	if change != nil {
		change(&c)
	}
	n, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	g.Node = n
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	var once sync.Once
	g.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("gateway %s ended: %v", id, err)
			}
		})
	}
	g.crash = func() {
		once.Do(func() {
			_ = n.socket.close()
			if err := <-ended; err == nil {
				t.Errorf("gateway %s ended well without its socket", id)
			}
			cancel()
		})
	}
	t.Cleanup(g.stop)
	return g
}

func addr(g *gateway) netip.AddrPort { return g.Addr() }

// couple makes two gateways that know each other.
func couple(t *testing.T, change func(*Config)) (a, b *gateway) {
	t.Helper()
	a = start(t, "a", "127.0.98.1:0", change)
	b = start(t, "b", "127.0.98.2:0", change)
	a.SetPeers([]netip.AddrPort{addr(b)})
	b.SetPeers([]netip.AddrPort{addr(a)})
	a.expect(t, session.CameUp)
	b.expect(t, session.CameUp)
	return a, b
}

// expect waits for the next event, which must be this change.
func (g *gateway) expect(t *testing.T, c session.Change) Event {
	t.Helper()
	select {
	case e := <-g.events:
		if e.Change != c {
			t.Fatalf("%s of %s, want %s (it was last heard %s ago)", e.Change, e.Peer.Self.ID, c, g.config.clock()-e.Peer.Heard)
		}
		return e
	case <-time.After(patience):
		t.Fatalf("not reported: %s", c)
	}
	panic("unreachable")
}

// quiet checks that nothing was reported so far.
func (g *gateway) quiet(t *testing.T) {
	t.Helper()
	select {
	case e := <-g.events:
		t.Errorf("reported %s of %s", e.Change, e.Peer.Self.ID)
	default:
	}
}

func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !yes(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("did not happen: " + what)
		}
	}
}

// goesOn waits until a gateway has taken some more heartbeats for a sign of life.
func (g *gateway) goesOn(t *testing.T) {
	t.Helper()
	before := g.Stats().Accepted
	eventually(t, "more heartbeats", func() bool { return g.Stats().Accepted > before+5 })
}

func TestUpAndLeave(t *testing.T) {
	a, b := couple(t, nil)
	eventually(t, "the peer is shown", func() bool { return len(a.Peers()) == 1 && a.Peers()[0].Condition == session.Alive })
	p := a.Peers()[0]
	if p.Addr != addr(b) || p.Self.ID != "b" || p.Detect != tolerant*period {
		t.Errorf("peer is %+v", p)
	}
	b.stop()
	a.expect(t, session.WentAway)
	a.quiet(t)
}

func TestDeathAndReturn(t *testing.T) {
	a := start(t, "a", "127.0.98.1:0", func(c *Config) { c.Multiplier = brisk })
	b := start(t, "b", "127.0.98.2:0", func(c *Config) { c.Multiplier = brisk; c.Static = []netip.AddrPort{addr(a)} })
	at := addr(b)
	a.SetPeers([]netip.AddrPort{at})
	a.expect(t, session.CameUp)
	b.crash()
	// A machine that is busy may see a suspicion or two before; the last one stays.
	var last Event
	eventually(t, "the death is seen", func() bool {
		for len(a.events) > 0 {
			last = <-a.events
		}
		return last.Change == session.BecameSuspected && a.config.clock()-last.Peer.Heard > time.Second
	})
	c := start(t, "b", at.String(), func(c *Config) { c.Static = []netip.AddrPort{addr(a)} })
	eventually(t, "it is back", func() bool {
		for len(a.events) > 0 {
			last = <-a.events
		}
		return last.Change == session.Recovered
	})
	c.expect(t, session.CameUp)
}

func TestQuickRestart(t *testing.T) {
	a, b := couple(t, nil)
	at := addr(b)
	b.crash()
	b = start(t, "b", at.String(), func(c *Config) { c.Static = []netip.AddrPort{addr(a)} })
	b.expect(t, session.CameUp)
	a.expect(t, session.Restarted)
}

func TestSetSelf(t *testing.T) {
	a, b := couple(t, nil)
	s := wire.Self{ID: "b", NodeIP: netip.MustParseAddr("10.0.1.10"), ENI: "eni-1", Zone: "z", Health: wire.Standing}
	s.Converged[0] = wire.Shard{Name: "default", Epoch: 4}
	if err := b.SetSelf(s); err != nil {
		t.Fatal(err)
	}
	if e := a.expect(t, session.SelfChanged); e.Peer.Self != s {
		t.Errorf("heard %+v", e.Peer.Self)
	}
	s.ID = "c"
	if err := b.SetSelf(s); err == nil {
		t.Error("it was given another ID")
	}
	s.ID, s.Zone = "b", strings.Repeat("z", 33)
	if err := b.SetSelf(s); err == nil {
		t.Error("it tells a zone that is too long")
	}
}

// A gateway that stalls for longer than a detection time suspects nobody when it goes on.
func TestStalledReceiver(t *testing.T) {
	release := make(chan struct{})
	var block atomic.Bool
	var events []Event
	a := start(t, "a", "127.0.98.1:0", func(c *Config) {
		c.Multiplier = 50
		c.Events = func(e Event) {
			events = append(events, e) // read after the end
			if block.CompareAndSwap(true, false) {
				<-release
			}
		}
	})
	b := start(t, "b", "127.0.98.2:0", func(c *Config) { c.Multiplier = 50; c.Static = []netip.AddrPort{addr(a)} })
	a.SetPeers([]netip.AddrPort{addr(b)})
	b.expect(t, session.CameUp)
	block.Store(true)
	if err := b.SetSelf(wire.Self{ID: "b", Zone: "z"}); err != nil {
		t.Fatal(err)
	}
	b.expect(t, session.BecameSuspected)
	close(release)
	b.expect(t, session.Recovered)
	a.goesOn(t)
	a.stop()
	for _, e := range events {
		if e.Change == session.BecameSuspected {
			t.Errorf("the one that stalled suspects %s", e.Peer.Self.ID)
		}
	}
}

// The wall clock, by which the kernel stamps, may jump as it likes.
func TestWallClockJumps(t *testing.T) {
	var offset atomic.Int64
	a, b := couple(t, func(c *Config) {
		c.wall = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	})
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 5 * time.Second, -5 * time.Second, 1 << 62} {
		offset.Store(int64(jump))
		a.goesOn(t)
		b.goesOn(t)
	}
	a.quiet(t)
	b.quiet(t)
}

func TestKeyRotation(t *testing.T) {
	a, b := couple(t, nil)
	all := []*gateway{a, b}
	for _, lines := range [][]string{{keyLine(1), keyLine(2)}, {keyLine(2), keyLine(1)}, {keyLine(2)}} {
		for _, g := range all {
			writeKeys(t, g.keys, lines...)
			// The other has not got the step yet.
			eventually(t, "the keys are read", func() bool {
				g.mu.Lock()
				defer g.mu.Unlock()
				return len(g.Node.keys) == len(lines) && string(g.Node.keys[0]) == string(mustKeys(t, lines...)[0])
			})
			a.goesOn(t)
			b.goesOn(t)
		}
	}
	a.quiet(t)
	b.quiet(t)
	if got := a.Stats().Dropped[BadKey] + b.Stats().Dropped[BadKey]; got != 0 {
		t.Errorf("%d heartbeats were dropped", got)
	}
	// A file that is broken changes nothing.
	writeKeys(t, a.keys, "nonsense")
	a.goesOn(t)
	// A key that only one of them knows makes them strangers.
	writeKeys(t, a.keys, keyLine(3))
	a.expect(t, session.BecameSuspected)
	eventually(t, "bad keys are counted", func() bool { return a.Stats().Dropped[BadKey] > 0 && b.Stats().Dropped[BadKey] > 0 })
}

func mustKeys(t *testing.T, lines ...string) []wire.Key {
	t.Helper()
	keys, err := ParseKeys([]byte(strings.Join(lines, "")))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestParseKeys(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		keys    int
		problem string
	}{
		"one":           {keyLine(1), 1, ""},
		"two":           {keyLine(1) + keyLine(2), 2, ""},
		"no newline":    {strings.TrimSpace(keyLine(1)), 1, ""},
		"Windows":       {strings.ReplaceAll(keyLine(1)+"\n"+keyLine(2), "\n", "\r\n"), 2, ""},
		"none":          {"\n", 0, "no key in it"},
		"three":         {keyLine(1) + keyLine(2) + keyLine(3), 0, "3 keys: must be at most 2"},
		"short":         {"c2hvcnQ=", 0, "key 1 has 5 bytes: must have at least 32"},
		"not base64":    {keyLine(1) + "secret!\n", 0, "key 2 is not base64"},
		"much too long": {strings.Repeat(keyLine(1), 1000), 0, "1000 keys: must be at most 2"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParseKeys([]byte(c.content))
			if len(keys) != c.keys || (err == nil) != (c.problem == "") || err != nil && err.Error() != c.problem {
				t.Errorf("got %d keys, error %v", len(keys), err)
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"listen":      func(c *Config) { c.Listen = netip.AddrPort{} },
		"taken":       func(c *Config) { c.Listen = netip.MustParseAddrPort("203.0.113.1:9820") },
		"no keys":     func(c *Config) { c.KeyFile = "" },
		"keys absent": func(c *Config) { c.KeyFile += ".absent" },
		"events":      func(c *Config) { c.Events = nil },
		"self":        func(c *Config) { c.Self.ID = "" },
		"peer":        func(c *Config) { c.Static = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:0")} },
		"many":        func(c *Config) { c.Static = addresses(MaxPeers + 1) },
		"period":      func(c *Config) { c.Period = time.Microsecond },
		"multiplier":  func(c *Config) { c.Multiplier = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			keys := filepath.Join(t.TempDir(), "keys")
			writeKeys(t, keys, keyLine(1))
			c := Config{Listen: netip.MustParseAddrPort("127.0.98.1:0"), KeyFile: keys, Self: wire.Self{ID: "a"}, Events: func(Event) {}}
			change(&c)
			if _, err := New(c); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func addresses(n int) []netip.AddrPort {
	var all []netip.AddrPort
	for i := range n {
		all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 97, byte(i + 1)}), 9))
	}
	return all
}

func TestPeersAreBounded(t *testing.T) {
	a := start(t, "a", "127.0.98.1:0", nil)
	a.SetPeers(append(addresses(100), addr(a), netip.MustParseAddrPort("[2001:db8::1]:9820"), netip.AddrPort{}))
	eventually(t, "as many as are allowed", func() bool { return len(a.Peers()) == MaxPeers })
	if got := a.Stats().Refused; got != 36 {
		t.Errorf("%d were refused, want 36", got)
	}
	// Other ones take the place of those.
	others := addresses(200)[130:]
	a.SetPeers(others)
	eventually(t, "others", func() bool {
		return len(a.Peers()) == MaxPeers && !slices.ContainsFunc(a.Peers(), func(p Peer) bool { return !slices.Contains(others, p.Addr) })
	})
}

// A peer that is no longer named is watched as long as it lives.
func TestForgottenPeer(t *testing.T) {
	a, b := couple(t, nil)
	a.SetPeers(nil)
	a.goesOn(t)
	if got := len(a.Peers()); got != 1 {
		t.Fatalf("%d peers", got)
	}
	b.crash()
	a.expect(t, session.BecameSuspected)
	eventually(t, "it is forgotten", func() bool { return len(a.Peers()) == 0 })
}

// It is told when an address is watched, at the start as well, and when it no longer is.
func TestWatchedAndForgotten(t *testing.T) {
	events := make(chan Event, 8)
	expect := func(c session.Change, at netip.AddrPort) {
		t.Helper()
		select {
		case e := <-events:
			if e.Change != c || e.Peer.Addr != at || e.Peer.Condition != session.Unknown {
				t.Errorf("told %+v, want that %s is %s", e, at, c)
			}
		case <-time.After(patience):
			t.Fatalf("not reported: %s", c)
		}
	}
	nobody := addresses(2)
	a := start(t, "a", "127.0.98.1:0", func(c *Config) {
		c.Static = nobody[:1]
		c.Events = func(e Event) { events <- e }
	})
	expect(session.Watched, nobody[0])
	a.SetPeers(nobody[1:])
	expect(session.Watched, nobody[1])
	a.SetPeers(nil)
	expect(session.Forgotten, nobody[1])
}

// names is a Resolver.
type names struct {
	mu    sync.Mutex
	addrs []netip.Addr
	err   error
	calls int
}

func (n *names) set(err error, addrs ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err, n.addrs = err, addrs
}

func (n *names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.calls++
	if network != "ip4" || host != "gateways" {
		return nil, fmt.Errorf("looked up %s of %s", network, host)
	}
	return n.addrs, n.err
}

func (n *names) called() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.calls
}

// samePort finds a port that is free on both addresses.
func samePort(t *testing.T, a, b string) string {
	t.Helper()
	for range 100 {
		first, err := net.ListenPacket("udp4", a+":0")
		if err != nil {
			t.Fatal(err)
		}
		port := strings.TrimPrefix(first.LocalAddr().String(), a)
		second, err := net.ListenPacket("udp4", b+port)
		first.Close()
		if err == nil {
			second.Close()
			return port
		}
	}
	t.Fatal("no port is free on both addresses")
	return ""
}

func TestName(t *testing.T) {
	const ipA, ipB = "127.0.98.3", "127.0.98.4"
	port := samePort(t, ipA, ipB)
	var n names
	n.set(errors.New("no such host"))
	a := start(t, "a", ipA+port, func(c *Config) { c.Name, c.Resolver = "gateways", &n })
	b := start(t, "b", ipB+port, func(c *Config) { c.Static = []netip.AddrPort{netip.MustParseAddrPort(ipA + port)} })
	eventually(t, "the name is looked up again", func() bool { return n.called() > 3 })
	// The name has our own address, too.
	n.set(nil, netip.MustParseAddr(ipA), netip.MustParseAddr(ipB))
	a.expect(t, session.CameUp)
	b.expect(t, session.CameUp)
	if got := a.Peers(); len(got) != 1 {
		t.Errorf("peers are %v", got)
	}
	n.set(errors.New("the name server is gone"))
	before := n.called()
	eventually(t, "failures", func() bool { return n.called() > before+3 })
	a.goesOn(t)
	a.quiet(t)
}

// Who is not known yet, but has the key, makes us look the name up at once.
func TestLookUpOnContact(t *testing.T) {
	const ipA, ipB = "127.0.98.5", "127.0.98.6"
	port := samePort(t, ipA, ipB)
	var n names
	a := start(t, "a", ipA+port, func(c *Config) { c.Name, c.Resolver, c.refresh = "gateways", &n, time.Hour })
	eventually(t, "the first look-up", func() bool { return n.called() == 1 })
	n.set(nil, netip.MustParseAddr(ipB))
	start(t, "b", ipB+port, func(c *Config) { c.Static = []netip.AddrPort{netip.MustParseAddrPort(ipA + port)} })
	a.expect(t, session.CameUp)
	if n.called() > 10 {
		t.Errorf("looked up %d times", n.called())
	}
}
