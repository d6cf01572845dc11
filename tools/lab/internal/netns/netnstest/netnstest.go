// Package netnstest helps tests that make network namespaces.
package netnstest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

// begin begins the names of all namespaces that tests make. It differs from
// the lab's own prefix, so that tests and a lab can run beside each other.
const begin = "hgt"

// Prefix gives a prefix for the namespaces of a test, unlike that of any other
// process; kind is a short word that tells the worlds of one process apart. It
// skips the test when it may not make namespaces. What tests of processes that
// are no longer alive left behind is removed.
func Prefix(t testing.TB, kind string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	names, err := netns.List(begin)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		digits, _, _ := strings.Cut(strings.TrimPrefix(n, begin), "-")
		if pid, err := strconv.Atoi(digits); err == nil && unix.Kill(pid, 0) == unix.ESRCH {
			if err := netns.Cleanup(n); err != nil {
				t.Logf("clean up after an earlier test: %v", err)
			}
		}
	}
	return fmt.Sprintf("%s%d-%s-", begin, os.Getpid(), kind)
}

// Host makes a namespace that lives as long as the test.
func Host(t testing.TB, name string) *netns.Host {
	t.Helper()
	h, err := netns.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}
