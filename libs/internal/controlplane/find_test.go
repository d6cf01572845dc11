package controlplane

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestBinaryIsFoundUpward(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	for _, dir := range []string{deep, filepath.Join(root, ".bin")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	want := filepath.Join(root, ".bin", "controlplane")
	if err := os.WriteFile(want, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(BinaryVariable, "")
	t.Chdir(deep)
	got, err := FindBinary()
	if err != nil {
		t.Fatal(err)
	}
	if got, err = filepath.EvalSymlinks(got); err != nil {
		t.Fatal(err)
	}
	if want, err = filepath.EvalSymlinks(want); err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}

func TestMissingBinaryIsToldApart(t *testing.T) {
	t.Setenv(BinaryVariable, "")
	t.Chdir(t.TempDir())
	if _, err := FindBinary(); !errors.Is(err, ErrNoBinary) {
		t.Errorf("none built: error %v, want %v", err, ErrNoBinary)
	}
	t.Setenv(BinaryVariable, "missing")
	if _, err := FindBinary(); errors.Is(err, ErrNoBinary) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("wrong one named: error %v, want a missing file", err)
	}
}

// tester records how a test ends, instead of ending it.
type tester struct {
	testing.TB
	ended string
}

func (t *tester) Helper() {}
func (t *tester) Fatal(...any) {
	if t.ended == "" {
		t.ended = "failed"
	}
}
func (t *tester) Skip(...any) {
	if t.ended == "" {
		t.ended = "skipped"
	}
}

func TestMissingBinaryFailsRoot(t *testing.T) {
	for euid, want := range map[int]string{0: "failed", 1000: "skipped"} {
		got := &tester{TB: t}
		Missing(got, euid)
		if got.ended != want {
			t.Errorf("user %d: the test was %q, want %q", euid, got.ended, want)
		}
	}
}
