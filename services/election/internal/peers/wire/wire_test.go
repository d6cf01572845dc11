package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

func keyOf(b byte) Key { return bytes.Repeat([]byte{b}, 32) }

func full(t testing.TB) Heartbeat {
	t.Helper()
	shards, err := NewShards(Shard{"default", 7}, Shard{"zone-a", 1 << 63})
	if err != nil {
		t.Fatal(err)
	}
	return Heartbeat{
		State: Up, Multiplier: 15, Session: 1, Theirs: 2, Challenge: 3, Echo: 4, Sequence: 5,
		Period: 18 * time.Millisecond, Least: 5 * time.Millisecond,
		Self: Self{
			ID: "gateway-a", NodeIP: netip.MustParseAddr("10.0.1.10"), ENI: "eni-0123456789abcdef0", Zone: "us-east-1-wl1-bos-wlz-1",
			VTEPMAC: netaddr.MAC{2, 3, 4, 5, 6, 7}, Health: Standing | PathDead, Converged: shards,
		},
	}
}

func encode(t testing.TB, h Heartbeat, k Key) []byte {
	t.Helper()
	p, err := h.Append(nil, k)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRoundTrip(t *testing.T) {
	least := Heartbeat{Multiplier: 1, Session: 1, Sequence: 1, Period: MinPeriod, Least: MinPeriod, Self: Self{ID: "a"}}
	v6 := full(t)
	v6.Self.NodeIP = netip.MustParseAddr("2001:db8::1")
	long := full(t)
	long.Self.ID = strings.Repeat("x", MaxID)
	long.Self.ENI, long.Self.Zone = strings.Repeat("y", MaxText), strings.Repeat("z", MaxText)
	for i := range long.Self.Converged {
		long.Self.Converged[i] = Shard{strings.Repeat("s", MaxText-1) + string(rune('0'+i)), uint64(i)}
	}
	for name, h := range map[string]Heartbeat{"full": full(t), "least": least, "IPv6": v6, "longest": long} {
		t.Run(name, func(t *testing.T) {
			p := encode(t, h, keyOf(1))
			if len(p) != Size {
				t.Fatalf("%d bytes, want %d", len(p), Size)
			}
			got, err := Parse(p, []Key{keyOf(9), keyOf(1)})
			if err != nil || got != h {
				t.Errorf("got %+v, error %v; want %+v", got, err, h)
			}
		})
	}
}

// The layout is a contract with gateways of other versions, which run during an update.
func TestLayout(t *testing.T) {
	want, err := os.ReadFile("testdata/full.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.Dump(encode(t, full(t), keyOf(1))); got != string(want) {
		t.Errorf("the layout of version 1 has changed:\n%s", got)
	}
}

func TestEveryBitCounts(t *testing.T) {
	p := encode(t, full(t), keyOf(1))
	for i := range p {
		for bit := range 8 {
			p[i] ^= 1 << bit
			if h, err := Parse(p, []Key{keyOf(1)}); err == nil || h != (Heartbeat{}) {
				t.Fatalf("byte %d, bit %d changed: got %+v, error %v", i, bit, h, err)
			}
			p[i] ^= 1 << bit
		}
	}
}

func TestParseErrors(t *testing.T) {
	good := encode(t, full(t), keyOf(1))
	for name, c := range map[string]struct {
		p    []byte
		keys []Key
		want error
	}{
		"empty":         {nil, []Key{keyOf(1)}, ErrSize},
		"short":         {good[:Size-1], []Key{keyOf(1)}, ErrSize},
		"long":          {append(bytes.Clone(good), 0), []Key{keyOf(1)}, ErrSize},
		"other version": {append([]byte("HGHB\x02"), good[5:]...), []Key{keyOf(1)}, ErrVersion},
		"other program": {make([]byte, Size), []Key{keyOf(1)}, ErrVersion},
		"other key":     {good, []Key{keyOf(2), keyOf(3)}, ErrKey},
		"no key":        {good, nil, ErrKey},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(c.p, c.keys); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// Absurd content is refused on both sides, even when it is signed.
func TestAbsurd(t *testing.T) {
	for name, change := range map[string]func(*Heartbeat){
		"state":            func(h *Heartbeat) { h.State = 4 },
		"multiplier":       func(h *Heartbeat) { h.Multiplier = 0 },
		"session":          func(h *Heartbeat) { h.Session = 0 },
		"sequence":         func(h *Heartbeat) { h.Sequence = 0 },
		"up with nobody":   func(h *Heartbeat) { h.Theirs = 0 },
		"period short":     func(h *Heartbeat) { h.Period = 0 },
		"period long":      func(h *Heartbeat) { h.Period = MaxPeriod + time.Microsecond },
		"detection long":   func(h *Heartbeat) { h.Period, h.Multiplier = MaxPeriod, 4 },
		"least":            func(h *Heartbeat) { h.Least = MaxPeriod + time.Microsecond },
		"nanoseconds":      func(h *Heartbeat) { h.Period++ },
		"no id":            func(h *Heartbeat) { h.Self.ID = "" },
		"long id":          func(h *Heartbeat) { h.Self.ID = strings.Repeat("x", MaxID+1) },
		"long eni":         func(h *Heartbeat) { h.Self.ENI = strings.Repeat("x", MaxText+1) },
		"newline":          func(h *Heartbeat) { h.Self.Zone = "a\nb" },
		"not UTF-8":        func(h *Heartbeat) { h.Self.ID = "\xff" },
		"zero inside":      func(h *Heartbeat) { h.Self.ID = "a\x00b" },
		"health":           func(h *Heartbeat) { h.Self.Health = 1 << 7 },
		"address zone":     func(h *Heartbeat) { h.Self.NodeIP = netip.MustParseAddr("fe80::1%eth0") },
		"address mapped":   func(h *Heartbeat) { h.Self.NodeIP = netip.MustParseAddr("::ffff:1.2.3.4") },
		"address none":     func(h *Heartbeat) { h.Self.NodeIP = netip.IPv4Unspecified() },
		"shard twice":      func(h *Heartbeat) { h.Self.Converged[1] = h.Self.Converged[0] },
		"shard gap":        func(h *Heartbeat) { h.Self.Converged[0] = Shard{} },
		"epoch of nothing": func(h *Heartbeat) { h.Self.Converged[0].Name = "" },
		"long shard":       func(h *Heartbeat) { h.Self.Converged[0].Name = strings.Repeat("x", MaxText+1) },
	} {
		t.Run(name, func(t *testing.T) {
			h := full(t)
			change(&h)
			if _, err := h.Append(nil, keyOf(1)); err == nil {
				t.Error("it was encoded")
			}
		})
	}
	for name, change := range map[string]func([]byte){
		"state":           func(p []byte) { p[5] = 9 },
		"reserved":        func(p []byte) { p[offShardN+1] = 1 },
		"number too big":  func(p []byte) { p[offShardN] = MaxShards + 1 },
		"number too low":  func(p []byte) { p[offShardN] = 1 },
		"zero inside":     func(p []byte) { p[offID+1] = 0 },
		"shard zero":      func(p []byte) { p[offShards+1] = 0 },
		"no multiplier":   func(p []byte) { p[6] = 0 },
		"period too long": func(p []byte) { copy(p[offPeriod:], "\xff\xff\xff\xff") },
	} {
		t.Run("signed "+name, func(t *testing.T) {
			p := encode(t, full(t), keyOf(1))
			change(p)
			sum(p[:offSum], keyOf(1), p[offSum:offSum])
			if _, err := Parse(p, []Key{keyOf(1)}); !errors.Is(err, ErrContent) {
				t.Errorf("got %v, want %v", err, ErrContent)
			}
		})
	}
}

func TestShards(t *testing.T) {
	if _, err := NewShards(make([]Shard, MaxShards+1)...); err == nil {
		t.Error("too many shards were taken")
	}
	h := full(t)
	if got := h.Self.Epoch("default"); got != 7 {
		t.Errorf("epoch %d, want 7", got)
	}
	if got := h.Self.Epoch("") + h.Self.Epoch("zone-b"); got != 0 {
		t.Errorf("epoch %d of shards that are not there", got)
	}
}

func TestStrings(t *testing.T) {
	if got := (Standing | Leaving).String() + " " + Health(0).String(); got != "standing,leaving none" {
		t.Error(got)
	}
	if got := AdminDown.String() + " " + Up.String() + " " + State(9).String(); got != "admin-down up invalid" {
		t.Error(got)
	}
}

// FuzzParse gives arbitrary bytes to the parser, once as they are and once signed, so that the content is reached.
func FuzzParse(f *testing.F) {
	f.Add(encode(f, full(f), keyOf(1)))
	keys := []Key{keyOf(1)}
	f.Fuzz(func(t *testing.T, p []byte) {
		if _, err := Parse(p, []Key{keyOf(2)}); err == nil {
			t.Fatal("accepted without the key")
		}
		if len(p) != Size {
			return
		}
		sum(p[:offSum], keys[0], p[offSum:offSum])
		h, err := Parse(p, keys)
		if err != nil {
			return
		}
		again, err := h.Append(nil, keys[0])
		if err != nil || !bytes.Equal(again, p) {
			t.Fatalf("parsed %+v, which is encoded differently (error %v):\n%x\n%x", h, err, p, again)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p := encode(b, full(b), keyOf(1))
	keys := []Key{keyOf(2), keyOf(1)}
	for b.Loop() {
		if _, err := Parse(p, keys); err != nil {
			b.Fatal(err)
		}
	}
}
