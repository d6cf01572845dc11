package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// markerName is the file by which a lab's directory is known: no other
// directory is ever removed.
const markerName = ".hgw-lab"

// ForeignError says that something that is not a lab's is where a lab's
// directory should be.
type ForeignError struct{ Dir string }

func (e *ForeignError) Error() string {
	return e.Dir + " is not a lab's directory, and is left alone: choose another with --dir"
}

// makeDir makes the lab's directory. It bears the marker before it has anything
// else in it, so that it can be removed wherever the process is killed.
func makeDir(dir string) error {
	if err := checkDir(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the lab's directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, markerName), nil, 0o644); err != nil {
		return fmt.Errorf("mark the lab's directory: %w", err)
	}
	return nil
}

// checkDir returns a *ForeignError unless the directory is a lab's, or empty, or
// absent.
func checkDir(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the lab's directory: %w", err)
	}
	if !info.IsDir() {
		return &ForeignError{dir}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look into the lab's directory: %w", err)
	}
	for _, e := range entries {
		if e.Name() == markerName && e.Type().IsRegular() {
			return nil
		}
	}
	if len(entries) > 0 {
		return &ForeignError{dir}
	}
	return nil
}

// removeDir removes a lab's directory; one that is absent is fine. The marker
// goes last, so that a removal that was cut short can be finished.
func removeDir(dir string) error {
	if err := checkDir(dir); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the lab's files: %w", err)
	}
	for _, e := range entries {
		if e.Name() == markerName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove the lab's files: %w", err)
		}
	}
	for _, path := range []string{filepath.Join(dir, markerName), dir} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the lab's files: %w", err)
		}
	}
	return nil
}
