package apiservertest

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

// process is a running controlplane.
type process struct {
	os     *os.Process
	exited chan struct{} // closed when it is gone and waited for
}

// startProcess returns when the process says that it is ready. All its output
// but that is in dir.
func startProcess(binary, dir string, args []string) (*process, error) {
	stderr, err := os.Create(filepath.Join(dir, "stderr.log"))
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer stderr.Close()
	stdout, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	defer stdout.Close()

	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = write, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{exited: make(chan struct{})}
	err = p.start(cmd)
	write.Close()
	if err != nil {
		return nil, err
	}
	if err := waitReady(stdout); err != nil {
		p.kill() //nolint:errcheck // the reason to kill it is reported
		return nil, fmt.Errorf("%w%s", err, logs(dir))
	}
	return p, nil
}

// start starts the command from a thread that lives as long as the process: the
// signal on the parent's death comes when that thread ends.
func (p *process) start(cmd *exec.Cmd) error {
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

// stop asks the process to end and waits. A paused one is resumed for it.
func (p *process) stop() error {
	if err := errors.Join(p.os.Signal(syscall.SIGTERM), p.os.Signal(syscall.SIGCONT)); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the API server: %w", err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("the API server did not stop within %s", stopTimeout), p.kill())
	}
}

func (p *process) kill() error {
	if err := p.os.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the API server: %w", err)
	}
	<-p.exited
	return nil
}

// pause returns when the process is stopped, as the kernel shows it.
func (p *process) pause() error {
	if err := p.os.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pause the API server: %w", err)
	}
	return nil
}

func (p *process) resume() error {
	if err := p.os.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("resume the API server: %w", err)
	}
	return nil
}

// logs returns the ends of the process's logs, for an error.
func logs(dir string) string {
	var b bytes.Buffer
	for _, name := range []string{"stderr.log", "apiserver.log", "etcd.log"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
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
