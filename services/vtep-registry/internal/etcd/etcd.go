// Package etcd keeps registered VTEPs as keys of etcd (https://etcd.io/docs/v3.7/), a key for
// each: PREFIX/vteps/NAME.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/hybridgateway/gateway/libs/etcdaccess"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered"
)

const (
	// readTimeout bounds a read of all; those who call Register and Deregister have limits
	// of their own.
	readTimeout = 5 * time.Second
	// regular is how often all are read without a reason: a watch whose server is cut off
	// says nothing.
	regular = time.Minute
	// After a failure the next attempt comes after firstRetry, doubling up to lastRetry.
	firstRetry = 100 * time.Millisecond
	lastRetry  = time.Second
	// attempts of a change that somebody else's gets ahead of.
	attempts = 10
)

// Config says which keys, and how to reach them.
type Config struct {
	Endpoints []string // https URLs of the members
	Files     etcdaccess.Files
	Prefix    string // without a slash at its end
	UserAgent string
}

// Store is where registered VTEPs are. It is safe for concurrent use.
type Store struct {
	client *clientv3.Client
	prefix string // of the keys, with the slash at its end
}

// Open makes a Store. It reads the certificates, and does not connect.
func Open(c Config) (*Store, error) {
	if _, err := c.Files.Load(); err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints,
		// gRPC sends no pings more often than every 10 s (keepalive.ClientParameters).
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		PermitWithoutStream:  true,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithUserAgent(c.UserAgent),
			// Why a connection fails is in the error of the call that waited for it.
			grpc.WithTransportCredentials(etcdaccess.Credentials(c.Files, func(error) {})),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
				MinConnectTimeout: readTimeout,
			}),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make a client for etcd at %s: %w", strings.Join(c.Endpoints, ","), err)
	}
	return &Store{client: client, prefix: c.Prefix + "/vteps/"}, nil
}

// Close closes all connections.
func (s *Store) Close() { _ = s.client.Close() } // it only says that it was cancelled

// Register writes one and returns all as they then are. One that is there is changed; it keeps
// the time since when it is registered.
func (s *Store) Register(ctx context.Context, name string, e registered.Entry) (registered.All, error) {
	key := s.prefix + name
	for range attempts {
		found, err := s.client.Get(ctx, key)
		if err != nil {
			return registered.All{}, explain("get", key, err)
		}
		var old string
		var seen int64 // 0: there is no key
		if len(found.Kvs) > 0 {
			old, seen = string(found.Kvs[0].Value), found.Kvs[0].ModRevision
		}
		text, err := registered.Encode(e, old)
		if err != nil {
			return registered.All{}, err
		}
		done, err := s.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", seen)).
			Then(clientv3.OpPut(key, text), clientv3.OpGet(s.prefix, clientv3.WithPrefix())).
			Commit()
		if err != nil {
			return registered.All{}, explain("put", key, err)
		}
		if done.Succeeded {
			return s.all(done), nil
		}
	}
	return registered.All{}, fmt.Errorf("put %s in etcd: somebody else changed it at the same time, %d times", key, attempts)
}

// Deregister removes one and returns what is left.
func (s *Store) Deregister(ctx context.Context, name string) (registered.All, error) {
	key := s.prefix + name
	done, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), ">", 0)).
		Then(clientv3.OpDelete(key), clientv3.OpGet(s.prefix, clientv3.WithPrefix())).
		Commit()
	switch {
	case err != nil:
		return registered.All{}, explain("delete", key, err)
	case !done.Succeeded:
		return registered.All{}, registered.ErrNotRegistered
	}
	return s.all(done), nil
}

// all are those that the second operation of a transaction has read.
func (s *Store) all(done *clientv3.TxnResponse) registered.All {
	return s.parse(texts(done.Responses[1].GetResponseRange().GetKvs(), s.prefix), done.Header.Revision)
}

func (s *Store) parse(t map[string]string, revision int64) registered.All {
	return registered.All{Nodes: registered.Parse(t, time.Time{}, "etcd, below "+s.prefix), Version: strconv.FormatInt(revision, 10)}
}

func texts(kvs []*mvccpb.KeyValue, prefix string) map[string]string {
	t := make(map[string]string, len(kvs))
	for _, kv := range kvs {
		t[strings.TrimPrefix(string(kv.Key), prefix)] = string(kv.Value)
	}
	return t
}

// Watch tells of all, and again after each change, until ctx ends. report is called with the
// reason when etcd cannot be read, and with nil when it was.
func (s *Store) Watch(ctx context.Context, tell chan<- registered.All, report func(error)) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		read, err := s.follow(ctx, tell, report)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		report(err)
		if read {
			wait = firstRetry
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// follow reads all, then watches from the next revision on. The client resumes a broken stream
// where it was by itself; a revision that was compacted meanwhile ends the watch, and the next
// one begins with a read. So does a member that has lost the others. read tells whether
// anything was read.
func (s *Store) follow(ctx context.Context, tell chan<- registered.All, report func(error)) (read bool, err error) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	known, revision, err := s.read(ctx)
	if err != nil {
		return false, err
	}
	report(nil)
	if err := s.send(ctx, tell, known, revision); err != nil {
		return true, err
	}
	changes := s.client.Watch(ctx, s.prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	again := time.NewTicker(regular)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-again.C:
			now, at, err := s.read(ctx)
			if err != nil {
				return true, err
			}
			report(nil)
			if maps.Equal(now, known) {
				continue
			}
			known, revision = now, at
		case response, open := <-changes:
			if !open {
				return true, fmt.Errorf("watch %s in etcd: the stream ended", s.prefix)
			}
			if err := response.Err(); err != nil {
				return true, explain("watch", s.prefix, err)
			}
			// What a regular read has told already comes once more.
			events := slices.DeleteFunc(response.Events, func(e *clientv3.Event) bool { return e.Kv.ModRevision <= revision })
			if len(events) == 0 {
				continue
			}
			for _, e := range events {
				name := strings.TrimPrefix(string(e.Kv.Key), s.prefix)
				if revision = e.Kv.ModRevision; e.Type == clientv3.EventTypeDelete {
					delete(known, name)
				} else {
					known[name] = string(e.Kv.Value)
				}
			}
		}
		if err := s.send(ctx, tell, known, revision); err != nil {
			return true, err
		}
	}
}

func (s *Store) read(ctx context.Context) (known map[string]string, revision int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	got, err := s.client.Get(ctx, s.prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, 0, explain("get", s.prefix, err)
	}
	return texts(got.Kvs, s.prefix), got.Header.Revision, nil
}

func (s *Store) send(ctx context.Context, tell chan<- registered.All, known map[string]string, revision int64) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case tell <- s.parse(known, revision):
		return nil
	}
}

// explain says what was attempted on what.
func explain(verb, key string, err error) error {
	if errors.Is(err, rpctypes.ErrNoSpace) || errors.Is(err, rpctypes.ErrRequestTooLarge) {
		return fmt.Errorf("%w: %s %s in etcd: %w", registered.ErrFull, verb, key, err)
	}
	return fmt.Errorf("%s %s in etcd: %w", verb, key, err)
}
