package world_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stand builds a world that lives as long as the test.
func stand(t *testing.T, kind string, o world.Options) (*world.World, *ec2standin.Server) {
	t.Helper()
	o.Prefix = netnstest.Prefix(t, kind)
	o.EC2 = ec2standin.New(ec2standin.Config{})
	start := time.Now()
	w, err := world.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built in %v", time.Since(start))
	t.Cleanup(func() {
		start := time.Now()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("closed in %v", time.Since(start))
		if left, _ := netns.List(o.Prefix); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	})
	return w, o.EC2
}

func TestPrivilegedBuild(t *testing.T) {
	w, _ := stand(t, "w", world.Options{})
	for _, h := range w.Hosts() {
		t.Log(h.Name())
	}
}
