package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// SavedError is a failure of a lab of which the logs were kept. It tells where
// they are now: Close removes the originals, of which the failure may speak.
type SavedError struct {
	Err       error
	Dir       string // holds the logs of all processes
	originals string // the lab's directory
}

func (e *SavedError) Error() string {
	text := strings.ReplaceAll(e.Err.Error(), e.originals+"/", e.Dir+"/")
	return fmt.Sprintf("%s (all logs are in %s)", text, e.Dir)
}

func (e *SavedError) Unwrap() error { return e.Err }

// KeepLogs saves the logs for an error, which it returns as a *SavedError. It
// returns the error itself when that is only that ctx has ended.
func (l *Lab) KeepLogs(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	dir, saveErr := l.SaveLogs()
	if saveErr != nil {
		return errors.Join(err, saveErr)
	}
	return &SavedError{Err: err, Dir: dir, originals: l.Options.Dir}
}

// SaveLogs copies the logs of all processes to a new directory below the
// machine's temporary one, and returns its path. It is for a lab that failed:
// Close removes the originals.
func (l *Lab) SaveLogs() (string, error) {
	dir, err := os.MkdirTemp("", "hgw-lab-logs-")
	if err != nil {
		return "", fmt.Errorf("save logs: %w", err)
	}
	if err := copyLogs(l.Options.Dir, dir); err != nil {
		return "", fmt.Errorf("save logs: %w", err)
	}
	return dir, nil
}

// copyLogs copies the log files below a directory.
func copyLogs(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the control plane removes files while it runs
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".log") {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, data, 0o644)
	})
}
