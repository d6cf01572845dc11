package lab

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// Claim is the right to have the lab of one directory and prefix. The kernel
// takes it back when the process ends, however it ends.
type Claim struct {
	dir, prefix string
	lock        *os.File
}

// InUseError says that another process has the lab.
type InUseError struct {
	Dir string
	PID int // 0 when unknown
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("a lab is up already (process %d, files in %s); remove it first: make lab-down, or lab down", e.PID, e.Dir)
}

// Take claims the lab, and removes what an earlier one has left if it crashed.
// The error is an *InUseError when another process has it.
func Take(dir, prefix string) (*Claim, error) {
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	c := &Claim{dir: dir, prefix: prefix, lock: lock}
	if err := errors.Join(c.write(), c.Clean()); err != nil {
		return nil, errors.Join(err, c.Release())
	}
	return c, nil
}

// acquire locks the lab's lock file. One that was removed between being opened
// and being locked locks nothing, so another is made.
func acquire(dir string) (*os.File, error) {
	for {
		lock, err := os.OpenFile(lockFile(dir), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open the lab's lock: %w", err)
		}
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			pid := holder(lock)
			lock.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, &InUseError{Dir: dir, PID: pid}
			}
			return nil, fmt.Errorf("lock the lab: %w", err)
		}
		mine, err := lock.Stat()
		if err != nil {
			lock.Close()
			return nil, fmt.Errorf("look at the lab's lock: %w", err)
		}
		if named, err := os.Stat(lockFile(dir)); err == nil && os.SameFile(mine, named) {
			return lock, nil
		}
		lock.Close()
	}
}

// Holder is the process that has the lab, 0 when none has.
func Holder(dir string) (int, error) {
	lock, err := os.Open(lockFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open the lab's lock: %w", err)
	}
	defer lock.Close()
	switch err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return holder(lock), nil
	case err != nil:
		return 0, fmt.Errorf("look at the lab's lock: %w", err)
	}
	return 0, nil
}

// lockFile is beside the directory, for that one goes away.
func lockFile(dir string) string { return strings.TrimRight(dir, "/") + ".lock" }

func holder(lock *os.File) int {
	buf := make([]byte, 32)
	n, err := lock.ReadAt(buf, 0)
	if n == 0 && err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	if err != nil {
		return 0
	}
	return pid
}

func (c *Claim) write() error {
	if err := c.lock.Truncate(0); err != nil {
		return fmt.Errorf("write the lab's lock: %w", err)
	}
	if _, err := c.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write the lab's lock: %w", err)
	}
	return nil
}

// Clean removes all that a lab may have left: namespaces, the processes inside,
// and files. Doing so twice is harmless.
func (c *Claim) Clean() error {
	err := world.Cleanup(c.prefix)
	if rm := os.RemoveAll(c.dir); rm != nil {
		err = errors.Join(err, fmt.Errorf("remove the lab's files: %w", rm))
	}
	return err
}

// Release gives the claim back.
func (c *Claim) Release() error {
	err := os.Remove(c.lock.Name())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, c.lock.Close())
}
