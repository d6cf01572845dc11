package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hybridgateway/gateway/libs/etcdaccess"
	"github.com/hybridgateway/gateway/services/election/internal/follow"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// Config says which key, and how to reach it.
type Config struct {
	// Endpoints are the https URLs of the cluster's members.
	Endpoints []string
	// CA, Cert and Key are PEM files, for mutual TLS. They are read at each connection, so
	// that certificates can be renewed in place.
	CA, Cert, Key string
	// Prefix begins every key. The record of the shard is Prefix/Shard/leader.
	Prefix, Shard string
	// UserAgent names this program to the members.
	UserAgent string
	// CallTimeout is how long one read may take.
	CallTimeout time.Duration
	// PollPeriod is the time between reads while the watch is silent.
	PollPeriod time.Duration
	Log        *slog.Logger
}

// Etcd is the record. It is safe for concurrent use.
type Etcd struct {
	*follow.Follower

	config  Config
	key     string
	members []*member
	// current is the index of the member that last answered. All calls go to it first: a
	// member that does not answer then costs the time of one call, not of every third.
	current atomic.Int64

	mu sync.Mutex
	// newest is the newest version that anyone was told of.
	newest uint64
}

// New makes an Etcd. It reads the certificates, and does not connect.
func New(c Config) (*Etcd, error) {
	files := etcdaccess.Files{CA: c.CA, Cert: c.Cert, Key: c.Key}
	if _, err := files.Load(); err != nil {
		return nil, err
	}
	e := &Etcd{config: c, key: c.Prefix + "/" + c.Shard + "/leader"}
	e.Follower = follow.New(e, c.PollPeriod, c.Log)
	for _, url := range c.Endpoints {
		m, err := newMember(url, files, c)
		if err != nil {
			e.Close()
			return nil, err
		}
		e.members = append(e.members, m)
	}
	return e, nil
}

// Close closes all connections.
func (e *Etcd) Close() {
	for _, m := range e.members {
		m.client.Close() // it only says that it was cancelled
	}
}

// Fetch asks for what a majority of members holds.
func (e *Etcd) Fetch(ctx context.Context) (term.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, e.config.CallTimeout)
	defer cancel()
	floor := e.known()
	var got *clientv3.GetResponse
	_, err := e.try(ctx, func(ctx context.Context, c *clientv3.Client) (err error) {
		got, err = c.Get(ctx, e.key)
		return err
	})
	if err != nil {
		return term.Observation{}, fmt.Errorf("get %s: %w", e.key, err)
	}
	return e.answer(got, floor), nil
}

// Watch reads the record, then watches it from the next revision on. The client resumes
// a broken stream where it was by itself; a revision that was compacted meanwhile ends the
// watch, and the next one begins with a read. So does a member that has lost the
// others.
func (e *Etcd) Watch(ctx context.Context, tell func(term.Observation)) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	index := e.current.Load()
	c := e.members[index].client
	got, err := e.fetchFrom(ctx, c)
	if err != nil {
		e.leave(index)
		return err
	}
	tell(e.answer(got, 0))
	for response := range c.Watch(ctx, e.key, clientv3.WithRev(got.Header.Revision+1)) {
		if err := response.Err(); err != nil {
			e.leave(index)
			return fmt.Errorf("watch %s: %w", e.key, err)
		}
		for _, event := range response.Events {
			kv := event.Kv
			if event.Type == clientv3.EventTypeDelete {
				kv = nil
			}
			tell(e.note(kv, event.Kv.ModRevision, 0))
		}
	}
	return ctx.Err()
}

func (e *Etcd) fetchFrom(ctx context.Context, c *clientv3.Client) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, e.config.CallTimeout)
	defer cancel()
	got, err := c.Get(ctx, e.key)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", e.key, err)
	}
	return got, nil
}

func (e *Etcd) answer(got *clientv3.GetResponse, floor uint64) term.Observation {
	if len(got.Kvs) == 0 {
		return e.note(nil, got.Header.Revision, floor)
	}
	return e.note(got.Kvs[0], got.Kvs[0].ModRevision, floor)
}

// note makes an observation one that others are told of; kv is nil when there was no key as
// of the revision. floor is the newest version that was known before etcd was asked, or zero
// when it was not asked but told: an answer cannot be older than what was known
// before the question, unless etcd was restored from a backup.
func (e *Etcd) note(kv *mvccpb.KeyValue, revision int64, floor uint64) term.Observation {
	o := term.Observation{Version: uint64(revision), Present: kv != nil}
	o.Rollback = o.Version < floor
	readable := false
	if kv != nil {
		o.Record, readable = decode(kv.Value)
	}
	if !readable {
		o.EpochFloor = o.Version
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if o.Version > e.newest || o.Rollback {
		e.newest = o.Version
	}
	return o
}

func (e *Etcd) known() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.newest
}
