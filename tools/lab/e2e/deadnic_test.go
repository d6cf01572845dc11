package e2e

import (
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// The lab of this test has names that are not those of the others.
const (
	nicTestDir    = "/run/hgw-e2e-nic"
	nicTestPrefix = "hgn-"
)

// TestPrivilegedDeadNIC breaks the NIC by which a gateway forwards, and leaves its processes, and
// the NIC by which they reach the API server and AWS, alone.
func TestPrivilegedDeadNIC(t *testing.T) {
	s := up(t, lab.Options{Prefix: nicTestPrefix, Dir: nicTestDir, ManagementNICs: true})
	t.Run("leader's link goes down", func(t *testing.T) { s.testLeaderNICDies(t, false) })
	t.Run("leader's underlay swallows everything", func(t *testing.T) { s.testLeaderNICDies(t, true) })
	t.Run("standby's link goes down", s.testStandbyLinkGoesDown)
	t.Run("history of the record", s.testHistory)
}

// breakNIC breaks a gateway's NIC until the end of the test, or until mend.
func (s *suite) breakNIC(t *testing.T, name string, silently bool) (mend func()) {
	t.Helper()
	if err := s.World.BreakNIC(name, silently); err != nil {
		t.Fatal(err)
	}
	mend = func() {
		if err := s.World.MendNIC(name); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(mend)
	return mend
}

// testLeaderNICDies expects that another gateway leads soon, although the leader renews its
// record to the end.
func (s *suite) testLeaderNICDies(t *testing.T, silently bool) {
	h := s.healthy(t)
	// A gateway that lost the record while it could still write it waits with its next suspicion.
	// A new process knows nothing of the test before.
	if err := h.Standby.Process(gateway.Election).Kill(); err != nil {
		t.Fatal(err)
	}
	h = s.healthy(t)
	before := pids(s.Gateways...)
	pair := s.probes(t)
	broke := time.Now()
	mend := s.breakNIC(t, h.Active.Name, silently)
	if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
		t.Fatal(err)
	}
	brieflySilent(t, pair)
	// The leader renews its record to the end, so it never expires.
	s.suspected(t, h.Standby, lab.DefaultShard, broke)
	s.sameExcept(t, before) // nobody died of it
	mend()
	after := s.healthy(t)
	if after.Active != h.Standby {
		t.Errorf("%s leads once the NIC is mended, want %s to go on", after.Active.Name, h.Standby.Name)
	}
}

// testStandbyLinkGoesDown expects that a standby that hears nobody, since its own NIC is dead, takes
// nothing although it could.
func (s *suite) testStandbyLinkGoesDown(t *testing.T) {
	h := s.healthy(t)
	pair := s.probes(t)
	mend := s.breakNIC(t, h.Standby.Name, false)
	received(t, pair, 300) // many times what it takes to suspect the leader
	mend()
	after := s.healthy(t)
	received(t, pair, 20)
	lostNothing(t, pair)
	if after.Active != h.Active || after.Epoch != h.Epoch {
		t.Errorf("%s leads in epoch %d after %s did in %d", after.Active.Name, after.Epoch, h.Active.Name, h.Epoch)
	}
}
