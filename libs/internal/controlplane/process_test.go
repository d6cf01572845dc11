package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A paused process does nothing any more, from the moment on that Pause returns.
func TestPausedMeansStopped(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "busy")
	// Each line is a sign of life.
	script := "#!/bin/sh\necho '{\"ready\":true}'; while :; do echo x >>" + file + ".out; done\n"
	if err := os.WriteFile(file, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := Start(Config{Name: "the busy one", Binary: file, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	for range 20 {
		if err := p.Pause(); err != nil {
			t.Fatal(err)
		}
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.os.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if !stopped(p.os.Pid) {
			t.Errorf("after the pause: %s", state)
		}
		if err := p.Resume(); err != nil {
			t.Fatal(err)
		}
	}
}
