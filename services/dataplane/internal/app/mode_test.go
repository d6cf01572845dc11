package app

import (
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	"github.com/hybridgateway/gateway/services/dataplane/internal/config"
)

// TestPrivilegedModeChange: a dataplane that is started in the other mode leaves everything as it is until it has a list, then makes the device
// anew; all packets come through before that and after.
func TestPrivilegedModeChange(t *testing.T) {
	w := newWorld(t)
	w.registry.both(t)
	pod, cloud := newEcho(t, w.nodes[0], podIP(1)), newEcho(t, w.cloud, cloudIP)
	process := w.dataplane(t)
	w.ready(t, 2)
	reaches(t, w.cloud, cloudIP, pod)
	reaches(t, w.nodes[0], podIP(1), cloud)
	isFlow := func() bool { return w.gateway.Link(t, DeviceName).(*netlink.Vxlan).FlowBased }
	none := func(t *testing.T, what string, during func(advance func())) {
		t.Helper()
		down := startProbe(t, w.cloud, cloudIP, pod, time.Millisecond)
		up := startProbe(t, w.nodes[0], podIP(1), cloud, time.Millisecond)
		during(func() {
			down.advance(t, 50)
			up.advance(t, 50)
		})
		for name, p := range map[string]*probe{"to the pod": down, "from the pod": up} {
			if sent, lost := p.finish(); lost > 0 {
				t.Errorf("%s, %s: %d of %d packets lost", what, name, lost, sent)
			}
		}
	}
	for _, mode := range []string{config.ProgrammingFlow, config.ProgrammingNode} {
		before := isFlow()
		none(t, "before there is a list", func(advance func()) {
			advance()
			w.registry.stop()
			_ = process.Process.Kill()
			_ = process.Wait()
			process = w.dataplane(t, programming(mode))
			w.state(t, "waiting", func(s *tunnelv1.Tunnel) bool {
				return !s.GetReady() && len(s.GetProblems()) > 0 && strings.Contains(s.GetProblems()[0], "programmed in the other way")
			})
			advance()
		})
		if isFlow() != before {
			t.Error("the device is made anew though there is no list")
		}
		change := startProbe(t, w.cloud, cloudIP, pod, time.Millisecond)
		change.advance(t, 50)
		w.registry = newRegistry(t, w.registry.socket)
		w.registry.both(t)
		if s := w.ready(t, 2); len(s.GetProblems()) > 0 || isFlow() == before {
			t.Errorf("with a list: %v", s)
		}
		none(t, mode, func(advance func()) { advance() })
		sent, lost := change.finish()
		t.Logf("while it changed to %s, %d of %d packets were lost, one each millisecond", mode, lost, sent)
	}
}

// TestPrivilegedFlowHasNoFastPath: no program is attached that could do nothing.
func TestPrivilegedFlowHasNoFastPath(t *testing.T) {
	w := newWorld(t)
	w.registry.both(t)
	w.dataplane(t, programming(config.ProgrammingFlow))
	w.ready(t, 2)
	reaches(t, w.cloud, cloudIP, newEcho(t, w.nodes[0], podIP(1)))
	if metrics := w.get(t, "/metrics"); !strings.Contains(metrics, "\neks_hybrid_gateway_fastpath_attached 0\n") || strings.Contains(metrics, "fastpath_packets_total{") {
		t.Errorf("there is a fast path:\n%s", metrics)
	}
}
