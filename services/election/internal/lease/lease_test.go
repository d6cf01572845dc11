package lease_test

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/election/internal/lease"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

var apiserver apiservertest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(apiserver.Wrap(m)) }

const (
	// name is the only Lease that the service's role lets it touch.
	name    = "eks-hybrid-gateway"
	timeout = time.Second
	// patience is many times what anything here takes on a busy machine.
	patience = 30 * time.Second
)

var gateway1 = term.Gateway{
	ID: "gw1", NodeIP: netip.MustParseAddr("10.0.0.10"), ENI: "eni-1", Zone: "zone-a",
	MAC: netaddr.MAC{2, 0, 10, 0, 0, 10},
}

func record(holder term.Gateway, epoch, write uint64) term.Record {
	return term.Record{Holder: holder, Epoch: epoch, Incarnation: "one", Write: write, Duration: 3 * time.Second}
}

// follower is a Lease with what it has observed.
type follower struct {
	*lease.Lease
	observations chan term.Observation
}

func follow(t *testing.T, kubeconfig string) *follower {
	t.Helper()
	l := open(t, kubeconfig)
	f := &follower{l, make(chan term.Observation)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Follow(ctx, f.observations)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return f
}

func open(t *testing.T, kubeconfig string) *lease.Lease {
	t.Helper()
	l, err := lease.New(lease.Config{
		Kubeconfig: kubeconfig, Namespace: apiservertest.Namespace, Name: name, UserAgent: "test",
		CallTimeout: timeout, PollPeriod: 250 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// until waits for an observation of which is true, and returns it.
func (f *follower) until(t *testing.T, what string, is func(term.Observation) bool) term.Observation {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case o := <-f.observations:
			if is(o) {
				return o
			}
		case <-deadline:
			t.Fatalf("%s was not observed within %v", what, patience)
		}
	}
}

func (f *follower) untilWrite(t *testing.T, n uint64) term.Observation {
	t.Helper()
	return f.until(t, "the write", func(o term.Observation) bool { return o.Record.Write == n })
}

func (f *follower) untilAbsent(t *testing.T) term.Observation {
	t.Helper()
	return f.until(t, "the absence", func(o term.Observation) bool { return !o.Present })
}

// swap writes and wants the given outcome.
func swap(t *testing.T, l *lease.Lease, expected uint64, r term.Record, want term.Outcome) term.Result {
	t.Helper()
	got, err := l.CompareAndSwap(t.Context(), term.CompareAndSwap{
		Expected: expected, Record: r, Purpose: term.TakeOver, Timeout: timeout,
	})
	if got.Outcome != want {
		t.Fatalf("the write of %s on v%d: %v (%v), want %v", r, expected, got.Outcome, err, want)
	}
	if (err == nil) != (want == term.Swapped) {
		t.Errorf("outcome %v with error %v", got.Outcome, err)
	}
	if got.Write != r.Write {
		t.Errorf("the result is of write %d, want %d", got.Write, r.Write)
	}
	return got
}

// operator is a client that may do everything.
func operator(t *testing.T, s *apiservertest.Server) coordinationclient.LeaseInterface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	connections, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connections.CloseIdleConnections)
	client, err := coordinationclient.NewForConfigAndClient(config, connections)
	if err != nil {
		t.Fatal(err)
	}
	return client.Leases(apiservertest.Namespace)
}

// fresh is the shared API server without the Lease, the service's kubeconfig, and an
// operator.
func fresh(t *testing.T) (*apiservertest.Server, string, coordinationclient.LeaseInterface) {
	t.Helper()
	s := apiserver.Get(t)
	o := operator(t, s)
	remove(t, o)
	return s, s.ServiceAccountKubeconfig(apiservertest.Election), o
}

func remove(t *testing.T, o coordinationclient.LeaseInterface) {
	t.Helper()
	if err := o.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
}

