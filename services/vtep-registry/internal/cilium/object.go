package cilium

import (
	"bytes"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The group of Cilium's kinds, and their names in URLs.
const (
	group   = "cilium.io"
	version = "v2" // of CiliumNode

	nodes           = "ciliumnodes"
	vtepConfigs     = "ciliumvtepconfigs"
	vtepNodeConfigs = "ciliumvtepnodeconfigs"
	definitions     = "customresourcedefinitions"

	ciliumNodeKind = "CiliumNode"
	vtepConfigKind = "CiliumVTEPConfig"
)

// object is any object that is read. Its content is parsed by us and not by the decoder,
// which would give up a whole list for one field of the wrong type.
type object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              json.RawMessage `json:"spec,omitempty"`
	Status            json.RawMessage `json:"status,omitempty"`
	Data              json.RawMessage `json:"data,omitempty"` // of a ConfigMap
}

// DeepCopyObject implements runtime.Object.
func (o *object) DeepCopyObject() runtime.Object {
	c := &object{TypeMeta: o.TypeMeta, Spec: bytes.Clone(o.Spec), Status: bytes.Clone(o.Status), Data: bytes.Clone(o.Data)}
	o.DeepCopyInto(&c.ObjectMeta)
	return c
}

// objectList is what a list call returns.
type objectList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []object `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (l *objectList) DeepCopyObject() runtime.Object {
	c := &objectList{TypeMeta: l.TypeMeta, Items: make([]object, len(l.Items))}
	l.DeepCopyInto(&c.ListMeta)
	for i := range l.Items {
		c.Items[i] = *l.Items[i].DeepCopyObject().(*object)
	}
	return c
}

// newScheme knows all kinds that are read, in all versions in which they may be served.
func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, k := range []schema.GroupVersionKind{
		{Group: group, Version: version, Kind: ciliumNodeKind},
		{Group: group, Version: "v2", Kind: vtepConfigKind},
		{Group: group, Version: "v2alpha1", Kind: vtepConfigKind},
		{Group: group, Version: "v2alpha1", Kind: "CiliumVTEPNodeConfig"},
		{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"},
		{Version: "v1", Kind: "ConfigMap"},
		{Version: "v1", Kind: "Pod"},
	} {
		s.AddKnownTypeWithName(k, &object{})
		k.Kind += "List"
		s.AddKnownTypeWithName(k, &objectList{})
	}
	for _, gv := range []schema.GroupVersion{{Group: group, Version: version}, {Group: group, Version: "v2alpha1"}, {Group: "apiextensions.k8s.io", Version: "v1"}, {Version: "v1"}} {
		metav1.AddToGroupVersion(s, gv)
	}
	return s
}
