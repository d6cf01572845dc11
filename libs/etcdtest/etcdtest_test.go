package etcdtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/libs/internal/controlplane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// standIn makes a program that is started as a member would be. It keeps the arguments of
// each start in the member's directory.
func standIn(t *testing.T, script string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "standin")
	text := "#!/bin/sh\ndir=\"${2#--dir=}\"; echo \"$@\" >>\"$dir/arguments\"\n" + script
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(controlplane.BinaryVariable, file)
}

// sleeper says ready, and ends on SIGTERM.
const sleeper = `echo '{"ready":true}'; exec sleep 600`

func starts(t *testing.T, m *Member) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(m.Dir(), "arguments"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func TestEveryMemberKnowsAll(t *testing.T) {
	standIn(t, sleeper)
	c := Start(t, Options{Members: 3, HeartbeatInterval: 20 * time.Millisecond, ElectionTimeout: 200 * time.Millisecond})
	if len(c.Members()) != 3 || len(c.Endpoints()) != 3 {
		t.Fatalf("%d members, endpoints %q", len(c.Members()), c.Endpoints())
	}
	for _, m := range c.Members() {
		args := starts(t, m)[0]
		for _, want := range []string{
			"--name=" + m.Name() + " ", "--listen=" + m.Address() + " ", "--member=member1=", "--member=member2=", "--member=member3=",
			"--cacert=" + c.Authority.File, "--heartbeat-interval=20ms", "--election-timeout=200ms", "--die-with-parent",
		} {
			if !strings.Contains(args, want) {
				t.Errorf("%s is started with %q, which lacks %q", m.Name(), args, want)
			}
		}
	}
}

func TestMembersStartAgainAsTheyWere(t *testing.T) {
	standIn(t, sleeper)
	c := Start(t, Options{})
	m := c.Members()[0]
	for _, end := range []func() error{m.Stop, m.Kill, c.Stop, c.Kill} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := m.Pause(); err == nil {
			t.Error("a stopped member is paused")
		}
		for range 2 { // the second does nothing
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
	lines := starts(t, m)
	if len(lines) != 5 || lines[0] != lines[4] {
		t.Errorf("started with %q", lines)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("stop while paused: %v", err)
	}
}

func TestRestoreBringsBackTheBackup(t *testing.T) {
	standIn(t, `mkdir -p "$dir/data"; echo run >>"$dir/data/runs"; `+sleeper)
	c := Start(t, Options{})
	runs := func() int {
		data, err := os.ReadFile(filepath.Join(c.Members()[0].data(), "runs"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(data), "run")
	}
	if err := c.Backup(); err != nil {
		t.Fatal(err)
	}
	if got := runs(); got != 2 {
		t.Errorf("%d runs after the backup, want 2", got)
	}
	if err := c.Restore(); err != nil {
		t.Fatal(err)
	}
	if got := runs(); got != 2 {
		t.Errorf("%d runs after going back to before the second, want 2", got)
	}
}

func TestBusyPortIsGivenUp(t *testing.T) {
	standIn(t, `tried="$dir/../tried"; if [ -e "$tried" ]; then `+sleeper+`; fi; touch "$tried"; echo "bind: address already in use" >&2; exit 1`)
	c := Start(t, Options{})
	if args := starts(t, c.Members()[0]); len(args) != 1 || !strings.Contains(args[0], c.Members()[0].Address()) {
		t.Errorf("serves on %s, started with %q", c.Members()[0].Address(), args)
	}
}
