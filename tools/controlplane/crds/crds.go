// Package crds holds the definitions of the two Cilium resources that the
// gateway reads and writes. They state what Cilium documents and validates
// about the fields in use, and let all other fields pass.
package crds

import (
	"embed"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hybridgateway/gateway/tools/controlplane/internal/kube"
)

//go:embed *.yaml
var files embed.FS

// Objects returns the CustomResourceDefinitions.
func Objects() ([]*unstructured.Unstructured, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, e := range entries {
		data, err := files.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("read definition: %w", err)
		}
		parsed, err := kube.ParseManifest(data)
		if err != nil {
			return nil, fmt.Errorf("parse definition %s: %w", e.Name(), err)
		}
		objects = append(objects, parsed...)
	}
	return objects, nil
}
