package lab_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// noPrefix begins no namespace.
func noPrefix(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: labs are claimed below /run")
	}
	return fmt.Sprintf("hgclaim%d-", os.Getpid())
}

func take(t *testing.T, dir, prefix string) *lab.Claim {
	t.Helper()
	c, err := lab.Take(dir, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Release(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return c
}

func TestPrivilegedClaimIsExclusive(t *testing.T) {
	prefix, dir := noPrefix(t), filepath.Join(t.TempDir(), "lab")
	if pid, err := lab.Holder(dir); err != nil || pid != 0 {
		t.Errorf("holder before anyone: %d, %v", pid, err)
	}
	c := take(t, dir, prefix)
	if pid, err := lab.Holder(dir); err != nil || pid != os.Getpid() {
		t.Errorf("holder %d, %v, want %d", pid, err, os.Getpid())
	}
	elsewhere := filepath.Join(t.TempDir(), "lab")
	for _, tt := range []struct{ name, dir, prefix string }{
		{"the same", dir, prefix},
		{"the same directory", dir, "x" + prefix},
		{"a directory inside", dir + "/logs", "x" + prefix},
		{"a directory around", filepath.Dir(dir), "x" + prefix},
		{"the same prefix", elsewhere, prefix},
		{"a longer prefix", elsewhere, prefix + "b"},
		{"a shorter prefix", elsewhere, prefix[:len(prefix)-1]},
	} {
		var inUse *lab.InUseError
		if _, err := lab.Take(tt.dir, tt.prefix); !errors.As(err, &inUse) || inUse.PID != os.Getpid() || inUse.Dir != dir || inUse.Prefix != prefix {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// Names that only look alike are in nobody's way.
	take(t, dir+"2", "x"+prefix)
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(dir + "*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(lab.ClaimsDir, prefix)); !os.IsNotExist(err) {
		t.Errorf("the claim is left: %v", err)
	}
	take(t, dir, prefix)
}

func TestPrivilegedClaimRemovesLeftovers(t *testing.T) {
	prefix := noPrefix(t)
	for _, tt := range []struct {
		name  string
		files []string
	}{
		{"killed as it began", nil},
		{"killed at work", []string{".hgw-lab", "gw1/socket", "logs/gw1/admin.log"}},
		{"killed as it removed its files", []string{".hgw-lab"}},
	} {
		dir := filepath.Join(t.TempDir(), "lab")
		fill(t, dir, tt.files...)
		if err := os.MkdirAll(lab.ClaimsDir, 0o755); err != nil {
			t.Fatal(err)
		}
		// As a process leaves it that was killed.
		if err := os.WriteFile(filepath.Join(lab.ClaimsDir, prefix), []byte("99999999\n"+dir+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		c := take(t, dir, prefix)
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: files are left: %v", tt.name, err)
		}
		if err := c.Release(); err != nil {
			t.Error(err)
		}
	}
}

func TestPrivilegedClaimLeavesForeignFilesAlone(t *testing.T) {
	prefix, foreign := noPrefix(t), filepath.Join(t.TempDir(), "home")
	fill(t, foreign, "letters/mine")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(foreign, link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{foreign, link, filepath.Join(foreign, "letters", "mine")} {
		var is *lab.ForeignError
		if _, err := lab.Take(dir, prefix); !errors.As(err, &is) || is.Dir != dir {
			t.Errorf("%s: %v", dir, err)
		}
		if _, err := lab.Up(t.Context(), lab.Options{Dir: dir, Prefix: prefix}); !errors.As(err, &is) {
			t.Errorf("up in %s: %v", dir, err)
		}
	}
	if _, err := os.Stat(filepath.Join(foreign, "letters", "mine")); err != nil {
		t.Errorf("a foreign file: %v", err)
	}
	if _, err := os.Lstat(link); err != nil {
		t.Errorf("a foreign link: %v", err)
	}
	// What belongs to others beside the directory is left alone too.
	dir := filepath.Join(t.TempDir(), "poetry")
	fill(t, filepath.Dir(dir), "poetry.lock")
	if err := take(t, dir, prefix).Release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir + ".lock"); err != nil {
		t.Errorf("a file beside the directory: %v", err)
	}
}

// fill makes a directory with files in it.
func fill(t *testing.T, dir string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
