package netns_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	vnetns "github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testHost(t *testing.T, name string) *netns.Host {
	t.Helper()
	return netnstest.Host(t, netnstest.Prefix(t, "n")+name)
}

func TestPrivilegedDoRunsInsideAndReturnsHome(t *testing.T) {
	h := testHost(t, "do")
	home, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var inside string
	for range 50 {
		if err := h.Do(func() (err error) {
			inside, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if inside == home {
			t.Fatalf("still in %s", home)
		}
		if after, _ := os.Readlink("/proc/thread-self/ns/net"); after != home {
			t.Fatalf("left in %s, want %s", after, home)
		}
	}
}

func TestPrivilegedSocketsStayInTheirNamespace(t *testing.T) {
	a, b := testHost(t, "a"), testHost(t, "b")
	ctx := context.Background()
	l, err := a.Listen(ctx, "tcp4", "127.0.0.1:7777")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "hello")
			c.Close()
		}
	}()
	c, err := a.Dial(ctx, "tcp4", "127.0.0.1:7777")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, _ := io.ReadAll(c); string(got) != "hello" {
		t.Errorf("read %q", got)
	}
	if c, err := b.Dial(ctx, "tcp4", "127.0.0.1:7777"); err == nil {
		c.Close()
		t.Error("reached a listener of another namespace")
	}
	if c, err := new(net.Dialer).Dial("tcp4", "127.0.0.1:7777"); err == nil {
		c.Close()
		t.Error("reached the listener from the root namespace")
	}
}

func TestPrivilegedCommandRunsInsideAndDiesWithTheHost(t *testing.T) {
	h := testHost(t, "cmd")
	var want string
	if err := h.Do(func() (err error) {
		want, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	out, err := h.Command(context.Background(), "readlink", "/proc/self/ns/net").Output()
	if err != nil || strings.TrimSpace(string(out)) != want {
		t.Fatalf("command ran in %q (%v), want %q", out, err, want)
	}
	cmd := h.Command(context.Background(), "sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A process nobody registered, as a crashed run leaves it.
	var foreign *exec.Cmd
	if err := h.Do(func() error {
		foreign = exec.Command("sleep", "3600")
		return foreign.Start()
	}); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*exec.Cmd{cmd.Cmd, foreign} {
		if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("process ended with %v, want killed", err)
		}
	}
	if err := h.Command(context.Background(), "true").Run(); err == nil {
		t.Error("command ran in a closed host")
	}
}

// crashEnv makes the test binary act as a lab that is killed while its world
// stands.
const crashEnv = "NETNS_TEST_CRASH_PREFIX"

func TestPrivilegedCleanupAfterACrash(t *testing.T) {
	if prefix := os.Getenv(crashEnv); prefix != "" {
		crash(t, prefix)
	}
	prefix := netnstest.Prefix(t, "nc")
	defer netns.Cleanup(prefix)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestPrivilegedCleanupAfterACrash$")
	cmd.Env = append(os.Environ(), crashEnv+"="+prefix)
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("crashing run ended with %v: %s", err, out)
	}
	if names, _ := netns.List(prefix); len(names) != 2 {
		t.Fatalf("crashed run left %v, want two namespaces", names)
	}
	if err := netns.Cleanup(prefix); err != nil {
		t.Fatal(err)
	}
	if names, _ := netns.List(prefix); len(names) != 0 {
		t.Errorf("left over: %v", names)
	}
	if err := netns.Cleanup(prefix); err != nil {
		t.Errorf("second clean-up: %v", err)
	}
}

// A namespace of somebody else's survives, with what runs inside, whatever its
// name begins with.
func TestPrivilegedCleanupTouchesOnlyOurs(t *testing.T) {
	prefix := netnstest.Prefix(t, "nf")
	ours := netnstest.Host(t, prefix+"ours")
	const foreign = "foreign"
	started := make(chan error)
	var inside *exec.Cmd
	go func() {
		runtime.LockOSThread() // and left so: the thread ends with the goroutine
		ns, err := vnetns.NewNamed(prefix + foreign)
		if err == nil {
			inside = exec.Command("sleep", "3600")
			err = errors.Join(inside.Start(), ns.Close())
		}
		started <- err
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = inside.Process.Kill()
		_ = inside.Wait()
		if err := vnetns.DeleteNamed(prefix + foreign); err != nil {
			t.Error(err)
		}
	})
	if names, err := netns.List(prefix); err != nil || len(names) != 1 || names[0] != ours.Name() {
		t.Errorf("ours are %v, %v, want %s", names, err, ours.Name())
	}
	if err := netns.Cleanup(prefix); err != nil {
		t.Error(err)
	}
	if err := inside.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("a process in a foreign namespace: %v", err)
	}
	if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", inside.Process.Pid)); err != nil || strings.Contains(string(data), "State:\tZ") {
		t.Errorf("a process in a foreign namespace was killed (%v)", err)
	}
	if ns, err := vnetns.GetFromName(prefix + foreign); err != nil {
		t.Errorf("a foreign namespace was removed: %v", err)
	} else {
		ns.Close()
	}
	if _, err := netns.Create(prefix + foreign); err == nil {
		t.Error("created a namespace over a foreign one")
	}
	if names, _ := netns.List(prefix); len(names) != 0 {
		t.Errorf("left over: %v", names)
	}
}

func TestPrivilegedCreateUsesAFileLeftWithoutNamespace(t *testing.T) {
	name := netnstest.Prefix(t, "nl") + "left"
	if err := errors.Join(os.MkdirAll("/run/netns", 0o755), os.WriteFile("/run/netns/"+name, nil, 0o444)); err != nil {
		t.Fatal(err)
	}
	if names, err := netns.List(name); err != nil || len(names) != 0 {
		t.Errorf("a file is taken for a namespace: %v, %v", names, err)
	}
	netnstest.Host(t, name)
	if names, err := netns.List(name); err != nil || len(names) != 1 {
		t.Errorf("listed %v, %v", names, err)
	}
}

func crash(t *testing.T, prefix string) {
	for _, n := range []string{"a", "b"} {
		h, err := netns.Create(prefix + n)
		if err != nil {
			t.Fatal(err)
		}
		// Without Pdeathsig, so that it outlives the crash.
		if err := h.Do(func() error { return exec.Command("sleep", "3600").Start() }); err != nil {
			t.Fatal(err)
		}
	}
	unix.Kill(unix.Getpid(), unix.SIGKILL)
	select {}
}

func TestPrivilegedOpenSharesTheNamespace(t *testing.T) {
	h := testHost(t, "open")
	o, err := netns.Open(h.Name())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Sysctl("ipv4/ip_forward", "1"); err != nil {
		t.Fatal(err)
	}
	if v, err := h.ReadSysctl("ipv4/ip_forward"); err != nil || v != "1" {
		t.Errorf("ip_forward = %q, %v", v, err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Netlink().LinkByName("lo"); err != nil {
		t.Errorf("namespace gone after a mere handle was closed: %v", err)
	}
	if _, err := netns.Open(h.Name() + "-none"); err == nil {
		t.Error("opened a namespace that does not exist")
	}
}

func TestPrivilegedCommandContextKills(t *testing.T) {
	h := testHost(t, "ctx")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := h.Command(ctx, "sleep", "3600").Run(); err == nil {
		t.Error("command outlived its context")
	}
}
