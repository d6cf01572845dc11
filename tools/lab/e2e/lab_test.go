// Package e2e tests the whole product in the lab: real kernel, real API server,
// the unmodified AWS SDK against the EC2 stand-in, and the programs as they are
// built.
package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/tools/lab/internal/cluster"
	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/flows"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// The lab of these tests lives beside one that a developer has up.
	testDir    = "/run/hgw-e2e"
	testPrefix = "hge-"
	// healTimeout bounds the way back to a healthy lab; it takes a twentieth.
	healTimeout = 60 * time.Second
	// ec2Latency is what a call to EC2 takes.
	ec2Latency = 100 * time.Millisecond
)

// programs finds the directory of the programs, and the product's manifests. It
// skips the test without root, and fails it when a program is missing.
func programs(t *testing.T) (binDir, manifests string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	root, binDir := places(t)
	for _, name := range append(gateway.Services(), cluster.Binary, "lab", "hgctl") {
		if _, err := os.Stat(filepath.Join(binDir, name)); err != nil {
			t.Fatalf("needs %s in %s: build it with make build, or set LAB_BIN_DIR", name, binDir)
		}
	}
	return binDir, filepath.Join(root, "deploy", "rbac")
}

// places are the directory of the repository, and that of the programs.
func places(t *testing.T) (root, binDir string) {
	t.Helper()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	if binDir = os.Getenv("LAB_BIN_DIR"); binDir == "" {
		binDir = filepath.Join(root, ".bin")
	}
	return root, binDir
}

// repository is the directory above this one that has the go.work.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.work above the test")
		}
	}
}

// suite is a lab with its gateways, which all sub-tests share. Each begins with
// a healthy one.
type suite struct{ *lab.Lab }

// TestPrivilegedLab brings one lab up and runs everything else in it.
func TestPrivilegedLab(t *testing.T) {
	s := up(t, lab.Options{Prefix: testPrefix, Dir: testDir})
	s.all(t)
	t.Run("service hangs", s.testHung)
	t.Run("last exit", s.testLastExit)
	t.Run("leadership moves", s.testMoves)
	t.Run("history of the record", s.testHistory)
}

// all runs everything that is the same in both modes of the VTEP.
func (s *suite) all(t *testing.T) {
	for _, group := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"flows", s.testFlows},
		{"telemetry", s.testTelemetry},
		{"kill", s.testKills},
		{"drift", s.testDrift},
		{"operators", s.testOperators},
		{"bad nodes", s.testBadNodes},
		{"nodes come and go", s.testNodes},
		{"hand-over", s.testHandOver},
		{"drain", s.testDrain},
		{"node dies", s.testNodeDies},
		{"API server away", s.testAPIServerAway},
		{"flows at last", s.testFlows},
	} {
		t.Run(group.name, group.run)
	}
}

// up brings a lab with gateways up, of which only the place and the backend are given, and
// removes it at the test's end.
func up(t *testing.T, o lab.Options) *suite {
	t.Helper()
	o.BinDir, o.Manifests = programs(t)
	o.EC2Latency = ec2Latency
	o.LogLevel = "debug" // tells what was done to the record
	claim, err := lab.Take(o.Dir, o.Prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(claim.Clean(), claim.Release()); err != nil {
			t.Error(err)
		}
	})
	l, err := lab.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if dir, err := l.SaveLogs(); err == nil {
				t.Log("logs of all processes:", dir)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.StartGateways(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &suite{l}
}

// healthy puts the lab back into order, and fails the test when that does not
// work.
func (s *suite) healthy(t *testing.T) *lab.Health {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healTimeout)
	defer cancel()
	h, err := s.Heal(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// within gives a test step time.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), healTimeout)
	t.Cleanup(cancel)
	return ctx
}

// probes begins a two-way probe that loses nothing so far.
func (s *suite) probes(t *testing.T) *probe.Pair {
	t.Helper()
	pair, err := demo.StartProbes(t.Context(), s.Lab, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	received(t, pair, 10)
	return pair
}

// received waits until n more packets have arrived in each direction; it ends
// the probe, and the test, when they do not.
func received(t *testing.T, pair *probe.Pair, n int) {
	t.Helper()
	if err := pair.WaitReceived(within(t), n); err != nil {
		there, back := pair.Stop()
		t.Fatalf("%v: %v; %v", err, there, back)
	}
}

// brieflySilent ends the probe once packets arrive again, and fails the test when they did not for
// too long. It returns what became of those to the premises.
func brieflySilent(t *testing.T, pair *probe.Pair) (there probe.Result) {
	t.Helper()
	received(t, pair, 20)
	there, back := pair.Stop()
	for _, r := range []probe.Result{there, back} {
		t.Log(r)
		if r.Silence > demo.MaxSilence {
			t.Errorf("%s: silent for %s, at most %s is allowed", r.Name, r.Silence, demo.MaxSilence)
		}
	}
	return there
}

// lostNothing ends the probe and fails the test when a packet is missing.
func lostNothing(t *testing.T, pair *probe.Pair) {
	t.Helper()
	there, back := pair.Stop()
	for _, r := range []probe.Result{there, back} {
		t.Log(r)
		if r.Lost > 0 {
			t.Errorf("%s: lost %d of %d packets, want none", r.Name, r.Lost, r.Sent)
		}
	}
}

// entries are what the kernel of each gateway holds for the tunnel.
func (s *suite) entries(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, g := range s.Gateways {
		entries, err := g.KernelEntries()
		if err != nil {
			t.Fatal(err)
		}
		all[g.Name] = entries
	}
	return all
}

func (s *suite) testFlows(t *testing.T) {
	s.healthy(t)
	for _, f := range []struct {
		name string
		run  func(context.Context, *lab.Lab) (flows.Result, error)
	}{
		{"EC2 pods to on-premises pods", flows.CloudToPods},
		{"on-premises pods to EC2 pods", flows.PodsToCloud},
		{"API server to webhook", flows.APIServerToWebhook},
		{"load balancer to on-premises pods", flows.BalancerToPods},
	} {
		t.Run(f.name, func(t *testing.T) {
			r, err := f.run(within(t), s.Lab)
			if err != nil {
				t.Fatal(err)
			}
			if r.Questions == 0 {
				t.Error("nothing was asked")
			}
			t.Logf("%d questions; %+v", r.Questions, r.Meter)
		})
	}
}
