package app

import (
	"strings"
	"syscall"
	"testing"
)

// TestPrivilegedFastPath: by default packets take the fast path, and are counted as the tunnel's; switched off, none do.
func TestPrivilegedFastPath(t *testing.T) {
	w := newWorld(t)
	w.registry.both(t)
	pod := newEcho(t, w.nodes[0], podIP(1))
	const taken = `eks_hybrid_gateway_fastpath_packets_total{dir="tx"}`
	process := w.dataplane(t)
	w.ready(t, 2)
	eventually(t, "the fast path is attached", func() bool {
		return strings.Contains(w.get(t, "/metrics"), "\neks_hybrid_gateway_fastpath_attached 1\n")
	})
	eventually(t, "packets take the fast path, and are the tunnel's", func() bool {
		reaches(t, w.cloud, cloudIP, pod)
		metrics := w.get(t, "/metrics")
		return strings.Contains(metrics, taken) && !strings.Contains(metrics, taken+" 0\n") &&
			!strings.Contains(metrics, `eks_hybrid_gateway_vxlan_packets_total{dir="tx"} 0`)
	})
	_ = process.Process.Signal(syscall.SIGTERM)
	_ = process.Wait()

	w.dataplane(t, "--fastpath=off")
	w.ready(t, 2)
	reaches(t, w.cloud, cloudIP, pod)
	if metrics := w.get(t, "/metrics"); !strings.Contains(metrics, "eks_hybrid_gateway_fastpath_attached 0") || strings.Contains(metrics, taken) {
		t.Error("the fast path is attached though it is switched off")
	}
}

// TestPrivilegedNoFastPath: where the capability BPF is missing packets go the kernel's way, which is told; who insists is refused.
func TestPrivilegedNoFastPath(t *testing.T) {
	w := newWorld(t)
	w.registry.both(t)
	for _, arg := range []string{"--fastpath=auto", "--fastpath=on"} {
		var told strings.Builder
		c := w.command(arg)
		c.Env = append(c.Env, unprivileged+"=1")
		c.Stderr = &told
		w.gateway.Start(t, c)
		if arg == "--fastpath=on" {
			if err := c.Wait(); err == nil || !strings.Contains(told.String(), "--fastpath=auto") {
				t.Errorf("%s: it ends with %v, and says %s", arg, err, told.String())
			}
			continue
		}
		w.ready(t, 2)
		if !strings.Contains(w.get(t, "/metrics"), "eks_hybrid_gateway_fastpath_attached 0") {
			t.Errorf("%s: attached", arg)
		}
		reaches(t, w.cloud, cloudIP, newEcho(t, w.nodes[0], podIP(1)))
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		if !strings.Contains(told.String(), "no fast path") || !strings.Contains(told.String(), "capabilities BPF and NET_ADMIN") {
			t.Errorf("%s: it says %s", arg, told.String())
		}
	}
}
