package netns

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"syscall"
)

// ErrClosed is returned when a process is to be started in a host that is closed.
var ErrClosed = errors.New("host is closed")

// Cmd is an exec.Cmd whose process starts inside the host's namespace. It is
// killed by the kernel when the host is closed or this process dies, however
// it dies.
type Cmd struct {
	*exec.Cmd
	host *Host
}

// Command prepares a process for the host. As with exec.CommandContext, the
// end of ctx kills it; Cmd.Cancel and WaitDelay may be set before Start.
func (h *Host) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.CommandContext(ctx, name, args...), host: h}
}

// Start starts the process inside the namespace.
func (c *Cmd) Start() error {
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Pdeathsig = syscall.SIGKILL
	errc := make(chan error, 1)
	select {
	case c.host.forker <- func() { errc <- c.Cmd.Start() }:
		return <-errc
	case <-c.host.done:
		return ErrClosed
	}
}

// Run starts the process and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the process and returns what it wrote to standard output.
func (c *Cmd) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the process and returns what it wrote to standard output
// and standard error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
