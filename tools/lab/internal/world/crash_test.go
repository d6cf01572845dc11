package world_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// crashEnv makes the test binary act as a lab that is killed while its world
// stands.
const crashEnv = "WORLD_TEST_CRASH_PREFIX"

func TestPrivilegedCleanupAfterACrash(t *testing.T) {
	if prefix := os.Getenv(crashEnv); prefix != "" {
		w, err := world.New(world.Options{Prefix: prefix, EC2: ec2standin.New(ec2standin.Config{})})
		must(t, err)
		must(t, hostOf(t, w, "gw1").Command(context.Background(), "sleep", "3600").Start())
		must(t, hostOf(t, w, "node1").Do(func() error { return exec.Command("sleep", "3600").Start() }))
		must(t, unix.Kill(unix.Getpid(), unix.SIGKILL))
		select {}
	}
	prefix := netnstest.Prefix(t, "cr")
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestPrivilegedCleanupAfterACrash$")
	cmd.Env = append(os.Environ(), crashEnv+"="+prefix)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("crashing run ended with %v: %s", err, out)
	}
	if left, _ := netns.List(prefix); len(left) < 10 {
		t.Fatalf("crashed run left %v, want a whole world", left)
	}
	// A new world does not mix with an old one.
	if _, err := world.New(world.Options{Prefix: prefix, EC2: ec2standin.New(ec2standin.Config{})}); err == nil {
		t.Fatal("built a world over another")
	}
	must(t, world.Cleanup(prefix))
	w, err := world.New(world.Options{Prefix: prefix, EC2: ec2standin.New(ec2standin.Config{})})
	must(t, err)
	must(t, w.Close())
	if left, _ := netns.List(prefix); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}
