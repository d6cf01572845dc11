package e2e

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

const (
	commandDir    = "/run/hgw-e2e-command"
	commandPrefix = "hgc-"
)

// command prepares the lab's program with a place of its own.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	binDir, manifests := programs(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	t.Cleanup(cancel)
	args = append([]string{name, "--dir=" + commandDir, "--prefix=" + commandPrefix, "--bin-dir=" + binDir, "--manifests=" + manifests}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, "lab"), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	t.Cleanup(func() {
		claim, err := lab.Take(commandDir, commandPrefix)
		if err != nil {
			t.Errorf("the lab is still up: %v", err)
			return
		}
		if err := claim.Release(); err != nil {
			t.Error(err)
		}
	})
	return cmd
}

// nothingLeft fails when a lab has left a namespace, a process or a file.
func nothingLeft(t *testing.T) {
	t.Helper()
	if names, err := netns.List(commandPrefix); err != nil || len(names) > 0 {
		t.Errorf("namespaces left: %v, %v", names, err)
	}
	for _, path := range []string{commandDir, filepath.Join(lab.ClaimsDir, commandPrefix)} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left (%v)", path, err)
		}
	}
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cmdlines {
		if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(commandDir+"/")) {
			t.Errorf("process left: %s", bytes.ReplaceAll(data, []byte{0}, []byte(" ")))
		}
	}
}

func TestPrivilegedUpExecDown(t *testing.T) {
	// With --verbose there is always something to be logged.
	if out, err := command(t, "up", "--verbose").CombinedOutput(); err != nil || !strings.Contains(string(out), "hgctl status") {
		t.Fatalf("lab up: %v\n%s", err, out)
	}
	for _, fd := range []string{"1", "2"} {
		link := filepath.Join("/proc", strconv.Itoa(holder(t)), "fd", fd)
		if to, err := os.Readlink(link); err != nil || to != commandDir+"/logs/lab.log" {
			t.Errorf("output %s of the process that is left goes to %q (%v), want its log", fd, to, err)
		}
	}
	if out, err := command(t, "exec", "gw1", "--", "hgctl", "status").CombinedOutput(); err != nil || !strings.Contains(string(out), "10.0.1.10") {
		t.Errorf("hgctl status: %v\n%s", err, out)
	}
	if out, err := command(t, "exec", "nowhere", "--", "true").CombinedOutput(); err == nil || !strings.Contains(string(out), "node1-pod1") {
		t.Errorf("exec on an unknown host: %v\n%s", err, out)
	}
	out, err := command(t, "demo").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "up already") {
		t.Errorf("a demo beside a lab that is up: %v\n%s", err, out)
	}
	if out, err := command(t, "down").CombinedOutput(); err != nil {
		t.Errorf("lab down: %v\n%s", err, out)
	}
	nothingLeft(t)
}

func holder(t *testing.T) int {
	t.Helper()
	pid, err := lab.Holder(commandDir)
	if err != nil || pid == 0 {
		t.Fatalf("holder %d, %v", pid, err)
	}
	return pid
}

func TestPrivilegedUpLeavesForeignFilesAlone(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"up", "demo", "down"} {
		out, err := command(t, name, "--dir="+dir).CombinedOutput()
		if line, more, _ := strings.Cut(strings.TrimSpace(string(out)), "\n"); err == nil || (more != "" && name != "demo") || !strings.Contains(string(out), dir+" is not a lab's directory") {
			t.Errorf("lab %s: %v\n%s", name, err, line)
		}
		if _, err := os.Stat(mine); err != nil {
			t.Fatalf("lab %s: %v", name, err)
		}
	}
	nothingLeft(t)
}

