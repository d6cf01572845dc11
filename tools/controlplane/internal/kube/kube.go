package kube

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

const (
	kindCRD = "CustomResourceDefinition"
	// fieldManager owns the fields of what is applied.
	fieldManager = "controlplane"
	// systemNamespace is made by the API server itself, but only some time
	// after it is ready.
	systemNamespace = "kube-system"
	// pollInterval is short: everything waited for takes milliseconds.
	pollInterval = 20 * time.Millisecond
	// tokenLifetime of service account tokens. The API server caps it at a year.
	tokenLifetime = 365 * 24 * time.Hour
)

// Admin acts on one API server as its administrator.
type Admin struct {
	clientset kubernetes.Interface
	dynamic   dynamic.Interface
	discovery discovery.DiscoveryInterface
}

// NewAdmin makes clients; it does not connect.
func NewAdmin(config *rest.Config) (*Admin, error) {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make dynamic client: %w", err)
	}
	return &Admin{clientset: clientset, dynamic: dyn, discovery: clientset.Discovery()}, nil
}

// WaitReady returns when the API server says that it is ready.
func (a *Admin) WaitReady(ctx context.Context) error {
	return poll(ctx, "wait for the API server to be ready", func() error {
		return a.discovery.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// WaitServing returns when the administrator can work: the API server is ready
// but for the roles it makes itself, which takes another second.
func (a *Admin) WaitServing(ctx context.Context) error {
	return poll(ctx, "wait for the API server to serve", func() error {
		return a.discovery.RESTClient().Get().AbsPath("/readyz").Param("exclude", "poststarthook/rbac/bootstrap-roles").Do(ctx).Error()
	})
}

// Apply makes the objects be as given, by server-side apply, in an order of its
// own: namespaces, definitions, the rest. It returns when all definitions among
// them are served and all permissions among them are in force.
func (a *Admin) Apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	namespace := &unstructured.Unstructured{}
	namespace.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Namespace"})
	namespace.SetName(systemNamespace)

	for _, stage := range stages(append([]*unstructured.Unstructured{namespace}, objects...)) {
		if len(stage) == 0 {
			continue
		}
		if err := a.applyStage(ctx, stage); err != nil {
			return err
		}
	}
	return a.waitPermitted(ctx, objects)
}

func (a *Admin) applyStage(ctx context.Context, objects []*unstructured.Unstructured) error {
	groups, err := restmapper.GetAPIGroupResources(a.discovery)
	if err != nil {
		return fmt.Errorf("discover the API: %w", err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	for _, o := range objects {
		gvk := o.GroupVersionKind()
		mapping, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", gvk.Kind, o.GetName(), err)
		}
		_, err = a.dynamic.Resource(mapping.Resource).Namespace(o.GetNamespace()).Apply(ctx, o.GetName(), o,
			metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if err != nil {
			return fmt.Errorf("apply %s %s: %w", gvk.Kind, o.GetName(), err)
		}
	}
	for _, o := range objects {
		if o.GetKind() != kindCRD {
			continue
		}
		if err := a.waitServed(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// waitServed waits until the resources of a definition can be listed and are
// found by discovery; "Established" alone promises neither.
func (a *Admin) waitServed(ctx context.Context, crd *unstructured.Unstructured) error {
	resources, err := servedResources(crd)
	if err != nil {
		return err
	}
	for _, r := range resources {
		err := poll(ctx, "wait for "+crd.GetName()+" to be served", func() error {
			if _, err := a.dynamic.Resource(r).List(ctx, metav1.ListOptions{Limit: 1}); err != nil {
				return err
			}
			found, err := a.discovery.ServerResourcesForGroupVersion(r.GroupVersion().String())
			if err != nil {
				return err
			}
			for _, f := range found.APIResources {
				if f.Name == r.Resource {
					return nil
				}
			}
			return fmt.Errorf("%s is not in discovery", r)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func servedResources(crd *unstructured.Unstructured) ([]schema.GroupVersionResource, error) {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil {
		return nil, fmt.Errorf("read versions of definition %s: %w", crd.GetName(), err)
	}
	var resources []schema.GroupVersionResource
	for _, v := range versions {
		version, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("read versions of definition %s: entry is a %T", crd.GetName(), v)
		}
		name, _, _ := unstructured.NestedString(version, "name")
		served, _, _ := unstructured.NestedBool(version, "served")
		if served {
			resources = append(resources, schema.GroupVersionResource{Group: group, Version: name, Resource: plural})
		}
	}
	return resources, nil
}

// Token returns a new token of a ServiceAccount.
func (a *Admin) Token(ctx context.Context, namespace, name string) (string, error) {
	seconds := int64(tokenLifetime / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	answer, err := a.clientset.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("request token of ServiceAccount %s/%s: %w", namespace, name, err)
	}
	return answer.Status.Token, nil
}

// poll calls try until it succeeds or ctx ends; then the error holds the last one.
func poll(ctx context.Context, what string, try func() error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last: %w)", what, ctx.Err(), err)
		case <-ticker.C:
		}
	}
}
