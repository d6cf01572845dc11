package ec2_test

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/hybridgateway/gateway/services/route-sync/internal/ec2"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/tools/ec2standin"
)

// slow makes the first call that changes something wait until it is let go.
func (s *cloud) slow(t *testing.T) (letGo func()) {
	t.Helper()
	held := make(chan struct{})
	var first atomic.Bool
	s.SetFaults(ec2standin.Faults{Hook: func(c ec2standin.Call) {
		if c.Mutating && first.CompareAndSwap(false, true) {
			<-held
		}
	}})
	letGo = func() { close(held) }
	t.Cleanup(letGo)
	return letGo
}

// A call that is slow to answer is made once more, on another connection, and the first answer counts.
func TestSlowCallIsMadeOnceMore(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	if err := s.SetRoute("rtb-1", pods, ec2standin.ToENI("eni-1")); err != nil {
		t.Fatal(err)
	}
	client, _ := open(t)
	s.slow(t)
	w := write(plan.Replace, "rtb-1", pods, "eni-0")
	w.Hedge = true
	got := client.Write(t.Context(), w, always)
	if got.Outcome != plan.Done || got.Hedges != 1 {
		t.Errorf("got %+v", got)
	}
	if n := s.MutatingCalls(); n != 2 || s.connections.Load() != 2 {
		t.Errorf("%d calls on %d connections", n, s.connections.Load())
	}
}

func TestSlowCallIsMadeOnceOnlyWhenNoMoreIsAllowed(t *testing.T) {
	for name, c := range map[string]struct {
		hedge   bool
		leading func() bool
	}{
		"by the bucket":      {false, always},
		"by lost leadership": {true, func() func() bool { var asked atomic.Int64; return func() bool { return asked.Add(1) == 1 } }()},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
			client, _ := open(t)
			s.slow(t)
			w := write(plan.Create, "rtb-1", pods, "eni-0")
			w.Hedge = c.hedge
			if got := client.Write(t.Context(), w, c.leading); got.Outcome != plan.Unknown {
				t.Errorf("got %+v: the first may have taken effect", got)
			}
			if n := s.MutatingCalls(); n != 1 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

// When all calls are slow only few are made once more at a time, so that what is overloaded is not asked for twice as
// much; when that helps, all get their turn.
func TestFewOfManySlowCallsAreMadeOnceMore(t *testing.T) {
	const calls, most = 30, 8
	for name, c := range map[string]struct {
		stuck int64 // how many calls get no answer
		want  plan.Outcome
	}{
		"nothing is answered":      {math.MaxInt64, plan.Unknown},
		"those made once more are": {calls, plan.Done},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
			if err := s.SetRoute("rtb-1", pods, ec2standin.ToENI("eni-1")); err != nil {
				t.Fatal(err)
			}
			held := make(chan struct{})
			t.Cleanup(func() { close(held) })
			client, ended := open(t)
			var arrived, atOnce atomic.Int64
			s.SetFaults(ec2standin.Faults{Hook: func(ec2standin.Call) {
				n := arrived.Add(1)
				for under := n - int64(ended.count()); ; {
					before := atOnce.Load()
					if under <= before || atOnce.CompareAndSwap(before, under) {
						break
					}
				}
				if n <= c.stuck {
					<-held
				}
			}})
			w := write(plan.Replace, "rtb-1", pods, "eni-0")
			w.Hedge = true
			var wg sync.WaitGroup
			for range calls {
				wg.Go(func() {
					if got := client.Write(t.Context(), w, always); got.Outcome != c.want {
						t.Errorf("got %+v", got)
					}
				})
			}
			wg.Wait()
			if n := s.MutatingCalls(); n <= calls || n > 2*calls {
				t.Errorf("%d calls for %d writes", n, calls)
			}
			if n := atOnce.Load(); n > calls+most {
				t.Errorf("%d calls were under way at once for %d writes, want at most %d", n, calls, calls+most)
			}
		})
	}
}

func list(verb plan.ListVerb, change func(*plan.WriteList)) plan.WriteList {
	w := plan.WriteList{Verb: verb, Name: "pods-ipv4", Epoch: 1}
	if change != nil {
		change(&w)
	}
	return w
}

