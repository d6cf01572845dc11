package processes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
)

// Spec says what to run and where.
type Spec struct {
	Name string // for messages, for example "gw1/dataplane"
	Host *netns.Host
	Path string
	Args []string
	Env  []string // the whole environment, "KEY=value"
	Log  string   // file that standard output and standard error are appended to
	// Stdout, when set, gets standard output instead of the log.
	Stdout io.Writer
}

// Process is a program that can be started, ended and started again. Its
// methods may be called from any goroutine.
type Process struct {
	spec Spec

	mu  sync.Mutex
	run *run // the last start; nil before the first
}

// run is one start of a process.
type run struct {
	cmd     *netns.Cmd
	started time.Time
	exited  chan struct{} // closed when it is gone and waited for
	err     error         // how it ended; read after exited
}

func (r *run) alive() bool {
	select {
	case <-r.exited:
		return false
	default:
		return true
	}
}

// New makes a process that does not run yet.
func New(s Spec) *Process { return &Process{spec: s} }

// Name is the name given in the Spec.
func (p *Process) Name() string { return p.spec.Name }

// Log is the path of the log file.
func (p *Process) Log() string { return p.spec.Log }

// Start starts the process. It is an error when it runs already.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.run != nil && p.run.alive() {
		return fmt.Errorf("start %s: it runs already, as process %d", p.spec.Name, p.run.cmd.Process.Pid)
	}
	log, err := os.OpenFile(p.spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("start %s: open log: %w", p.spec.Name, err)
	}
	defer log.Close()
	cmd := p.spec.Host.Command(context.Background(), p.spec.Path, p.spec.Args...)
	// An empty environment must not become that of the caller.
	cmd.Env = append([]string{}, p.spec.Env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	if p.spec.Stdout != nil {
		cmd.Stdout = p.spec.Stdout
	}
	// Ctrl-C at the terminal is for the lab, which ends its processes in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.spec.Name, err)
	}
	r := &run{cmd: cmd, started: time.Now(), exited: make(chan struct{})}
	go func() {
		r.err = cmd.Wait()
		close(r.exited)
	}()
	p.run = r
	return nil
}

func (p *Process) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// Running tells whether the process runs.
func (p *Process) Running() bool {
	r := p.current()
	return r != nil && r.alive()
}

// PID is the process id of the last start, 0 before the first.
func (p *Process) PID() int {
	if r := p.current(); r != nil {
		return r.cmd.Process.Pid
	}
	return 0
}

// Exited is closed when the last start has ended; nil before the first.
func (p *Process) Exited() <-chan struct{} {
	if r := p.current(); r != nil {
		return r.exited
	}
	return nil
}

// Failure explains how a process that should run has ended; nil while it runs.
func (p *Process) Failure() error {
	r := p.current()
	switch {
	case r == nil:
		return fmt.Errorf("%s was never started", p.spec.Name)
	case r.alive():
		return nil
	}
	how := "exit status 0"
	if r.err != nil {
		how = r.err.Error()
	}
	return fmt.Errorf("%s ended (%s)%s; its log is %s", p.spec.Name, how, lastLine(p.spec.Log), p.spec.Log)
}

// Signal sends a signal; a process that does not run is left alone.
func (p *Process) Signal(sig os.Signal) error {
	r := p.current()
	if r == nil {
		return nil
	}
	if err := r.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to %s: %w", sig, p.spec.Name, err)
	}
	return nil
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	if r := p.current(); r != nil {
		<-r.exited
	}
	return nil
}

// Terminate asks the process to end with SIGTERM and waits. One that is still
// there after the grace period, or that reports failure, is an error; it is
// gone in any case.
func (p *Process) Terminate(grace time.Duration) error {
	r := p.current()
	if r == nil || !r.alive() {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-r.exited:
	case <-timer.C:
		return errors.Join(fmt.Errorf("%s did not end within %s of SIGTERM; its log is %s", p.spec.Name, grace, p.spec.Log), p.Kill())
	}
	if r.err != nil {
		return fmt.Errorf("%s failed when asked to end: %w%s; its log is %s", p.spec.Name, r.err, lastLine(p.spec.Log), p.spec.Log)
	}
	return nil
}

// tail bounds how much of a log is read for a message, in bytes.
const tail = 4096

// lastLine gives the last line of a log for an error message.
func lastLine(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tail {
		if _, err := f.Seek(-tail, io.SeekEnd); err != nil {
			return ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, tail))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return ": " + last
	}
	return ""
}

// IsMissing tells whether a Start failed because the program's file is absent.
func IsMissing(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, exec.ErrNotFound)
}
