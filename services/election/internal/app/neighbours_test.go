package app

import (
	"bytes"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/config"
	"github.com/hybridgateway/gateway/services/election/internal/peers"
	"github.com/hybridgateway/gateway/services/election/internal/peers/session"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

func TestPeersOf(t *testing.T) {
	shards, err := wire.NewShards(wire.Shard{Name: "default", Epoch: 7}, wire.Shard{Name: "zone-b", Epoch: 9})
	if err != nil {
		t.Fatal(err)
	}
	watched := func(id string, c session.Condition, heard time.Duration, h wire.Health) peers.Peer {
		return peers.Peer{Peer: session.Peer{
			Condition: c, Session: 5, Heard: heard, Detect: time.Second, Self: wire.Self{ID: id, ENI: "eni-" + id, Health: h, Converged: shards},
		}}
	}
	got := peersOf([]peers.Peer{
		watched("d", session.Alive, 4, wire.Standing|wire.Leaving),
		watched("c", session.Unheard, 3, wire.Standing|wire.PathDead),
		// b has moved: what is left of its old address says nothing.
		watched("b", session.Suspected, 9, wire.Standing),
		watched("b", session.Alive, 2, wire.Standing),
		watched("b", session.Left, 10, 0),
		watched("a", session.Suspected, 1, wire.Standing),
		watched("a", session.Suspected, 6, wire.Standing),
		watched("", session.Unknown, 0, 0),
		watched("e", session.Left, 5, wire.Standing),
	}, "zone-b")
	for i, want := range []struct {
		id        string
		condition term.Condition
		heard     time.Duration
		standing  bool
	}{
		{"a", term.Silent, 6, true},
		{"b", term.Hearing, 2, true},
		{"c", term.Deaf, 3, false},
		{"d", term.Hearing, 4, false},
		{"e", term.Left, 5, true},
	} {
		if i >= len(got.Peers) {
			t.Fatalf("got %+v", got)
		}
		p := got.Peers[i]
		if p.Gateway.ID != want.id || p.Condition != want.condition || p.Heard != want.heard || p.Standing != want.standing {
			t.Errorf("got %+v, want %+v", p, want)
		}
		if p.Gateway.ENI != "eni-"+want.id || p.Session != 5 || p.Converged != 9 || p.Detect != time.Second {
			t.Errorf("got %+v", p)
		}
	}
	if len(got.Peers) != 5 || got.Isolated {
		t.Errorf("got %+v", got)
	}
}

// Who has a key and is not told where the others are is warned at the start.
func TestNeighboursWithoutAddresses(t *testing.T) {
	for where, warned := range map[string]bool{"": true, "--peers=10.0.0.2": false, "--peer-name=gateways": false} {
		args := []string{"--gateway-id=gw1", "--peer-key-file=" + filepath.Join(t.TempDir(), "none")}
		if where != "" {
			args = append(args, where)
		}
		c, err := config.Parse(args, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		if _, err := newNeighbours(c, slog.New(slog.NewTextHandler(&log, nil)), nil); err == nil {
			t.Fatal("there is no key, and no error")
		}
		if got := strings.Count(log.String(), "neither --peers nor --peer-name"); (got == 1) != warned {
			t.Errorf("with %q %d warnings:\n%s", where, got, log.String())
		}
	}
}
