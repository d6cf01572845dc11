package app

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	"github.com/hybridgateway/gateway/services/dataplane/internal/config"
)

// BenchmarkPrivilegedJoin measures, in both modes and at three sizes, how long all nodes take to be programmed by a dataplane that starts, and then how long
// one node takes from the registry's event to its route in the kernel, which is the last that it needs. Its figures are to be read, not
// judged.
func BenchmarkPrivilegedJoin(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		for _, mode := range []string{config.ProgrammingNode, config.ProgrammingFlow} {
			join(b, n, mode)
		}
	}
}

func join(b *testing.B, n int, mode string) {
	b.Helper()
	const joins = 100
	w := newWorld(b)
	for i := range n {
		w.registry.put(b, fmt.Sprint("n", i), fmt.Sprintf("172.16.%d.%d", i/250, 1+i%250), fmt.Sprintf("100.%d.%d.0/24", 64+i/250, i%250))
	}
	process := w.dataplane(b, "--log-level=warn", programming(mode)).Process.Pid
	w.state(b, "started", func(s *tunnelv1.Tunnel) bool { return s.GetMtu() > 0 })
	begun, used := time.Now(), processorTime(b, process)
	w.registry.log.MarkSynced()
	w.ready(b, uint32(n))
	start, used := time.Since(begun), processorTime(b, process)-used

	var come, gone []time.Duration
	routes := w.routeChanges(b)
	for i := range joins {
		node, network := fmt.Sprint("more", i), netip.MustParsePrefix(fmt.Sprintf("100.127.%d.0/24", i))
		come = append(come, routes.await(b, true, network, func() { w.registry.put(b, node, fmt.Sprintf("172.17.0.%d", 1+i), network.String()) }))
		time.Sleep(5 * time.Millisecond) // nodes come one at a time, and are looked at one at a time
		if i%2 == 0 {
			gone = append(gone, routes.await(b, false, network, func() { w.registry.log.Delete(b.Context(), node) }))
		}
	}
	b.Logf("%6d nodes, %s: all programmed %v after the list came (%v of processor); one more after %s; one removed after %s; memory %s", n, mode, start.Round(time.Millisecond), used, quantiles(come), quantiles(gone), memory(b, process))
}

// memory is what a process has in memory. See proc_pid_status(5).
func memory(b *testing.B, pid int) string {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if size, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(size)
		}
	}
	b.Fatalf("no VmRSS in %q", status)
	return ""
}

func quantiles(d []time.Duration) string {
	slices.Sort(d)
	at := func(share float64) time.Duration { return d[int(share*float64(len(d)-1))].Round(10 * time.Microsecond) }
	return fmt.Sprintf("%v (p50) %v (p95) %v (worst of %d)", at(.5), at(.95), at(1), len(d))
}

// processorTime is how long a process has run so far. See proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms.
func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	var user, system int
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if _, err := fmt.Sscan(fields[14-3]+" "+fields[15-3], &user, &system); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// routeChanges are the kernel's notifications of routes.
type routeChanges chan netlink.RouteUpdate

func (w *world) routeChanges(b *testing.B) routeChanges {
	b.Helper()
	updates, done := make(routeChanges, 4096), make(chan struct{})
	if err := w.gateway.Do(func() error { return netlink.RouteSubscribe(updates, done) }); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { close(done) })
	return updates
}

// await does something and returns how long it took for a network to get a route, or to lose it.
func (r routeChanges) await(b *testing.B, there bool, network netip.Prefix, do func()) time.Duration {
	b.Helper()
	begun := time.Now()
	do()
	for timeout := time.After(patience); ; {
		select {
		case u := <-r:
			if u.Dst != nil && u.Dst.String() == network.String() && (u.Type == unix.RTM_NEWROUTE) == there {
				return time.Since(begun)
			}
		case <-timeout:
			b.Fatalf("nothing was heard of the route to %s", network)
		}
	}
}
