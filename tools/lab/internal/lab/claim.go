package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// ClaimsDir holds a file for each prefix that is claimed, locked by the process
// that has it. The place is the same for all labs of a machine, and no lab's
// own directory, for those go away.
const ClaimsDir = "/run/hgw-lab.claims"

// guardName is the file that is locked while the others are looked at. No
// prefix has a dot.
const guardName = ".guard"

// Claim is the right to have the lab of one directory and prefix. The kernel
// takes it back when the process ends, however it ends.
type Claim struct {
	dir, prefix string
	lock        *os.File
}

// InUseError says that another process has a lab with the same directory, or
// one below or above it, or with a prefix such that the names of one lab's
// namespaces could be the other's.
type InUseError struct {
	Dir, Prefix string // the other's
	PID         int
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("a lab is up already (process %d, files in %s, namespaces %s…); remove it first: make lab-down, or lab down --dir=%[2]s --prefix=%[3]s",
		e.PID, e.Dir, e.Prefix)
}

// Take claims the lab, and removes what an earlier one has left if it crashed.
// The error is an *InUseError when another process is in the way, and a
// *ForeignError when the directory is not a lab's; then nothing was touched.
func Take(dir, prefix string) (*Claim, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	lock, err := acquire(dir, prefix)
	if err != nil {
		return nil, err
	}
	c := &Claim{dir: dir, prefix: prefix, lock: lock}
	if err := c.Clean(); err != nil {
		return nil, errors.Join(err, c.Release())
	}
	return c, nil
}

// acquire locks the file of the prefix, and writes into it who has it.
func acquire(dir, prefix string) (*os.File, error) {
	release, err := guard()
	if err != nil {
		return nil, err
	}
	defer release()
	held, err := claims()
	if err != nil {
		return nil, err
	}
	for _, h := range held {
		if overlap(h.Prefix, prefix) || overlap(h.Dir+"/", dir+"/") {
			return nil, &h
		}
	}
	lock, err := os.OpenFile(filepath.Join(ClaimsDir, prefix), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lab's claim: %w", err)
	}
	if err := errors.Join(
		syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB),
		lock.Truncate(0),
		write(lock, fmt.Sprintf("%d\n%s\n", os.Getpid(), dir)),
	); err != nil {
		lock.Close()
		return nil, fmt.Errorf("claim prefix %s: %w", prefix, err)
	}
	return lock, nil
}

func write(f *os.File, text string) error {
	_, err := f.WriteString(text)
	return err
}

// overlap tells whether one begins with the other.
func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// guard keeps others from claiming and from giving back.
func guard() (release func(), err error) {
	if err := os.MkdirAll(ClaimsDir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of claims: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(ClaimsDir, guardName), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the guard of claims: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the guard of claims: %w", err)
	}
	return func() { f.Close() }, nil
}

// claims lists those that a living process has. The guard must be held.
func claims() ([]InUseError, error) {
	entries, err := os.ReadDir(ClaimsDir)
	if err != nil {
		return nil, fmt.Errorf("list claims: %w", err)
	}
	var held []InUseError
	for _, e := range entries {
		if e.Name() == guardName {
			continue
		}
		c := InUseError{Prefix: e.Name()}
		alive, err := c.read()
		if err != nil {
			return nil, err
		}
		if alive {
			held = append(held, c)
		}
	}
	return held, nil
}

// read fills in who has a claim; alive is false when nobody has it any more.
func (e *InUseError) read() (alive bool, err error) {
	f, err := os.Open(filepath.Join(ClaimsDir, e.Prefix))
	if err != nil {
		return false, fmt.Errorf("open claim: %w", err)
	}
	defer f.Close()
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case err == nil:
		return false, nil
	case !errors.Is(err, syscall.EWOULDBLOCK):
		return false, fmt.Errorf("look at claim %s: %w", e.Prefix, err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		return false, fmt.Errorf("read claim: %w", err)
	}
	pid, rest, _ := strings.Cut(string(data), "\n")
	if e.PID, err = strconv.Atoi(pid); err != nil {
		return false, fmt.Errorf("read claim %s: %w", e.Prefix, err)
	}
	e.Dir = strings.TrimSuffix(rest, "\n")
	return true, nil
}

// Holder is the process that has the lab of a directory, 0 when none has.
func Holder(dir string) (int, error) {
	release, err := guard()
	if err != nil {
		return 0, err
	}
	defer release()
	held, err := claims()
	if err != nil {
		return 0, err
	}
	for _, h := range held {
		if h.Dir == dir {
			return h.PID, nil
		}
	}
	return 0, nil
}

// Clean removes all that a lab may have left: namespaces, the processes inside,
// and files. Doing so twice is harmless.
func (c *Claim) Clean() error { return errors.Join(world.Cleanup(c.prefix), removeDir(c.dir)) }

// Release gives the claim back.
func (c *Claim) Release() error {
	release, err := guard()
	if err != nil {
		return errors.Join(err, c.lock.Close())
	}
	defer release()
	err = os.Remove(c.lock.Name())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, c.lock.Close())
}
