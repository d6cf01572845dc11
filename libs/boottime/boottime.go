// Package boottime reads the clock that the processes of one node share.
package boottime

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now is the CLOCK_BOOTTIME reading: time since the node booted, suspend included
// (clock_gettime(2)). It never jumps, and all processes of a node read the same
// value, so that a deadline given as a reading holds in another process however
// long the message took to arrive. Readings of two nodes cannot be compared.
func Now() time.Duration {
	var ts unix.Timespec
	// The call fails only for a clock the kernel does not have, and CLOCK_BOOTTIME is
	// older than every kernel with VXLAN (Linux 2.6.39).
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("read CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(ts.Nano())
}
