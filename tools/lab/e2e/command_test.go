package e2e

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
	if out, err := command(t, "up").CombinedOutput(); err != nil || !strings.Contains(string(out), "hgctl status") {
		t.Fatalf("lab up: %v\n%s", err, out)
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

func TestPrivilegedDownAfterACrash(t *testing.T) {
	if out, err := command(t, "up").CombinedOutput(); err != nil {
		t.Fatalf("lab up: %v\n%s", err, out)
	}
	pid, err := lab.Holder(commandDir)
	if err != nil || pid == 0 {
		t.Fatalf("holder %d, %v", pid, err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
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
	if out, err := command(t, "down").CombinedOutput(); err != nil {
		t.Errorf("lab down: %v\n%s", err, out)
	}
	nothingLeft(t)
}

// TestPrivilegedDemoInterrupted presses Ctrl-C in the middle of the demo.
func TestPrivilegedDemoInterrupted(t *testing.T) {
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
	told := false
	for lines.Scan() {
		if !told && strings.Contains(lines.Text(), "1/7") {
			told = true
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("interrupted demo ended with %v: %s", err, errs.String())
	}
	if !told {
		t.Error("the demo never came to its first step")
	}
	nothingLeft(t)
}

func TestPrivilegedDemo(t *testing.T) {
	out, err := command(t, "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	nothingLeft(t)
}
