package processes_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
	"github.com/hybridgateway/gateway/tools/lab/internal/processes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shell makes a process that runs a line of shell.
func shell(t *testing.T, kind, script string) *processes.Process {
	t.Helper()
	h := netnstest.Host(t, netnstest.Prefix(t, kind)+"h")
	return processes.New(processes.Spec{
		Name: "gw/test", Host: h, Path: "/bin/sh", Args: []string{"-c", script},
		Env: []string{"PATH=/usr/bin:/bin"}, Log: filepath.Join(t.TempDir(), "log"),
	})
}

func TestPrivilegedLifeOfAProcess(t *testing.T) {
	t.Setenv("SECRET_OF_THE_CALLER", "1")
	p := shell(t, "pl", `env; trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done`)
	if err := p.Kill(); err != nil {
		t.Fatalf("kill before the first start: %v", err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err == nil {
		t.Error("started twice")
	}
	waitLog(t, p, "up")
	if err := p.Terminate(10 * time.Second); err != nil || p.Running() {
		t.Errorf("terminate: %v, running %v", err, p.Running())
	}
	log := waitLog(t, p, "bye")
	if strings.Contains(log, "SECRET_OF_THE_CALLER") {
		t.Error("the caller's environment leaked in")
	}
	if err := p.Start(); err != nil {
		t.Fatalf("start again: %v", err)
	}
	if err := p.Kill(); err != nil || p.Running() {
		t.Errorf("kill: %v, running %v", err, p.Running())
	}
}

func TestPrivilegedTerminateReportsFailureAndStubbornness(t *testing.T) {
	p := shell(t, "pf", `trap 'echo broken; exit 3' TERM; echo up; while :; do sleep 0.01; done`)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	waitLog(t, p, "up")
	if err := p.Terminate(10 * time.Second); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("a failing process ended with %v", err)
	}
	p = shell(t, "ps", `trap '' TERM; echo up; while :; do sleep 0.01; done`)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	waitLog(t, p, "up")
	if err := p.Terminate(50 * time.Millisecond); err == nil || p.Running() {
		t.Errorf("a stubborn process: %v, running %v", err, p.Running())
	}
}

func TestPrivilegedWaitReadyTellsWhyAProcessEnded(t *testing.T) {
	p := shell(t, "pe", `echo --node-ip=x: want an address >&2; exit 2`)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := p.WaitReady(ctx, "127.0.0.1:9999")
	if err == nil || !strings.Contains(err.Error(), "want an address") || !strings.Contains(err.Error(), "exit status 2") {
		t.Errorf("error %v does not tell the reason", err)
	}
}

func TestPrivilegedMissingProgram(t *testing.T) {
	h := netnstest.Host(t, netnstest.Prefix(t, "pm")+"h")
	p := processes.New(processes.Spec{Name: "x", Host: h, Path: "/no/such/program", Log: filepath.Join(t.TempDir(), "log")})
	if err := p.Start(); !processes.IsMissing(err) {
		t.Errorf("start of a missing program: %v", err)
	}
	if p.Running() || p.Signal(syscall.SIGTERM) != nil {
		t.Error("a process that never started is in the way")
	}
}

func waitLog(t *testing.T, p *processes.Process, want string) string {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		data, err := os.ReadFile(p.Log())
		if err == nil && strings.Contains(string(data), want) {
			return string(data)
		}
		if time.Now().After(deadline) {
			t.Fatalf("log of %s has no %q: %s", p.Name(), want, data)
		}
		<-time.After(5 * time.Millisecond)
	}
}
