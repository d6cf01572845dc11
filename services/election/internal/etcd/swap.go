package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// CompareAndSwap carries out one write. The error, which is nil when the outcome is
// Swapped, explains every other one.
//
// A member that does not answer is not waited for until the end: the same transaction is
// given to the next one. It cannot be applied twice, since the first time changes the
// revision that it expects.
func (e *Etcd) CompareAndSwap(ctx context.Context, c term.CompareAndSwap) (term.Result, error) {
	result := term.Result{Write: c.Record.Write}
	fail := func(o term.Outcome, err error) (term.Result, error) {
		result.Outcome = o
		return result, fmt.Errorf("%s of %s: %w", c.Purpose, e.key, err)
	}
	text, err := encode(c.Record, time.Now())
	if err != nil {
		return fail(term.Failed, err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var got *clientv3.TxnResponse
	unknown, err := e.try(ctx, func(ctx context.Context, client *clientv3.Client) (err error) {
		got, err = client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(e.key), "=", int64(c.Expected))).
			Then(clientv3.OpPut(e.key, string(text))).
			Else(clientv3.OpGet(e.key)).
			Commit()
		return err
	})
	switch {
	case err != nil && unknown:
		return fail(term.Unknown, err)
	case err != nil:
		return fail(term.Failed, err)
	case got.Succeeded:
		result.Version = uint64(got.Header.Revision)
	default:
		found := (*clientv3.GetResponse)(got.Responses[0].GetResponseRange())
		if len(found.Kvs) == 0 {
			return fail(term.Conflict, fmt.Errorf("expected revision %d, found no key", c.Expected))
		}
		kv := found.Kvs[0]
		r, ok := decode(kv.Value)
		if !ok || r.Incarnation == "" || r.Incarnation != c.Record.Incarnation || r.Write != c.Record.Write {
			return fail(term.Conflict, fmt.Errorf("expected revision %d, found %d", c.Expected, kv.ModRevision))
		}
		// An earlier try of this write was applied, and its answer got lost.
		result.Version = uint64(kv.ModRevision)
	}
	result.Outcome = term.Swapped
	e.mu.Lock()
	defer e.mu.Unlock()
	e.newest = max(e.newest, result.Version)
	return result, nil
}
