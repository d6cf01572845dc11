package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
)

// kubernetesGrace is how long Kubernetes waits by default after it told a pod's containers to stop, until it kills them.
const kubernetesGrace = 30 * time.Second

// testLastExit stops all gateways. What they made in the VPC goes with the last one, unless one went without a word: it may
// come back.
func (s *suite) testLastExit(t *testing.T) {
	t.Run("all at once", func(t *testing.T) {
		s.healthy(t)
		s.terminate(t, s.Gateways...)
		if left := s.routesLeft(t); len(left) > 0 {
			t.Errorf("left in the VPC: %v", left)
		}
		s.healthy(t)
	})
	t.Run("one crashed before", func(t *testing.T) {
		h := s.healthy(t)
		before := s.routesLeft(t)
		if err := h.Standby.Kill(); err != nil {
			t.Fatal(err)
		}
		s.terminate(t, h.Active)
		if left := s.routesLeft(t); len(left) != len(before) || len(left) == 0 {
			t.Errorf("left in the VPC: %v, want what was there before: %v", left, before)
		}
		s.healthy(t)
	})
}

// terminate tells all processes of gateways to stop, as Kubernetes does, and waits until they have.
func (s *suite) terminate(t *testing.T, gateways ...*gateway.Gateway) {
	t.Helper()
	errs := make([]error, len(gateways))
	var wait sync.WaitGroup
	for i, g := range gateways {
		wait.Go(func() { errs[i] = g.Terminate(kubernetesGrace) })
	}
	wait.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("%s does not end in time: %v", gateways[i].Name, err)
		}
	}
}

// routesLeft are the routes to the pod networks in the VPC's tables, with what they lead to.
func (s *suite) routesLeft(t *testing.T) []string {
	t.Helper()
	var left []string
	for _, table := range s.World.RouteTables() {
		for _, dst := range s.World.PodNetworks() {
			if target := s.target(t, table, dst); target != "" {
				left = append(left, table+" "+dst.String()+" -> "+target)
			}
		}
	}
	return left
}
