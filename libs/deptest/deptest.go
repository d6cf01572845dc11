// Package deptest keeps libraries out of binaries that must not have them.
package deptest

import (
	"os/exec"
	"strings"
	"testing"
)

// Forbid fails the test when the package at dir, as it is built for use, depends on
// a package whose import path begins with one of the keys of banned; the values say
// why it must not.
func Forbid(t *testing.T, dir string, banned map[string]string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("list the dependencies of %s: %v\n%s", dir, err, out)
	}
	for _, dep := range strings.Fields(string(out)) {
		for path, why := range banned {
			if dep == path || strings.HasPrefix(dep, path+"/") {
				t.Errorf("%s is linked: %s", dep, why)
			}
		}
	}
}
