package controlplane

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	// startTimeout is some twenty times what an idle machine needs.
	startTimeout = 2 * time.Minute
	// stopTimeout is after when a server is killed that was asked to stop.
	stopTimeout = 20 * time.Second
	// logTail is how much of each log an error shows, in bytes.
	logTail = 2000
)

// Config says what to start.
type Config struct {
	// Name is what errors call it, such as "the API server".
	Name   string
	Binary string
	Args   []string
	// Dir is an existing directory for stderr.log and the program's own logs.
	Dir string
	// Logs are the names in Dir of the logs that an error shows the ends of, besides
	// stderr.log.
	Logs []string
}

// Process is a running controlplane.
type Process struct {
	name   string
	os     *os.Process
	exited chan struct{} // closed when it is gone and waited for
}

// Start returns when the process says that it is ready. The process is killed when
// this one ends.
func Start(c Config) (*Process, error) {
	stderr, err := os.Create(filepath.Join(c.Dir, "stderr.log"))
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer stderr.Close()
	stdout, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer stdout.Close()

	cmd := exec.Command(c.Binary, c.Args...)
	cmd.Stdout, cmd.Stderr = write, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &Process{name: c.Name, exited: make(chan struct{})}
	err = p.start(cmd)
	write.Close()
	if err != nil {
		return nil, err
	}
	if err := waitReady(stdout); err != nil {
		p.Kill() //nolint:errcheck // the reason to kill it is reported
		return nil, fmt.Errorf("%w%s", err, c.logs())
	}
	return p, nil
}

// start starts the command from a thread that lives as long as the process: the
// signal on the parent's death comes when that thread ends.
func (p *Process) start(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		p.os = cmd.Process
		started <- err
		if err == nil {
			defer close(p.exited)
			cmd.Wait() //nolint:errcheck // how a stopped process ended does not matter
		}
	}()
	return <-started
}

// waitReady reads until the line that says ready. It fails when the output ends
// without one, and after startTimeout.
func waitReady(stdout *os.File) error {
	if err := stdout.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("not ready after %s", startTimeout)
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read output: %w", err)
	}
	var status struct {
		Ready bool `json:"ready"`
	}
	if json.Unmarshal(line, &status) != nil || !status.Ready {
		return fmt.Errorf("it ended, or said %q instead of ready", bytes.TrimSpace(line))
	}
	return nil
}

// Stop asks the process to end and waits. A paused one is resumed for it.
func (p *Process) Stop() error {
	if err := errors.Join(p.os.Signal(syscall.SIGTERM), p.os.Signal(syscall.SIGCONT)); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("%s did not stop within %s", p.name, stopTimeout), p.Kill())
	}
}

// Kill ends the process as a crash does and waits.
func (p *Process) Kill() error {
	if err := p.os.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.exited
	return nil
}

// Pause freezes the process. It returns when none of its threads runs any more, which on a
// busy machine is some time after the signal was sent.
func (p *Process) Pause() error {
	if err := p.os.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause %s: %w", p.name, err)
	}
	for until := time.Now().Add(stopTimeout); !stopped(p.os.Pid); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			return fmt.Errorf("pause %s: it still runs %v after SIGSTOP", p.name, stopTimeout)
		}
	}
	return nil
}

// stopped tells whether no thread of the process runs: each is stopped, or gone while we look
// (proc_pid_stat(5)).
func stopped(pid int) bool {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// The state follows the name, which is in parentheses and may hold any character.
		_, state, _ := bytes.Cut(data[bytes.LastIndexByte(data, ')')+1:], []byte(" "))
		if !bytes.HasPrefix(state, []byte("T")) && !bytes.HasPrefix(state, []byte("Z")) {
			return false
		}
	}
	return true
}

// Resume ends a pause.
func (p *Process) Resume() error {
	if err := p.os.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("resume %s: %w", p.name, err)
	}
	return nil
}

// logs returns the ends of the process's logs, for an error.
func (c Config) logs() string {
	var b bytes.Buffer
	for _, name := range append([]string{"stderr.log"}, c.Logs...) {
		data, err := os.ReadFile(filepath.Join(c.Dir, name))
		if err != nil || len(data) == 0 {
			continue
		}
		if len(data) > logTail {
			data = data[len(data)-logTail:]
		}
		fmt.Fprintf(&b, "\n--- %s\n%s", name, data)
	}
	return b.String()
}
