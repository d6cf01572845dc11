package apiservertest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/libs/internal/controlplane"
)

// standIn makes a program that is started as the API server would be.
func standIn(t *testing.T, script string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "standin")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(controlplane.BinaryVariable, file)
}

// sleeper says ready, and ends on SIGTERM.
const sleeper = `echo "$@" >>"${1#--dir=}/arguments"; echo '{"ready":true}'; exec sleep 600`

func arguments(t *testing.T, s *Server) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir(), "arguments"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func TestRestartUsesTheSameArguments(t *testing.T) {
	standIn(t, sleeper)
	s := StartWith(t, Options{Manifests: []string{"/more"}, ServiceAccounts: []string{"ns/name"}})
	for _, end := range []func() error{s.Stop, s.Kill} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := s.Pause(); err == nil {
			t.Error("a stopped server is paused")
		}
		for range 2 { // the second does nothing
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	lines := arguments(t, s)
	if len(lines) != 3 || lines[1] != lines[0] || lines[2] != lines[0] {
		t.Fatalf("started with %q", lines)
	}
	for _, want := range []string{
		"--listen=" + s.Address(), "--die-with-parent", "deploy/rbac", "--manifests=/more",
		"kube-system/hybrid-gateway-election=" + s.ServiceAccountKubeconfig(Election),
		"kube-system/hybrid-gateway-vtep-registry=" + s.ServiceAccountKubeconfig(VTEPRegistry),
		"ns/name=" + s.ServiceAccountKubeconfig("ns/name"),
	} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("arguments %q lack %q", lines[0], want)
		}
	}
}

func TestPausedServerStops(t *testing.T) {
	standIn(t, sleeper)
	s := Start(t)
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestCloseRemovesTemporaryDirectoryOnly(t *testing.T) {
	standIn(t, sleeper)
	kept := t.TempDir()
	for dir, remains := range map[string]bool{"": false, kept: true} {
		s, err := New(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.Dir()); (err == nil) != remains {
			t.Errorf("directory %q: %v", dir, err)
		}
	}
}

func TestFailedStartShowsWhy(t *testing.T) {
	standIn(t, `echo "it broke" >&2; exit 1`)
	_, err := New(Options{})
	if err == nil || !strings.Contains(err.Error(), "it broke") {
		t.Errorf("error %v", err)
	}
}

func TestBusyPortIsGivenUp(t *testing.T) {
	standIn(t, `n="${1#--dir=}/tried"; if [ -e "$n" ]; then `+sleeper+`; fi; touch "$n"; echo "bind: address already in use" >&2; exit 1`)
	s := Start(t)
	if lines := arguments(t, s); len(lines) != 1 || !strings.Contains(lines[0], s.Address()) {
		t.Errorf("address %s, started with %q", s.Address(), lines)
	}
}

type tests func() int

func (f tests) Run() int { return f() }

func TestSharedStartsOnceWhenAsked(t *testing.T) {
	standIn(t, sleeper)
	var unused Shared
	if code := unused.Wrap(tests(func() int { return 3 })).Run(); code != 3 || unused.server != nil {
		t.Errorf("code %d, server %v", code, unused.server)
	}
	var shared Shared
	var dir string
	code := shared.Wrap(tests(func() int {
		first, second := shared.Get(t), shared.Get(t)
		if first != second {
			t.Error("two servers")
		}
		dir = first.Dir()
		return 0
	})).Run()
	if code != 0 {
		t.Errorf("code %d", code)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the server is not closed at the end")
	}
}

func TestMissingBinaryIsToldApart(t *testing.T) {
	t.Setenv(controlplane.BinaryVariable, "")
	t.Chdir(t.TempDir())
	if _, err := New(Options{}); !errors.Is(err, ErrNoBinary) {
		t.Errorf("error %v, want %v", err, ErrNoBinary)
	}
}
