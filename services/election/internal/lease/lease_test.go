package lease_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/services/election/internal/lease"
	"github.com/hybridgateway/gateway/services/election/internal/registertest"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

var apiserver apiservertest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(apiserver.Wrap(m)) }

// name is the only Lease that the service's role lets it touch.
const name = "eks-hybrid-gateway"

func open(t *testing.T, kubeconfig string) *lease.Lease {
	t.Helper()
	l, err := lease.New(lease.Config{
		Kubeconfig: kubeconfig, Namespace: apiservertest.Namespace, Name: name, UserAgent: "test",
		CallTimeout: registertest.CallTimeout, PollPeriod: registertest.PollPeriod, Log: registertest.Log(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
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

func TestContract(t *testing.T) {
	s, kubeconfig, o := fresh(t)
	registertest.Run(t, registertest.Backend{
		Open: func(t *testing.T) registertest.Register { return open(t, kubeconfig) },
		OpenThrough: func(t *testing.T, addresses ...string) registertest.Register {
			return open(t, through(t, kubeconfig, s.Address(), addresses[0]))
		},
		Addresses: []string{s.Address()},
		Remove:    func(t *testing.T) { remove(t, o) },
		Servers:   s,
		Faults:    registertest.Outages(s),
	})
}

// through is a copy of the kubeconfig that leads to another address.
func through(t *testing.T, kubeconfig, address, other string) string {
	t.Helper()
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(copied, []byte(strings.ReplaceAll(string(text), address, other)), 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}

// The Lease is one that client-go's leader election understands.
func TestLeaseFields(t *testing.T) {
	_, kubeconfig, o := fresh(t)
	registertest.Swap(t, open(t, kubeconfig), 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Swapped)
	got := get(t, o)
	if *got.Spec.HolderIdentity != "gw1" || *got.Spec.LeaseTransitions != 1 || *got.Spec.LeaseDurationSeconds != 3 || got.Spec.RenewTime.IsZero() {
		t.Errorf("the Lease is %+v", got.Spec)
	}
}

// What others put into the object stays there.
func TestForeignFieldsAreKept(t *testing.T) {
	_, kubeconfig, o := fresh(t)
	f := registertest.Follow(t, open(t, kubeconfig))
	made := registertest.Swap(t, f, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Swapped)
	object := get(t, o)
	object.Labels = map[string]string{"team": "network"}
	object.Annotations["note"] = "do not delete"
	touched, err := o.Update(t.Context(), object, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	seen := f.Until(t, "the touched record", func(o term.Observation) bool { return o.Version > made.Version })
	registertest.Swap(t, f, seen.Version, registertest.Record(registertest.Gateway1(), 1, 2), term.Swapped)
	got := get(t, o)
	if got.Labels["team"] != "network" || got.Annotations["note"] != "do not delete" || got.UID != touched.UID {
		t.Errorf("the Lease became %+v", got.ObjectMeta)
	}
}

func TestMissingPermissionIsAFailure(t *testing.T) {
	s, _, _ := fresh(t)
	// The registry's account may not touch Leases.
	l := open(t, s.ServiceAccountKubeconfig(apiservertest.VTEPRegistry))
	registertest.Swap(t, l, 0, registertest.Record(registertest.Gateway1(), 1, 1), term.Failed)
}
