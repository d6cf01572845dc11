package lab_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// noPrefix begins no namespace, so that these tests need no root.
const noPrefix = "hgclaimtest-"

func TestClaimIsExclusive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	if pid, err := lab.Holder(dir); err != nil || pid != 0 {
		t.Errorf("holder before anyone: %d, %v", pid, err)
	}
	c, err := lab.Take(dir, noPrefix)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := lab.Holder(dir); err != nil || pid != os.Getpid() {
		t.Errorf("holder %d, %v, want %d", pid, err, os.Getpid())
	}
	var inUse *lab.InUseError
	if _, err := lab.Take(dir, noPrefix); !errors.As(err, &inUse) || inUse.PID != os.Getpid() {
		t.Errorf("second claim: %v", err)
	}
	if err := c.Release(); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(dir + "*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	again, err := lab.Take(dir, noPrefix)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
}

func TestClaimRemovesLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lab")
	if err := os.MkdirAll(filepath.Join(dir, "gw1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+".lock", []byte("99999999\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := lab.Take(dir, noPrefix)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("files of the crashed lab are left: %v", err)
	}
}
