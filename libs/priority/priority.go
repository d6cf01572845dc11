// Package priority lets a process run at once when it wants to, on a node whose processors are all busy.
package priority

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	// level is the lowest of the real-time ones: before everything that is not, and after whatever else is.
	level = 1
	// nice is the highest priority among those that share the processors fairly.
	nice = -20
	// passes bound how often threads are listed: some may begin meanwhile.
	passes = 100
)

// Realtime puts all threads of this process, and those that it will begin, into the scheduling class SCHED_RR (sched(7)). Nothing of the
// class that shares the processors fairly runs before them, whatever its weight and that of its cgroup. It takes CAP_SYS_NICE. It is for
// processes that use little of a processor; the kernel keeps a share of each for the others (sched_rt_runtime_us in sched(7)).
//
// It must be all threads: timers, the network poller and the garbage collector of a Go process run on any of them.
//
// Where the class is not to be had, as in a cgroup that has no share of it, the threads get the highest priority within the fair class,
// and how is that. After an error the process runs as before, or with some of its threads before others.
func Realtime() (how string, err error) {
	rr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: level}
	err = each(func(thread int) error { return unix.SchedSetAttr(thread, &rr, 0) })
	if err == nil {
		return "SCHED_RR", nil
	}
	if each(func(thread int) error { return unix.Setpriority(unix.PRIO_PROCESS, thread, nice) }) == nil {
		return fmt.Sprintf("nice %d", nice), nil
	}
	return "", fmt.Errorf("run with priority: %w", err)
}

// Normal undoes Realtime, whether this process called it or its parent did, from which it inherits.
func Normal() error {
	fair := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
	if err := each(func(thread int) error { return unix.SchedSetAttr(thread, &fair, 0) }); err != nil {
		return fmt.Errorf("run without priority: %w", err)
	}
	return nil
}

// each calls set for every thread. A thread inherits from the one that begins it, so that it is over when a
// list has none that is new.
func each(set func(thread int) error) error {
	done := make(map[int]bool)
	for range passes {
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		news := false
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil || done[id] {
				continue
			}
			if err := set(id); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
				return fmt.Errorf("set the scheduling of a thread: %w", err)
			}
			done[id], news = true, true
		}
		if !news {
			return nil
		}
	}
	return fmt.Errorf("set the scheduling of threads: there were new ones each of %d times", passes)
}
