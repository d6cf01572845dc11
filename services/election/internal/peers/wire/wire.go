// Package wire is the heartbeat between gateways as it stands in a UDP datagram: a fixed size, a version, an
// HMAC-SHA256 over all of it. Nothing is taken out of a datagram before its HMAC has been verified.
//
// # Layout of version 1, big endian
//
//	  0  magic "HGHB"                  4
//	  4  version                       1
//	  5  state                         1
//	  6  detect multiplier             1
//	  7  health bits                   1
//	  8  session of the sender         8
//	 16  session of the receiver       8   the one that the sender hears; zero when it hears none
//	 24  challenge                     8   to be echoed by who wants to begin a session
//	 32  echo                          8   the receiver's challenge
//	 40  sequence                      8   grows with each heartbeat of a session
//	 48  period, microseconds          4   the time in which the sender sends the next one
//	 52  least period, microseconds    4   the sender wants heartbeats no more often
//	 56  node IP                      16   IPv4 as ::ffff:a.b.c.d, zero when unknown
//	 72  VTEP MAC                      6
//	 78  number of shards              1
//	 79  zero                          1
//	 80  ENI                          32   padded with zeros, as all text is
//	112  zone                         32
//	144  gateway id                   64
//	208  shards                    8*40   name 32, epoch 8; unused ones are zero
//	528  HMAC-SHA256                  32
package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// Size of every datagram, in bytes.
const Size = 560

// Version of the format.
const Version = 1

const (
	magic = "HGHB"
	// label keeps a key that is used for something else, too, from making a valid heartbeat.
	label = "hybrid-gateway heartbeat v1\x00"

	offSession = 8
	offTheirs  = 16
	offChal    = 24
	offEcho    = 32
	offSeq     = 40
	offPeriod  = 48
	offLeast   = 52
	offIP      = 56
	offMAC     = 72
	offShardN  = 78
	offENI     = 80
	offZone    = 112
	offID      = 144
	offShards  = 208
	offSum     = 528

	textSize  = 32
	shardSize = textSize + 8
)

// Limits of what a heartbeat can carry.
const (
	MaxID     = 64
	MaxText   = textSize
	MaxShards = 8
	// A period outside of these is nobody's configuration.
	MinPeriod = time.Millisecond
	MaxPeriod = 10 * time.Second
	// MaxDetect bounds multiplier times period.
	MaxDetect = 30 * time.Second
)

// State is the sender's view of its session with the receiver, numbered as in RFC 5880 section 4.1.
type State uint8

const (
	// AdminDown: the sender ends on purpose and is not to be suspected.
	AdminDown State = iota
	// Down: the sender does not hear the receiver.
	Down
	// Init: the sender hears the receiver, and was not yet told that the receiver hears it.
	Init
	// Up: each hears the other.
	Up
)

func (s State) String() string {
	switch s {
	case AdminDown:
		return "admin-down"
	case Down:
		return "down"
	case Init:
		return "init"
	case Up:
		return "up"
	}
	return "invalid"
}

// Health is what a gateway says about itself.
type Health uint8

const (
	// Standing: it may become the leader.
	Standing Health = 1 << iota
	// Leaving: it is handing over, and will end.
	Leaving
	// PathDead: it does not forward.
	PathDead

	allHealth = Standing | Leaving | PathDead
)

// Has tells whether all bits of h are set.
func (b Health) Has(h Health) bool { return b&h == h }