// A lab that does not come up tells why, and where the logs are.
func TestPrivilegedUpThatFailsKeepsLogs(t *testing.T) {
	bin := t.TempDir()
	built, _ := programs(t)
	for _, name := range append(gateway.Services(), "lab", "hgctl") {
		if err := os.Symlink(filepath.Join(built, name), filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "controlplane"), []byte("#!/bin/sh\necho out of order >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := command(t, "up", "--bin-dir="+bin).CombinedOutput()
	_, rest, found := strings.Cut(string(out), "(all logs are in ")
	dir, _, _ := strings.Cut(rest, ")")
	if err == nil || !found {
		t.Fatalf("lab up: %v\n%s", err, out)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if data, err := os.ReadFile(filepath.Join(dir, "logs", "controlplane.log")); err != nil || !strings.Contains(string(data), "out of order") {
		t.Errorf("the log of what failed: %q, %v", data, err)
	}
	if strings.Contains(string(out), commandDir+"/") {
		t.Errorf("it tells of files that are gone: %s", out)
	}
	nothingLeft(t)
}

// TestPrivilegedDownWhenTheLabHangs stops the process that has the lab: it does
// nothing any more, and holds everything.
func TestPrivilegedDownWhenTheLabHangs(t *testing.T) {
	if out, err := command(t, "up").CombinedOutput(); err != nil {
		t.Fatalf("lab up: %v\n%s", err, out)
	}
	if err := unix.Kill(holder(t), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, "down", "--grace=1s").CombinedOutput(); err != nil || !strings.Contains(string(out), "is killed") {
		t.Errorf("lab down: %v\n%s", err, out)
	}
	nothingLeft(t)
}

func TestPrivilegedDownAfterACrash(t *testing.T) {
	if out, err := command(t, "up").CombinedOutput(); err != nil {
		t.Fatalf("lab up: %v\n%s", err, out)
	}
	crash(t)
	if out, err := command(t, "down").CombinedOutput(); err != nil {
		t.Errorf("lab down: %v\n%s", err, out)
	}
	nothingLeft(t)
}

// crash kills the process that has the lab.
func crash(t *testing.T) {
	t.Helper()
	if err := unix.Kill(holder(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := lab.Poll(within(t), "the lab's process to die", func(context.Context) error {
		if still, err := lab.Holder(commandDir); err != nil || still != 0 {
			return errStillThere
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if names, _ := netns.List(commandPrefix); len(names) == 0 {
		t.Error("a crash left nothing to clean up: the test proves nothing")
	}
}

// runDemoUntil starts the demo, does something at the first line that contains
// a text, and waits for the end.
func runDemoUntil(t *testing.T, text string, do func(*os.Process)) (stderr string, err error) {
	t.Helper()
	cmd := command(t, "demo")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	done := false
	for lines.Scan() {
		if !done && strings.Contains(lines.Text(), text) {
			done = true
			do(cmd.Process)
		}
	}
	if !done {
		t.Errorf("the demo never came to %q", text)
	}
	err = cmd.Wait()
	return errs.String(), err
}

// TestPrivilegedDemoInterrupted presses Ctrl-C: as the lab comes up, in the
// first step, and while a gateway is dead.
func TestPrivilegedDemoInterrupted(t *testing.T) {
	for _, at := range []string{"building the virtual world", "a real Kubernetes API server", "starting both gateways", "1/7", "is off; waiting"} {
		t.Run(at, func(t *testing.T) {
			stderr, err := runDemoUntil(t, at, func(p *os.Process) {
				if err := p.Signal(os.Interrupt); err != nil {
					t.Error(err)
				}
			})
			if err == nil || !strings.Contains(stderr, "interrupted") {
				t.Errorf("interrupted demo ended with %v: %s", err, stderr)
			}
			nothingLeft(t)
		})
	}
}

// TestPrivilegedDemo runs the whole demo, over what one has left that was killed.
func TestPrivilegedDemo(t *testing.T) {
	if stderr, err := runDemoUntil(t, "1/7", func(*os.Process) { crash(t) }); err == nil {
		t.Errorf("the killed demo succeeded: %s", stderr)
	}
	out, err := command(t, "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	nothingLeft(t)
}
