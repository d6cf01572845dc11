package agent

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

var apiserver apiservertest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(apiserver.Wrap(m)) }

// fakeMap is a VTEP map in memory.
type fakeMap struct {
	mu      sync.Mutex
	writes  int
	current map[netip.Prefix]netip.Addr
	fail    error
}

func (m *fakeMap) SetVTEPs(list []onprem.Endpoint) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.writes++
	m.current = map[netip.Prefix]netip.Addr{}
	for _, e := range list {
		m.current[e.CIDR] = e.TunnelEndpoint
	}
	return nil
}

func (m *fakeMap) get(cidr string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, ok := m.current[netip.MustParsePrefix(cidr)]; ok {
		return a.String()
	}
	return ""
}

func client(t *testing.T, kubeconfig string) dynamic.Interface {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	h, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.CloseIdleConnections)
	d, err := dynamic.NewForConfigAndClient(c, h)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// run starts an agent that lives as long as the test.
func run(t *testing.T, name string, d dynamic.Interface, m Map) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Run(ctx, Config{Name: name, Client: d, Map: m})
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestAgentFollowsTheAPIServer(t *testing.T) {
	d := client(t, apiserver.Get(t).Kubeconfig())
	configs := d.Resource(Resource)
	ctx := context.Background()
	m, other := &fakeMap{}, &fakeMap{}
	run(t, "node1", d, m)
	run(t, "node2", d, other)

	put := func(o *unstructured.Unstructured) {
		t.Helper()
		_, err := configs.Create(ctx, o, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			var old *unstructured.Unstructured
			if old, err = configs.Get(ctx, o.GetName(), metav1.GetOptions{}); err != nil {
				t.Fatal(err)
			}
			// A full replacement, as the gateway makes it; status goes its own way.
			o.SetResourceVersion(old.GetResourceVersion())
			for apierrors.IsConflict(err) || err == nil {
				if _, err = configs.Update(ctx, o, metav1.UpdateOptions{}); err == nil {
					return
				}
				if old, err = configs.Get(ctx, o.GetName(), metav1.GetOptions{}); err == nil {
					o.SetResourceVersion(old.GetResourceVersion())
				}
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	status := func(name string) report {
		o, err := configs.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return reported(o)
	}

	put(object("hybrid-gateway", "vpc-gateway 10.0.0.0/16 10.0.1.10 "+goodMAC))
	eventually(t, "first endpoint in both maps", func() bool {
		return m.get("10.0.0.0/16") == "10.0.1.10" && other.get("10.0.0.0/16") == "10.0.1.10"
	})
	eventually(t, "status synced", func() bool {
		problem, ok := status("hybrid-gateway")["vpc-gateway"]
		return ok && problem == ""
	})

	put(object("hybrid-gateway", "vpc-gateway 10.0.0.0/16 10.0.2.10 "+goodMAC))
	eventually(t, "endpoint moved", func() bool { return m.get("10.0.0.0/16") == "10.0.2.10" })

	put(object("rival", "mine 10.0.0.0/16 10.0.9.9 "+goodMAC))
	eventually(t, "neither of two rivals applied", func() bool { return m.get("10.0.0.0/16") == "" })
	eventually(t, "both told so", func() bool {
		return status("rival")["mine"] != "" && status("hybrid-gateway")["vpc-gateway"] != ""
	})
	if err := configs.Delete(ctx, "rival", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "first one applied again", func() bool { return m.get("10.0.0.0/16") == "10.0.2.10" })
	eventually(t, "status synced again", func() bool { return status("hybrid-gateway")["vpc-gateway"] == "" })

	if err := configs.Delete(ctx, "hybrid-gateway", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "deleted object forgotten", func() bool { return m.get("10.0.0.0/16") == "" })
}

func TestAgentsThatDisagreeComeToRest(t *testing.T) {
	d := client(t, apiserver.Get(t).Kubeconfig())
	configs := d.Resource(Resource)
	ctx := context.Background()
	good, broken := &fakeMap{}, &fakeMap{fail: context.DeadlineExceeded}
	if _, err := configs.Create(ctx, object("hg", "vpc 10.0.0.0/16 10.0.1.10 "+goodMAC), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = configs.Delete(ctx, "hg", metav1.DeleteOptions{}) })
	run(t, "good", d, good)
	run(t, "broken", d, broken)
	eventually(t, "good map written", func() bool { return good.get("10.0.0.0/16") != "" })
	// At rest: the object does not change for a while.
	version, since := "", time.Now()
	eventually(t, "status writes come to rest", func() bool {
		o, err := configs.Get(ctx, "hg", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if o.GetResourceVersion() != version {
			version, since = o.GetResourceVersion(), time.Now()
		}
		return len(reported(o)) > 0 && time.Since(since) > 500*time.Millisecond
	})
}
