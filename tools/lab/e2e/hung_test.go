package e2e

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
)

// testHung stops a service of the leader without ending it: its socket is there, and nobody answers. The leadership goes
// to the other gateway as if the service were gone, and what forwards is the kernel, so no packet may be lost.
func (s *suite) testHung(t *testing.T) {
	for _, service := range []string{gateway.Dataplane, gateway.RouteSync, gateway.VtepRegistry} {
		t.Run(service, func(t *testing.T) {
			h := s.healthy(t)
			before := pids(s.Gateways...)
			p := h.Active.Process(service)
			pair := s.probes(t)
			if err := p.Signal(unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
				t.Error(err)
			}
			received(t, pair, 20)
			if err := p.Signal(unix.SIGCONT); err != nil {
				t.Error(err)
			}
			after := s.healthy(t)
			s.sameExcept(t, before) // nobody died of it
			received(t, pair, 20)
			lostNothing(t, pair)
			if after.Active != h.Standby {
				t.Errorf("%s leads once %s works again, want %s to go on", after.Active.Name, p.Name(), h.Standby.Name)
			}
		})
	}
}
