package deptest

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Two versions of one library in the workspace would mean that a module built by
// itself is not what the tests of the workspace tested.
func TestOneVersionPerLibrary(t *testing.T) {
	root := workspace(t)
	type use struct{ version, module string }
	first := map[string]use{}
	for _, dir := range modules(t, root) {
		var mod struct {
			Require []struct {
				Path, Version string
				Indirect      bool
			}
		}
		goJSON(t, &mod, filepath.Join(root, dir), "mod", "edit", "-json")
		for _, r := range mod.Require {
			if r.Indirect {
				continue
			}
			if was, known := first[r.Path]; known && was.version != r.Version {
				t.Errorf("%s: %s in %s, %s in %s", r.Path, was.version, was.module, r.Version, dir)
			}
			first[r.Path] = use{r.Version, dir}
		}
	}
	if len(first) == 0 {
		t.Error("no module requires anything, so this test looks in the wrong place")
	}
}

func workspace(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOWORK").Output()
	file := strings.TrimSpace(string(out))
	if err != nil || file == "" || file == "off" {
		t.Skipf("not in the workspace: GOWORK is %q", file)
	}
	return filepath.Dir(file)
}

func modules(t *testing.T, root string) []string {
	t.Helper()
	var work struct{ Use []struct{ DiskPath string } }
	goJSON(t, &work, root, "work", "edit", "-json")
	var dirs []string
	for _, u := range work.Use {
		dirs = append(dirs, u.DiskPath)
	}
	return dirs
}

func goJSON(t *testing.T, into any, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s in %s: %v", strings.Join(args, " "), dir, err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("read what go %s says: %v", strings.Join(args, " "), err)
	}
}
