package controlplane

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// BinaryVariable names the environment variable with the binary's path.
const BinaryVariable = "CONTROLPLANE_BIN"

// ErrNoBinary says that the binary was not built.
var ErrNoBinary = errors.New("no API server and no etcd: build them with `make controlplane`, or set " + BinaryVariable)

// FindBinary returns ErrNoBinary when there is none, and another error when the
// environment names one that does not exist.
func FindBinary() (string, error) {
	if named := os.Getenv(BinaryVariable); named != "" {
		if _, err := os.Stat(named); err != nil {
			return "", fmt.Errorf("%s: %w", BinaryVariable, err)
		}
		return filepath.Abs(named)
	}
	found, err := FindUpward(filepath.Join(".bin", "controlplane"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", ErrNoBinary
	}
	return found, err
}

// Missing ends a test that lacks the binary; euid is who runs it. Root runs all tests: one
// that is skipped unnoticed there has no other place to run.
func Missing(t testing.TB, euid int) {
	t.Helper()
	if euid == 0 {
		t.Fatal(ErrNoBinary)
	}
	t.Skip(ErrNoBinary)
}

// FindUpward looks for the path in the working directory, then in each above.
func FindUpward(path string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", path, err)
	}
	for {
		candidate := filepath.Join(dir, path)
		if _, err := os.Stat(candidate); err == nil {
			return candidate, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look for %s: %w", path, err)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%s is in no directory above: %w", path, fs.ErrNotExist)
		}
		dir = parent
	}
}
