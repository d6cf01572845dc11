// Package registeredtest tests that a store of registered VTEPs keeps its contract. It runs
// against the real server of each.
package registeredtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// patience is how long something may take on a machine that is busy.
const patience = 30 * time.Second

// Store is what is tested.
type Store interface {
	Register(ctx context.Context, name string, e registered.Entry) (registered.All, error)
	Deregister(ctx context.Context, name string) (registered.All, error)
	Watch(ctx context.Context, tell chan<- registered.All, report func(error)) error
}

// Backend is a real server, with nothing registered in it.
type Backend struct {
	Open func(*testing.T) Store
	// Write puts a text in the place of a name's entry.
	Write func(t *testing.T, name, text string)
	// Stop and Start are an outage.
	Stop, Start func() error
}

// Run tests it.
func Run(t *testing.T, b Backend) {
	store := b.Open(t)
	w := watch(t, b.Open(t))
	w.until("", "nothing")
	since := time.Unix(1000, 0).UTC()
	entry := registered.Entry{IP: "192.168.7.1", PodCIDRs: []string{"100.64.7.0/24"}, Since: since}
	register := func(name string, e registered.Entry) registered.All {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		all, err := store.Register(ctx, name, e)
		if err != nil {
			t.Fatalf("register %s: %v", name, err)
		}
		return all
	}

	first := register("printer", entry)
	const printer = "registered/printer 192.168.7.1 100.64.7.0/24 since 1000"
	wantLines(t, "the answer", first, printer)
	w.until(printer, "the first")

	// One that is there is changed, and keeps its time.
	entry.IP, entry.Since = "192.168.7.9", since.Add(time.Hour)
	second := register("printer", entry)
	const moved = "registered/printer 192.168.7.9 100.64.7.0/24 since 1000"
	wantLines(t, "the answer", second, moved)
	w.until(moved, "the change")
	if number(t, second) <= number(t, first) {
		t.Errorf("version %s follows %s", second.Version, first.Version)
	}

	// What cannot be read harms nothing else.
	b.Write(t, "other", "{")
	w.until("registered/other malformed; "+moved, "what cannot be read")

	if _, err := store.Deregister(t.Context(), "never"); !errors.Is(err, registered.ErrNotRegistered) {
		t.Errorf("deregister what is not registered: %v", err)
	}
	for _, name := range []string{"other", "printer"} {
		all, err := store.Deregister(t.Context(), name)
		if err != nil {
			t.Fatalf("deregister %s: %v", name, err)
		}
		if slices.ContainsFunc(all.Nodes, func(n registry.Node) bool { return n.Name == registered.Prefix+name }) {
			t.Errorf("%s is still there: %v", name, all.Nodes)
		}
	}
	w.until("", "nothing is left")

	atOnce(t, b, w)
	outage(t, b, w)
}

// atOnce has several register at the same time: none undoes another's.
func atOnce(t *testing.T, b Backend, w *watching) {
	t.Helper()
	const n = 8
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		store := b.Open(t)
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, errs[i] = store.Register(ctx, fmt.Sprint("host", i), registered.Entry{IP: fmt.Sprint("192.168.8.", i+1), PodCIDRs: []string{fmt.Sprintf("100.64.%d.0/24", i)}, Since: time.Unix(1000, 0)})
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	w.when("all that registered at once", func(all registered.All) bool { return len(all.Nodes) == n })
}

// outage takes the server away: calls fail, and the watch goes on when it is back.
func outage(t *testing.T, b Backend, w *watching) {
	t.Helper()
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	store := b.Open(t)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := store.Register(ctx, "late", registered.Entry{IP: "192.168.9.1"}); err == nil {
		t.Error("registered without a server")
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := store.Register(ctx, "late", registered.Entry{IP: "192.168.9.1", PodCIDRs: []string{"100.64.9.0/24"}, Since: time.Unix(1000, 0)})
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	w.when("the one that registered after the outage", func(all registered.All) bool {
		return slices.ContainsFunc(all.Nodes, func(n registry.Node) bool { return n.Name == "registered/late" })
	})
}

// watching is a watch and what it tells.
type watching struct {
	t    *testing.T
	tell chan registered.All
}

func watch(t *testing.T, s Store) *watching {
	t.Helper()
	w := &watching{t, make(chan registered.All)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, w.tell, func(error) {}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ended with %v", err)
		}
	})
	return w
}

// until waits until just this is registered.
func (w *watching) until(want, what string) {
	w.t.Helper()
	w.when(what, func(all registered.All) bool { return lines(all) == want })
}

func (w *watching) when(what string, ok func(registered.All) bool) {
	w.t.Helper()
	timeout := time.After(patience)
	var last registered.All
	for {
		select {
		case last = <-w.tell:
			if ok(last) {
				return
			}
		case <-timeout:
			w.t.Fatalf("the watch does not tell: %s; last: %s", what, lines(last))
		}
	}
}

func wantLines(t *testing.T, what string, all registered.All, want string) {
	t.Helper()
	if got := lines(all); got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func lines(all registered.All) string {
	var list []string
	for _, n := range all.Nodes {
		line := n.Name
		for _, f := range n.Flaws {
			line += " " + string(f.Reason)
		}
		if n.Address.IsValid() {
			line += " " + n.Address.String()
			for _, p := range n.PodCIDRs {
				line += " " + p.String()
			}
			line += fmt.Sprint(" since ", n.Created.Unix())
		}
		list = append(list, line)
	}
	return strings.Join(list, "; ")
}

func number(t *testing.T, all registered.All) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(all.Version, 10, 64)
	if err != nil {
		t.Errorf("version %q is no number", all.Version)
	}
	return n
}
