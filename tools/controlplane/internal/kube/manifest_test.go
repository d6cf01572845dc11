package kube

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func names(objects []*unstructured.Unstructured) string {
	var all []string
	for _, o := range objects {
		all = append(all, o.GetKind()+"/"+o.GetName())
	}
	return strings.Join(all, " ")
}

func TestReadManifests(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.yaml":     "---\n# nothing but a comment\n---\napiVersion: v1\nkind: A\nmetadata: {name: second}\n",
		"a.yml":      "apiVersion: v1\nkind: A\nmetadata: {name: first}\n",
		"c/d.json":   `{"apiVersion":"v1","kind":"A","metadata":{"name":"third"}}`,
		"README.md":  "not a manifest",
		"single.txt": "apiVersion: v1\nkind: B\nmetadata: {name: named}\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := ReadManifests([]string{filepath.Join(dir, "single.txt"), dir})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(objects), "B/named A/first A/second A/third"; got != want {
		t.Errorf("objects %q, want %q", got, want)
	}
}

func TestParseManifestRefuses(t *testing.T) {
	for _, text := range []string{
		"kind: A\nmetadata: {name: x}",
		"apiVersion: v1\nmetadata: {name: x}",
		"apiVersion: v1\nkind: A",
		"just text",
		"a: [",
	} {
		if objects, err := ParseManifest([]byte(text)); err == nil {
			t.Errorf("%q is parsed as %v", text, objects)
		}
	}
}

func TestStages(t *testing.T) {
	objects, err := ParseManifest([]byte(`
{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
---
{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: d}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: ns}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, stage := range stages(objects) {
		got = append(got, names(stage))
	}
	if diff := cmp.Diff([]string{"Namespace/ns", "CustomResourceDefinition/d", "ConfigMap/c"}, got); diff != "" {
		t.Errorf("stages (-want +got):\n%s", diff)
	}
}

func TestPermissionQuestions(t *testing.T) {
	objects, err := ParseManifest([]byte(`
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: r, namespace: ns}
rules:
  - {apiGroups: [g], resources: [things/status], resourceNames: [one], verbs: [get, list]}
  - {apiGroups: [g], resources: [things], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: r}
rules:
  - {apiGroups: [""], resources: [nodes], verbs: [watch]}
  - {nonResourceURLs: [/metrics], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b, namespace: ns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects:
  - {kind: ServiceAccount, name: s, namespace: m}
  - {kind: User, name: u}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: b}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: r}
subjects: [{kind: ServiceAccount, name: s, namespace: m}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: to-a-role-made-elsewhere}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: s, namespace: m}]
`))
	if err != nil {
		t.Fatal(err)
	}
	questions, err := permissionQuestions(objects)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, q := range questions {
		a := q.Spec.ResourceAttributes
		got = append(got, strings.Join([]string{q.Spec.User, a.Verb, a.Group, a.Resource, a.Subresource, a.Name, a.Namespace}, ","))
	}
	want := []string{
		"system:serviceaccount:m:s,get,g,things,status,one,ns",
		"system:serviceaccount:m:s,create,g,things,,,ns",
		"system:serviceaccount:m:s,watch,,nodes,,,",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("questions (-want +got):\n%s", diff)
	}
}