func (b Health) String() string {
	var names []string
	for _, n := range []struct {
		bit  Health
		name string
	}{{Standing, "standing"}, {Leaving, "leaving"}, {PathDead, "path-dead"}} {
		if b.Has(n.bit) {
			names = append(names, n.name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// Shard is the latest epoch of a shard under which the sender found its routes in place.
type Shard struct {
	Name  string
	Epoch uint64
}

// Self is what a gateway tells its peers about itself. It can be compared with ==.
type Self struct {
	// ID is the gateway's name, of at most MaxID bytes.
	ID string
	// NodeIP is invalid when it is not known.
	NodeIP netip.Addr
	// ENI and Zone have at most MaxText bytes each.
	ENI, Zone string
	VTEPMAC   netaddr.MAC
	Health    Health
	// Converged holds the shards in use first; the rest is zero. NewShards makes it.
	Converged [MaxShards]Shard
}

// Heartbeat is one datagram.
type Heartbeat struct {
	State State
	// Multiplier times Period is the silence after which the sender is to be suspected.
	Multiplier uint8
	// Session is the sender's, Theirs the receiver's, if the sender hears it.
	Session, Theirs uint64
	Challenge, Echo uint64
	Sequence        uint64
	Period, Least   time.Duration
	Self            Self
}

// Key authenticates heartbeats.
type Key []byte

// What is wrong with a datagram.
var (
	ErrSize    = errors.New("not the size of a heartbeat")
	ErrVersion = errors.New("not a heartbeat of a version known here")
	ErrKey     = errors.New("not authenticated by a key known here")
	ErrContent = errors.New("authentic, but its content is absurd")
)

// NewShards makes the array of a Self.
func NewShards(shards ...Shard) ([MaxShards]Shard, error) {
	var a [MaxShards]Shard
	if len(shards) > MaxShards {
		return a, fmt.Errorf("%d shards: a heartbeat carries at most %d", len(shards), MaxShards)
	}
	copy(a[:], shards)
	return a, nil
}

// Validate says what a heartbeat cannot carry.
func (s *Self) Validate() error {
	if s.ID == "" {
		return errors.New("gateway id is empty")
	}
	if !s.Health.valid() {
		return fmt.Errorf("health %#x has unknown bits", uint8(s.Health))
	}
	if s.NodeIP.IsValid() && (s.NodeIP.Zone() != "" || s.NodeIP.IsUnspecified() || s.NodeIP.Is4In6()) {
		return fmt.Errorf("node IP %s: must be one address, without a zone", s.NodeIP)
	}
	for _, t := range []struct {
		what, text string
		limit      int
	}{{"gateway id", s.ID, MaxID}, {"ENI", s.ENI, MaxText}, {"zone", s.Zone, MaxText}} {
		if err := validText(t.what, t.text, t.limit); err != nil {
			return err
		}
	}
	ended := false
	for i, sh := range s.Converged {
		switch {
		case sh.Name == "" && sh.Epoch != 0:
			return fmt.Errorf("epoch %d without a shard", sh.Epoch)
		case sh.Name == "":
			ended = true
			continue
		case ended:
			return fmt.Errorf("shard %q comes after an empty one", sh.Name)
		}
		if err := validText("shard", sh.Name, MaxText); err != nil {
			return err
		}
		for _, earlier := range s.Converged[:i] {
			if earlier.Name == sh.Name {
				return fmt.Errorf("shard %q occurs twice", sh.Name)
			}
		}
	}
	return nil
}

func (b Health) valid() bool { return b&^allHealth == 0 }

// validText wants UTF-8 without control characters, for it goes into logs.
func validText(what, s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("%s %q: has %d bytes, at most %d are allowed", what, s, len(s), limit)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%s %q: must be printable", what, s)
	}
	return nil
}

// Epoch is the epoch of a shard, zero when the gateway did not say one.
func (s *Self) Epoch(shard string) uint64 {
	for _, sh := range s.Converged {
		if sh.Name == shard && shard != "" {
			return sh.Epoch
		}
	}
	return 0
}

// validate says what no gateway would send.
func (h *Heartbeat) validate() error {
	switch {
	case h.State > Up:
		return fmt.Errorf("state %d is unknown", h.State)
	case h.Multiplier == 0:
		return errors.New("the multiplier is zero")
	case h.Session == 0 || h.Sequence == 0:
		return errors.New("session or sequence is zero")
	case h.State >= Init && h.Theirs == 0:
		return fmt.Errorf("state %s without a session", h.State)
	}
	for _, p := range []time.Duration{h.Period, h.Least} {
		if p < MinPeriod || p > MaxPeriod || p%time.Microsecond != 0 {
			return fmt.Errorf("period %s: must be %s to %s, in whole microseconds", p, MinPeriod, MaxPeriod)
		}
	}
	if d := time.Duration(h.Multiplier) * h.Period; d > MaxDetect {
		return fmt.Errorf("would be suspected after %s, %s at most is allowed", d, MaxDetect)
	}
	return h.Self.Validate()
}

// Append adds the datagram to b. It fails when the heartbeat is not valid, that is, never for one that was made
// from a valid Self.
func (h *Heartbeat) Append(b []byte, key Key) ([]byte, error) {
	if err := h.validate(); err != nil {
		return nil, fmt.Errorf("encode heartbeat: %w", err)
	}
	start := len(b)
	b = append(b, make([]byte, Size)...)
	p := b[start:]
	copy(p, magic)
	p[4], p[5], p[6], p[7] = Version, byte(h.State), h.Multiplier, byte(h.Self.Health)
	binary.BigEndian.PutUint64(p[offSession:], h.Session)
	binary.BigEndian.PutUint64(p[offTheirs:], h.Theirs)
	binary.BigEndian.PutUint64(p[offChal:], h.Challenge)
	binary.BigEndian.PutUint64(p[offEcho:], h.Echo)
	binary.BigEndian.PutUint64(p[offSeq:], h.Sequence)
	binary.BigEndian.PutUint32(p[offPeriod:], uint32(h.Period/time.Microsecond))
	binary.BigEndian.PutUint32(p[offLeast:], uint32(h.Least/time.Microsecond))
	if h.Self.NodeIP.IsValid() {
		ip := h.Self.NodeIP.As16()
		copy(p[offIP:], ip[:])
	}
	copy(p[offMAC:], h.Self.VTEPMAC[:])
	copy(p[offENI:offENI+textSize], h.Self.ENI)
	copy(p[offZone:offZone+textSize], h.Self.Zone)
	copy(p[offID:offID+MaxID], h.Self.ID)
	for i, sh := range h.Self.Converged {
		if sh.Name == "" {
			break
		}
		q := p[offShards+i*shardSize:]
		copy(q[:textSize], sh.Name)
		binary.BigEndian.PutUint64(q[textSize:], sh.Epoch)
		p[offShardN]++
	}
	sum(p[:offSum], key, p[offSum:offSum])
	return b, nil
}

func sum(p []byte, key Key, into []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(label))
	m.Write(p)
	return m.Sum(into)
}

// Parse verifies a datagram with one of the keys and takes it apart. The error is one of this package's. There is exactly
// one datagram for each heartbeat and key: whatever Parse accepts, Append makes again.
func Parse(p []byte, keys []Key) (Heartbeat, error) {
	if len(p) != Size {
		return Heartbeat{}, ErrSize
	}
	if string(p[:4]) != magic || p[4] != Version {
		return Heartbeat{}, ErrVersion
	}
	authentic := false
	for _, k := range keys {
		var s [sha256.Size]byte
		if hmac.Equal(sum(p[:offSum], k, s[:0]), p[offSum:]) {
			authentic = true
			break
		}
	}
	if !authentic {
		return Heartbeat{}, ErrKey
	}
	h, err := decode(p)
	if err != nil {
		return Heartbeat{}, fmt.Errorf("%w: %w", ErrContent, err)
	}
	return h, nil
}

func decode(p []byte) (Heartbeat, error) {
	u64 := func(off int) uint64 { return binary.BigEndian.Uint64(p[off:]) }
	micro := func(off int) time.Duration {
		return time.Duration(binary.BigEndian.Uint32(p[off:])) * time.Microsecond
	}
	h := Heartbeat{
		State: State(p[5]), Multiplier: p[6],
		Session: u64(offSession), Theirs: u64(offTheirs),
		Challenge: u64(offChal), Echo: u64(offEcho), Sequence: u64(offSeq),
		Period: micro(offPeriod), Least: micro(offLeast),
	}
	s := &h.Self
	s.Health = Health(p[7])
	if p[offShardN+1] != 0 {
		return h, errors.New("reserved byte is in use")
	}
	if ip := netip.AddrFrom16([16]byte(p[offIP : offIP+16])); !ip.IsUnspecified() {
		s.NodeIP = ip.Unmap()
	}
	copy(s.VTEPMAC[:], p[offMAC:])
	var err [3]error
	s.ENI, err[0] = text(p[offENI : offENI+textSize])
	s.Zone, err[1] = text(p[offZone : offZone+textSize])
	s.ID, err[2] = text(p[offID : offID+MaxID])
	if e := errors.Join(err[:]...); e != nil {
		return h, e
	}
	n := int(p[offShardN])
	if n > MaxShards {
		return h, fmt.Errorf("%d shards: at most %d are allowed", n, MaxShards)
	}
	for i := range MaxShards {
		q := p[offShards+i*shardSize:]
		name, err := text(q[:textSize])
		if err != nil {
			return h, err
		}
		if (name != "") != (i < n) {
			return h, errors.New("the number of shards is not what it is said to be")
		}
		s.Converged[i] = Shard{name, binary.BigEndian.Uint64(q[textSize:])}
	}
	return h, h.validate()
}

// text takes the padding off; nothing may follow it.
func text(p []byte) (string, error) {
	s := strings.TrimRight(string(p), "\x00")
	if strings.Contains(s, "\x00") {
		return "", errors.New("text with a zero inside")
	}
	return s, nil
}
