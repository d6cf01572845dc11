package main

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/tools/controlplane/internal/app"
)

// runVariable makes the test binary be the program, so that what is tested is
// what was just compiled.
const runVariable = "CONTROLPLANE_TEST_RUN"

var shared apiservertest.Shared

func TestMain(m *testing.M) {
	if os.Getenv(runVariable) != "" {
		os.Exit(app.Main(os.Args[1:], os.Stdout, os.Stderr))
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv(runVariable, "1")
	os.Setenv("CONTROLPLANE_BIN", self)
	os.Exit(shared.Wrap(m).Run())
}

// waitTimeout bounds what takes milliseconds on an idle machine.
const waitTimeout = time.Minute

func restConfig(t *testing.T, kubeconfig string) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	return config
}

func clientset(t *testing.T, kubeconfig string) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(restConfig(t, kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dynamicClient(t *testing.T, kubeconfig string) *dynamic.DynamicClient {
	t.Helper()
	c, err := dynamic.NewForConfig(restConfig(t, kubeconfig))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually calls try until it returns nil.
func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("still after %s: %v", waitTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ciliumResource(plural string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: plural}
}

func ciliumObject(kind, name string, fields map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: fields}
	o.SetAPIVersion("cilium.io/v2")
	o.SetKind(kind)
	o.SetName(name)
	return o
}

func create(ctx context.Context, c dynamic.Interface, r schema.GroupVersionResource, o *unstructured.Unstructured) error {
	_, err := c.Resource(r).Create(ctx, o, metav1.CreateOptions{})
	return err
}
