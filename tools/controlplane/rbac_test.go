package main

import (
	"context"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/hybridgateway/gateway/libs/apiservertest"
)

// client is what one ServiceAccount's token allows.
type client struct {
	*kubernetes.Clientset
	dynamic dynamic.Interface
}

func TestPermissionsOfTheProduct(t *testing.T) {
	server := shared.Get(t)
	ctx := t.Context()
	const leaseName, configName = "eks-hybrid-gateway", "hybrid-gateway"
	lease := func(namespace, name string) *coordinationv1.Lease {
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	}
	admin := clientset(t, server.Kubeconfig())
	for _, l := range []*coordinationv1.Lease{lease("kube-system", leaseName), lease("kube-system", "other"), lease("default", leaseName)} {
		if _, err := admin.CoordinationV1().Leases(l.Namespace).Create(ctx, l, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{configName, "other"} {
		if err := create(ctx, dynamicClient(t, server.Kubeconfig()), ciliumResource("ciliumvtepconfigs"), vtepConfig(name, endpoint(nil))); err != nil {
			t.Fatal(err)
		}
	}

	getLease := func(namespace, name string) func(context.Context, client) error {
		return func(ctx context.Context, c client) error {
			_, err := c.CoordinationV1().Leases(namespace).Get(ctx, name, metav1.GetOptions{})
			return err
		}
	}
	updateLease := func(namespace, name string) func(context.Context, client) error {
		return func(ctx context.Context, c client) error {
			l, err := admin.CoordinationV1().Leases(namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			_, err = c.CoordinationV1().Leases(namespace).Update(ctx, l, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
			return err
		}
	}
	listLeases := func(selector string) func(context.Context, client) error {
		return func(ctx context.Context, c client) error {
			_, err := c.CoordinationV1().Leases("kube-system").List(ctx, metav1.ListOptions{FieldSelector: selector})
			return err
		}
	}
	watchLeases := func(selector string) func(context.Context, client) error {
		return func(ctx context.Context, c client) error {
			w, err := c.CoordinationV1().Leases("kube-system").Watch(ctx, metav1.ListOptions{FieldSelector: selector})
			if err == nil {
				w.Stop()
			}
			return err
		}
	}
	list := func(plural string) func(context.Context, client) error {
		return func(ctx context.Context, c client) error {
			_, err := c.dynamic.Resource(ciliumResource(plural)).List(ctx, metav1.ListOptions{})
			return err
		}
	}
	applyConfig := func(name string) func(context.Context, client) error {
		return func(ctx context.Context, c client) error {
			_, err := c.dynamic.Resource(ciliumResource("ciliumvtepconfigs")).Apply(ctx, name, vtepConfig(name, endpoint(nil)),
				metav1.ApplyOptions{FieldManager: "test", Force: true, DryRun: []string{metav1.DryRunAll}})
			return err
		}
	}
	selected := "metadata.name=" + leaseName

	for _, tt := range []struct {
		what    string
		account string
		allowed bool
		try     func(context.Context, client) error
	}{
		{"reads the Lease", apiservertest.Election, true, getLease("kube-system", leaseName)},
		{"updates the Lease", apiservertest.Election, true, updateLease("kube-system", leaseName)},
		{"lists the Lease by name", apiservertest.Election, true, listLeases(selected)},
		{"watches the Lease by name", apiservertest.Election, true, watchLeases(selected)},
		{"creates a Lease", apiservertest.Election, true, func(ctx context.Context, c client) error {
			_, err := c.CoordinationV1().Leases("kube-system").Create(ctx, lease("kube-system", "created"), metav1.CreateOptions{})
			return err
		}},
		{"reads another Lease", apiservertest.Election, false, getLease("kube-system", "other")},
		{"updates another Lease", apiservertest.Election, false, updateLease("kube-system", "other")},
		{"reads the Lease's name elsewhere", apiservertest.Election, false, getLease("default", leaseName)},
		{"lists all Leases", apiservertest.Election, false, listLeases("")},
		{"watches all Leases", apiservertest.Election, false, watchLeases("")},
		{"deletes the Lease", apiservertest.Election, false, func(ctx context.Context, c client) error {
			return c.CoordinationV1().Leases("kube-system").Delete(ctx, leaseName, metav1.DeleteOptions{})
		}},
		{"lists nodes", apiservertest.Election, false, list("ciliumnodes")},
		{"lists configs", apiservertest.Election, false, list("ciliumvtepconfigs")},
		{"reads secrets", apiservertest.Election, false, func(ctx context.Context, c client) error {
			_, err := c.CoreV1().Secrets("kube-system").List(ctx, metav1.ListOptions{})
			return err
		}},

		{"lists nodes", apiservertest.VTEPRegistry, true, list("ciliumnodes")},
		{"watches nodes", apiservertest.VTEPRegistry, true, func(ctx context.Context, c client) error {
			w, err := c.dynamic.Resource(ciliumResource("ciliumnodes")).Watch(ctx, metav1.ListOptions{})
			if err == nil {
				w.Stop()
			}
			return err
		}},
		{"lists configs", apiservertest.VTEPRegistry, true, list("ciliumvtepconfigs")},
		{"applies its config", apiservertest.VTEPRegistry, true, applyConfig(configName)},
		{"creates a config", apiservertest.VTEPRegistry, true, func(ctx context.Context, c client) error {
			return create(ctx, c.dynamic, ciliumResource("ciliumvtepconfigs"), vtepConfig("created", endpoint(nil)))
		}},
		{"applies another config", apiservertest.VTEPRegistry, false, applyConfig("other")},
		{"deletes its config", apiservertest.VTEPRegistry, false, func(ctx context.Context, c client) error {
			return c.dynamic.Resource(ciliumResource("ciliumvtepconfigs")).Delete(ctx, configName, metav1.DeleteOptions{})
		}},
		{"creates a node", apiservertest.VTEPRegistry, false, func(ctx context.Context, c client) error {
			return create(ctx, c.dynamic, ciliumResource("ciliumnodes"), ciliumObject("CiliumNode", "forged", map[string]any{}))
		}},
		{"reads the Lease", apiservertest.VTEPRegistry, false, getLease("kube-system", leaseName)},
	} {
		t.Run(tt.account+" "+tt.what, func(t *testing.T) {
			kubeconfig := server.ServiceAccountKubeconfig(tt.account)
			err := tt.try(ctx, client{clientset(t, kubeconfig), dynamicClient(t, kubeconfig)})
			if tt.allowed && err != nil {
				t.Errorf("not allowed: %v", err)
			}
			if !tt.allowed && !apierrors.IsForbidden(err) {
				t.Errorf("error %v, want forbidden", err)
			}
		})
	}
}

func TestStrangersAreNobody(t *testing.T) {
	config := restConfig(t, shared.Get(t).ServiceAccountKubeconfig(apiservertest.Election))
	config.BearerToken = "made-up"
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CoordinationV1().Leases("kube-system").Get(t.Context(), "eks-hybrid-gateway", metav1.GetOptions{})
	if !apierrors.IsUnauthorized(err) {
		t.Errorf("error %v, want unauthorized", err)
	}
}
