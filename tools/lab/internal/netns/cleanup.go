package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// killWait bounds how long a killed process may take to leave its namespace.
const killWait = 5 * time.Second

// mark is the alias of the loopback device of namespaces that Create made. It
// goes away with the namespace and with nothing else, so it cannot be wrong
// after a crash. Others' namespaces may have names that begin as ours do.
const mark = "made by the hybrid gateway's lab"

// List names the namespaces that begin with prefix and were made by Create, of
// whatever process.
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
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		ours, err := marked(e.Name())
		if err != nil {
			return nil, err
		}
		if ours {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// marked tells whether Create made a namespace. A file that no namespace is
// mounted on, or that has just gone, is nobody's.
func marked(name string) (bool, error) {
	if mounted, err := isNamespace(filepath.Join(mountDir, name)); err != nil || !mounted {
		return false, err
	}
	ns, err := vnetns.GetFromName(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open namespace %s: %w", name, err)
	}
	defer ns.Close()
	nl, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if errors.Is(err, unix.EINVAL) {
		return false, nil // unmounted meanwhile: an ordinary file
	}
	if err != nil {
		return false, fmt.Errorf("open netlink in %s: %w", name, err)
	}
	defer nl.Close()
	lo, err := nl.LinkByName("lo")
	if err != nil {
		// Somebody may have renamed it, but not we.
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			return false, nil
		}
		return false, fmt.Errorf("find lo in %s: %w", name, err)
	}
	return lo.Attrs().Alias == mark, nil
}

// isNamespace tells whether a namespace is mounted on a file.
func isNamespace(path string) (bool, error) {
	var fs unix.Statfs_t
	switch err := unix.Statfs(path, &fs); {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at %s: %w", path, err)
	}
	return fs.Type == unix.NSFS_MAGIC, nil
}

// publish gives the calling thread's namespace a name. A file of that name
// without a namespace is a leftover, and is used.
func publish(name string) error {
	if err := os.MkdirAll(mountDir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(mountDir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	switch taken, lookErr := isNamespace(path); {
	case err == nil:
		if err := f.Close(); err != nil {
			return err
		}
	case !errors.Is(err, os.ErrExist):
		return err
	case lookErr != nil:
		return lookErr
	case taken:
		return err
	}
	if err := unix.Mount("/proc/thread-self/ns/net", path, "bind", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount it on %s: %w", path, err)
	}
	return nil
}

// Cleanup removes every namespace that List finds, and kills the processes
// inside. It is for leftovers of a run that crashed: namespaces of a run that
// is alive go too, so a prefix must not be the beginning of another.
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