// A list is made, read, changed and deleted; what is asked for twice is made once.
func TestPrefixLists(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	client, _ := open(t)
	ctx := t.Context()
	create := list(plan.CreateList, func(w *plan.WriteList) { w.Add, w.Max = []netip.Prefix{pods}, 2 })
	id, result := client.WriteList(ctx, create, always)
	again, _ := client.WriteList(ctx, create, always)
	if result.Outcome != plan.Done || id == "" || id != again || len(s.Snapshot().PrefixLists) != 1 {
		t.Fatalf("got %q and %q, %+v", id, again, result)
	}
	create.Serial++
	anew, _ := client.WriteList(ctx, create, always)
	if _, result := client.WriteList(ctx, list(plan.DeleteList, func(w *plan.WriteList) { w.ID = anew }), always); anew == id || result.Outcome != plan.Done {
		t.Fatalf("a list to be made anew is %q, %+v", anew, result)
	}
	if err := s.AddPrefixList(ec2standin.PrefixList{ID: "pl-theirs", Name: "pods-ipv4", MaxEntries: 1}); err != nil {
		t.Fatal(err)
	}
	read := func(ids ...string) []plan.PrefixList {
		t.Helper()
		lists, result := client.ReadLists(ctx, ids, []string{"pods-ipv4"})
		if result.Outcome != plan.Done {
			t.Fatalf("got %+v", result)
		}
		return lists
	}
	if got := read(); len(got) != 1 || got[0].ID != id || !got[0].Tagged || got[0].Version != 1 || got[0].Max != 2 || !slices.Equal(got[0].Entries, []netip.Prefix{pods}) {
		t.Fatalf("got %+v", got)
	}
	read()
	if n := s.CallCounts()["GetManagedPrefixListEntries"]; n != 1 {
		t.Errorf("the entries of one version were read %d times", n)
	}
	modify := list(plan.ModifyList, func(w *plan.WriteList) {
		w.ID, w.Version, w.Add, w.Remove = id, 1, []netip.Prefix{other}, []netip.Prefix{pods}
	})
	if _, result := client.WriteList(ctx, modify, always); result.Outcome != plan.Done {
		t.Fatalf("got %+v", result)
	}
	if _, result := client.WriteList(ctx, modify, always); result.Outcome != plan.Busy {
		t.Errorf("with an old version: got %+v", result)
	}
	if got := read("pl-theirs", "pl-absent"); len(got) != 2 || !slices.Equal(got[0].Entries, []netip.Prefix{other}) || got[1].Tagged {
		t.Errorf("got %+v", got)
	}
	resize := list(plan.ResizeList, func(w *plan.WriteList) { w.ID, w.Max = id, 5 })
	if _, result := client.WriteList(ctx, resize, always); result.Outcome != plan.Done || read()[0].Max != 5 {
		t.Errorf("got %+v", result)
	}
	if _, result := client.WriteList(ctx, list(plan.DeleteList, func(w *plan.WriteList) { w.ID = id }), func() bool { return false }); result.Outcome != plan.Fenced {
		t.Errorf("got %+v", result)
	}
	gone := list(plan.DeleteList, func(w *plan.WriteList) { w.ID = id })
	if _, result := client.WriteList(ctx, gone, always); result.Outcome != plan.Done || len(read()) != 0 {
		t.Errorf("got %+v", result)
	}
	if _, result := client.WriteList(ctx, gone, always); result.Outcome != plan.NoList {
		t.Errorf("got %+v", result)
	}
}

// A list of more entries than a page holds is read whole, and its failures are told.
func TestLargeAndFailedPrefixLists(t *testing.T) {
	s := newCloud(t, ec2standin.Config{RoutesPerTable: 300}, (*httptest.Server).Start)
	l := ec2standin.PrefixList{ID: "pl-1", Name: "large", MaxEntries: 250}
	for i := range 250 {
		l.Entries = append(l.Entries, ec2standin.PrefixListEntry{CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 70, byte(i), 0}), 24)})
	}
	if err := errors.Join(s.AddPrefixList(l), s.SetListRoute("rtb-1", "pl-1", ec2standin.ToENI("eni-1"))); err != nil {
		t.Fatal(err)
	}
	client, _ := open(t)
	got, result := client.ReadLists(t.Context(), []string{"pl-1"}, nil)
	if result.Outcome != plan.Done || len(got) != 1 || len(got[0].Entries) != 250 {
		t.Fatalf("got %d lists, %+v", len(got), result)
	}
	client.WriteList(t.Context(), list(plan.ResizeList, func(w *plan.WriteList) { w.ID, w.Max = "pl-1", 500 }), always)
	got, _ = client.ReadLists(t.Context(), []string{"pl-1"}, nil)
	if len(got) != 1 || !strings.Contains(got[0].Failure, "modify-failed: The new maximum size is not supported by: rtb-1") {
		t.Errorf("got %+v", got[0].Failure)
	}
}