func get(t *testing.T, o coordinationclient.LeaseInterface) *coordinationv1.Lease {
	t.Helper()
	l, err := o.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestCompareAndSwap(t *testing.T) {
	_, kubeconfig, o := fresh(t)
	l := open(t, kubeconfig)
	other := open(t, kubeconfig)

	made := swap(t, l, 0, record(gateway1, 1, 1), term.Swapped)
	swap(t, other, 0, record(term.Gateway{ID: "gw2"}, 1, 1), term.Conflict)
	renewed := swap(t, l, made.Version, record(gateway1, 1, 2), term.Swapped)
	if renewed.Version <= made.Version {
		t.Errorf("v%d follows v%d", renewed.Version, made.Version)
	}
	swap(t, l, made.Version, record(gateway1, 1, 3), term.Conflict)

	got := get(t, o)
	if *got.Spec.HolderIdentity != "gw1" || *got.Spec.LeaseTransitions != 1 || *got.Spec.LeaseDurationSeconds != 3 || got.Spec.RenewTime.IsZero() {
		t.Errorf("the Lease is %+v", got.Spec)
	}
}

// Two who know the same version: one wins, the other has a conflict from the API server.
func TestConflictOfTwo(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	first, second := follow(t, kubeconfig), follow(t, kubeconfig)
	made := swap(t, first.Lease, 0, record(gateway1, 1, 1), term.Swapped)
	second.untilWrite(t, 1)
	// second reads no further, so it cannot know of the next write.
	swap(t, first.Lease, made.Version, record(gateway1, 1, 2), term.Swapped)
	l := open(t, kubeconfig)
	swap(t, l, made.Version, record(term.Gateway{ID: "gw2"}, 2, 1), term.Conflict)
	second.untilWrite(t, 2)
	swap(t, second.Lease, made.Version, record(term.Gateway{ID: "gw2"}, 2, 1), term.Conflict)
}

func TestFollow(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	f := follow(t, kubeconfig)
	absent := f.untilAbsent(t)
	writer := open(t, kubeconfig)
	made := swap(t, writer, 0, record(gateway1, 7, 1), term.Swapped)
	got := f.untilWrite(t, 1)
	if got.Version != made.Version || got.Version <= absent.Version || got.Rollback {
		t.Errorf("observed %+v after v%d, want v%d", got, absent.Version, made.Version)
	}
	got.Record.Renewed = time.Time{}
	if got.Record != record(gateway1, 7, 1) {
		t.Errorf("observed %+v", got.Record)
	}
	// A Read is answered although nothing is new.
	f.Read(t.Context())
	again := f.untilWrite(t, 1)
	if again.Version != made.Version {
		t.Errorf("observed v%d, want v%d", again.Version, made.Version)
	}
}

// What others put into the object stays there.
func TestForeignFieldsAreKept(t *testing.T) {
	_, kubeconfig, o := fresh(t)
	f := follow(t, kubeconfig)
	made := swap(t, f.Lease, 0, record(gateway1, 1, 1), term.Swapped)
	object := get(t, o)
	object.Labels = map[string]string{"team": "network"}
	object.Annotations["note"] = "do not delete"
	touched, err := o.Update(t.Context(), object, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := f.until(t, "the touched record", func(o term.Observation) bool { return o.Version > made.Version })
	swap(t, f.Lease, seen.Version, record(gateway1, 1, 2), term.Swapped)
	got := get(t, o)
	if got.Labels["team"] != "network" || got.Annotations["note"] != "do not delete" || got.UID != touched.UID {
		t.Errorf("the Lease became %+v", got.ObjectMeta)
	}
}

// An update of a deleted Lease does not bring it back, although the API server can create
// Leases by update.
func TestDeletedStaysDeleted(t *testing.T) {
	_, kubeconfig, o := fresh(t)
	l := open(t, kubeconfig)
	made := swap(t, l, 0, record(gateway1, 5, 1), term.Swapped)
	remove(t, o)
	got, err := l.CompareAndSwap(t.Context(), term.CompareAndSwap{
		Expected: made.Version, Record: record(gateway1, 5, 2), Purpose: term.Renew, Timeout: timeout,
	})
	if got.Outcome != term.Conflict && got.Outcome != term.Failed {
		t.Errorf("the outcome is %v (%v)", got.Outcome, err)
	}
	if _, err := o.Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Lease is back (%v)", err)
	}
	f := follow(t, kubeconfig)
	if absent := f.untilAbsent(t); absent.Version <= made.Version {
		t.Errorf("absent as of v%d, after v%d", absent.Version, made.Version)
	}
	swap(t, l, 0, record(gateway1, 6, 3), term.Swapped)
}

func TestDeletionIsObserved(t *testing.T) {
	_, kubeconfig, o := fresh(t)
	f := follow(t, kubeconfig)
	made := swap(t, f.Lease, 0, record(gateway1, 1, 1), term.Swapped)
	f.untilWrite(t, 1)
	remove(t, o)
	gone := f.untilAbsent(t)
	if gone.Version <= made.Version || gone.Rollback {
		t.Errorf("observed %+v, after v%d", gone, made.Version)
	}
	again := swap(t, f.Lease, 0, record(gateway1, 2, 2), term.Swapped)
	if again.Version <= gone.Version {
		t.Errorf("made as v%d, after v%d", again.Version, gone.Version)
	}
}

func TestMissingPermissionIsAFailure(t *testing.T) {
	s, _, _ := fresh(t)
	// The registry's account may not touch Leases.
	l := open(t, s.ServiceAccountKubeconfig(apiservertest.VTEPRegistry))
	swap(t, l, 0, record(gateway1, 1, 1), term.Failed)
}
