package app

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// withProcess returns a context that ends when the process does, as well as
// when ctx does.
//
// PR_SET_PDEATHSIG would be shorter, but it follows the thread that started
// this process, and a program that works in network namespaces ends such
// threads all the time.
func withProcess(ctx context.Context, pid int) (context.Context, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch parent process %d: %w", pid, err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if os.Getppid() != pid {
		cancel(errParentGone)
	}
	go func() {
		defer unix.Close(fd)
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				cancel(errParentGone)
				return
			}
		}
	}()
	return ctx, nil
}

var errParentGone = errors.New("the parent process is gone")
