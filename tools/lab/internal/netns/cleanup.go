package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killWait bounds how long a killed process may take to leave its namespace.
const killWait = 5 * time.Second

// List names the namespaces that begin with prefix.
func List(prefix string) ([]string, error) {
	entries, err := os.ReadDir(mountDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Cleanup removes every namespace whose name begins with prefix, and kills the
// processes inside. It is for leftovers of a run that crashed: namespaces of a
// run that is alive go too, so a prefix must not be the beginning of another.
func Cleanup(prefix string) error {
	if prefix == "" {
		return errors.New("clean up namespaces: prefix is empty")
	}
	names, err := List(prefix)
	if err != nil {
		return err
	}
	errs := []error{killInside(names)}
	for _, n := range names {
		errs = append(errs, remove(n))
	}
	return errors.Join(errs...)
}

// remove deletes a named namespace; one that is absent is fine. The kernel
// frees it when the last socket and thread inside have gone.
func remove(name string) error {
	path := filepath.Join(mountDir, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil &&
		!errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount namespace %s: %w", name, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove namespace %s: %w", name, err)
	}
	return nil
}

// inode identifies a namespace, whatever path it was reached by.
type inode struct{ dev, ino uint64 }

func inodeOf(path string) (inode, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return inode{}, err
	}
	return inode{dev: st.Dev, ino: st.Ino}, nil
}

// killInside kills the processes of the named namespaces, and returns when
// they have left.
func killInside(names []string) error {
	wanted := map[inode]bool{}
	for _, n := range names {
		// A file without a mounted namespace is a leftover of its own kind.
		if i, err := inodeOf(filepath.Join(mountDir, n)); err == nil {
			wanted[i] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	deadline := time.Now().Add(killWait)
	for {
		pids, err := processesIn(wanted)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v stay in namespaces %v after SIGKILL", pids, names)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// processesIn finds the processes, apart from this one, of which the main
// thread is in one of the namespaces. Zombies have no namespace any more.
func processesIn(wanted map[inode]bool) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		// An error means that it has just gone.
		if i, err := inodeOf(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil && wanted[i] {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
