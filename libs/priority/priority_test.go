package priority_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/priority"
)

// asProcess makes the test binary do what is asked for and print how its threads are scheduled, so that the tests run on as before.
const asProcess = "PRIORITY_TEST_AS_PROCESS"

func TestMain(m *testing.M) {
	if what := os.Getenv(asProcess); what != "" {
		if _, err := os.Stdout.WriteString(process(what)); err != nil {
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// process is what the child does.
func process(what string) string {
	if what == "denied" {
		runtime.LockOSThread()
		if err := drop(unix.CAP_SYS_NICE); err != nil {
			return err.Error()
		}
	}
	how, err := priority.Realtime()
	if what == "back" && err == nil {
		how, err = "normal", priority.Normal()
	}
	if err != nil {
		return "error: " + err.Error()
	}
	// Threads that begin afterwards inherit it.
	const more = 8
	var began, end sync.WaitGroup
	began.Add(more)
	hold := make(chan struct{})
	for range more {
		end.Go(func() {
			runtime.LockOSThread()
			began.Done()
			<-hold
		})
	}
	began.Wait()
	defer end.Wait()
	defer close(hold)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return "error: " + err.Error()
	}
	policies := map[uint32]int{}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		a, err := unix.SchedGetAttr(id, 0)
		if err != nil {
			return "error: " + err.Error()
		}
		policies[a.Policy]++
	}
	if len(threads) < more {
		return fmt.Sprintf("error: %d threads", len(threads))
	}
	return fmt.Sprintf("%s %v", how, len(policies) == 1 && policies[unix.SCHED_RR] > 0)
}

// drop takes a capability from the calling thread.
func drop(capability uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[capability/32].Effective &^= 1 << (capability % 32)
	return unix.Capset(&header, &data[0])
}

func run(t *testing.T, what string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asProcess+"="+what)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// All threads, also later ones, get the priority, and lose it again.
func TestPrivilegedRealtime(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: raises the priority of a process")
	}
	got := run(t, "raise")
	if got != "SCHED_RR true" && got != "nice -20 false" {
		t.Errorf("got %q", got)
	}
	if got := run(t, "back"); got != "normal false" {
		t.Errorf("got %q", got)
	}
}

// Without the capability it says so, and the process goes on.
func TestWithoutTheRight(t *testing.T) {
	if got := run(t, "denied"); !strings.HasPrefix(got, "error: run with priority: ") || !strings.Contains(got, "operation not permitted") {
		t.Errorf("got %q", got)
	}
}
