package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/api"
	"github.com/hybridgateway/gateway/services/election/internal/config"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// shards are the loops of all shards, and what they share.
type shards struct {
	loops      []*loop
	neighbours *neighbours
	leadership *feed.Log[api.Leadership]
	// synced is called when the records of all shards were seen for the first time.
	synced func()
}

func newShards(c config.Config, t *telemetry.Telemetry) (*shards, error) {
	s := &shards{leadership: feed.NewLog[api.Leadership](history), synced: func() {}}
	if err := s.open(c, t); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *shards) open(c config.Config, t *telemetry.Telemetry) error {
	metrics, err := newMetrics(t.Meter, c.GatewayID)
	if err != nil {
		return err
	}
	peerMetrics, err := newPeerMetrics(t.Meter)
	if err != nil {
		return err
	}
	var unseen atomic.Int64
	unseen.Store(int64(len(c.Shards)))
	for _, shard := range c.Shards {
		r, err := openRecord(c, shard.Name, t.Log.With(telemetry.KeyShard, shard.Name))
		if err != nil {
			return err
		}
		l := newLoop(c, shard, t, metrics, r, s.leadership)
		l.known = func() {
			if unseen.Add(-1) == 0 {
				s.leadership.MarkSynced()
				s.synced()
			}
		}
		s.loops = append(s.loops, l)
	}
	// Last, since only its run closes the socket.
	s.neighbours, err = newNeighbours(c, t.Log, peerMetrics)
	if err != nil {
		return err
	}
	for _, l := range s.loops {
		l.neighbours, l.heard = s.neighbours, s.neighbours.subscribe()
	}
	return nil
}

func (s *shards) close() {
	for _, l := range s.loops {
		l.record.Close()
	}
}

// run works until all shards are handed over, which stop asks for, or ctx ends.
func (s *shards) run(ctx context.Context, stop <-chan struct{}) error {
	errs := make([]error, len(s.loops))
	rest, end := context.WithCancel(ctx)
	var loops, ended sync.WaitGroup
	for i, l := range s.loops {
		loops.Go(func() {
			errs[i] = l.run(ctx, stop)
			// The streams are shared: who does not listen any more must not hold the others up.
			ended.Go(func() { l.drain(rest) })
		})
	}
	loops.Wait()
	end()
	ended.Wait()
	return errors.Join(errs...)
}

// hand hands a shard over as an operator asks.
func (s *shards) hand(ctx context.Context, shard, to string) (term.Transferred, error) {
	for _, l := range s.loops {
		if l.shard == shard {
			return l.requestTransfer(ctx, to)
		}
	}
	return term.Transferred{}, api.ErrNoSuchShard
}

// ready is the reason why this gateway is not ready.
func (s *shards) ready() error {
	for _, l := range s.loops {
		if err := l.ready.check(); err != nil {
			return fmt.Errorf("shard %s: %w", l.shard, err)
		}
	}
	return nil
}