func TestRoutesToPrefixLists(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	if err := s.AddPrefixList(ec2standin.PrefixList{ID: "pl-1", Name: "pods", MaxEntries: 1}); err != nil {
		t.Fatal(err)
	}
	client, _ := open(t)
	six := netip.MustParsePrefix("fd00:10::/56")
	for _, d := range []plan.Destination{plan.ToList("pl-1"), plan.To(six), plan.To(pods)} {
		for _, verb := range []plan.Verb{plan.Create, plan.Replace} {
			w := plan.Write{Key: plan.Key{Table: "rtb-1", Destination: d}, Verb: verb, Interface: "eni-0", Epoch: 1}
			if got := client.Write(t.Context(), w, always); got.Outcome != plan.Done {
				t.Errorf("%s: %+v", w, got)
			}
		}
		if got := client.ReadTables(t.Context(), []string{"rtb-1"}).Tables["rtb-1"][d]; got.Target != "eni-0" {
			t.Errorf("%s leads to %+v", d, got)
		}
		w := plan.Write{Key: plan.Key{Table: "rtb-1", Destination: d}, Verb: plan.Delete, Epoch: 1}
		if got := client.Write(t.Context(), w, always); got.Outcome != plan.Done {
			t.Errorf("%s: %+v", w, got)
		}
		if got := client.Write(t.Context(), w, always); got.Outcome != plan.NoRoute {
			t.Errorf("%s twice: %+v", w, got)
		}
	}
	w := plan.Write{Key: plan.Key{Table: "rtb-1", Destination: plan.ToList("pl-absent")}, Verb: plan.Create, Interface: "eni-0", Epoch: 1}
	if got := client.Write(t.Context(), w, always); got.Outcome != plan.NoList {
		t.Errorf("got %+v", got)
	}
}

// A probe changes nothing and tells whether it would be allowed to.
func TestProbe(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	client, _ := open(t)
	c := plan.Config{Tables: []string{"rtb-1"}, Lists: plan.Lists{IDs: []string{"pl-1"}, Managed: "pods"}, ManageCheck: true, Interface: "eni-0"}
	if err := s.AddPrefixList(ec2standin.PrefixList{ID: "pl-1", Name: "pods", MaxEntries: 1}); err != nil {
		t.Fatal(err)
	}
	before := s.Snapshot().Revision
	ask := func(want plan.Outcome) {
		t.Helper()
		for _, need := range plan.Needs(c) {
			if got := client.Probe(t.Context(), plan.Probe{Need: need, Interface: "eni-0"}); got.Outcome != want {
				t.Errorf("%+v: %+v", need, got)
			}
		}
	}
	ask(plan.Done)
	nothing, err := ec2standin.ParsePolicy([]byte(`{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	s.SetPolicies("AKIATEST", nothing)
	ask(plan.Denied)
	if s.Snapshot().Revision != before {
		t.Error("a probe changed something")
	}
}

// The SDK knows the endpoints of all partitions.
func TestEndpointsOfPartitions(t *testing.T) {
	for region, want := range map[string]string{
		"us-west-2":     "ec2.us-west-2.amazonaws.com:443",
		"cn-north-1":    "ec2.cn-north-1.amazonaws.com.cn:443",
		"us-gov-west-1": "ec2.us-gov-west-1.amazonaws.com:443",
	} {
		setEnvironment(t, nil)
		var dialed atomic.Value
		client, err := ec2.Open(t.Context(), ec2.Options{
			Region: region, Parallel: 1, Tracer: noop.NewTracerProvider().Tracer(""),
			Transport: func(h *http.Transport) {
				h.DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
					dialed.Store(address)
					return nil, errors.New("not from a test")
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := client.ReadTables(t.Context(), []string{"rtb-1"}); got.Outcome != plan.Unknown {
			t.Errorf("%s: %+v", region, got.Result)
		}
		client.Close()
		if dialed.Load() != want {
			t.Errorf("%s: dialed %v", region, dialed.Load())
		}
	}
}
