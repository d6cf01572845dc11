package cilium

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The group and version of both kinds, and their names in URLs.
const (
	group   = "cilium.io"
	version = "v2"

	nodes       = "ciliumnodes"
	vtepConfigs = "ciliumvtepconfigs"

	ciliumNodeKind = "CiliumNode"
	vtepConfigKind = "CiliumVTEPConfig"
)

// object is any object of Cilium's. Its spec is parsed by us and not by the decoder,
// which would give up a whole list for one field of the wrong type.
type object struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              json.RawMessage `json:"spec,omitempty"`
}

// DeepCopyObject implements runtime.Object.
func (o *object) DeepCopyObject() runtime.Object {
	c := &object{TypeMeta: o.TypeMeta, Spec: append(json.RawMessage(nil), o.Spec...)}
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

func newScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	gv := schema.GroupVersion{Group: group, Version: version}
	for _, kind := range []string{ciliumNodeKind, vtepConfigKind} {
		s.AddKnownTypeWithName(gv.WithKind(kind), &object{})
		s.AddKnownTypeWithName(gv.WithKind(kind+"List"), &objectList{})
	}
	metav1.AddToGroupVersion(s, gv)
	return s
}
