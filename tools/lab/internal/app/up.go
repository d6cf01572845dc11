package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/config"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// upWord begins the line by which the background process says that it is up.
const upWord = "up: "

// killGrace is how long the kernel may take to end a process that was killed.
const killGrace = 30 * time.Second

// runUp starts the process that holds the lab, shows its progress, and leaves
// it alone when the lab is up.
func runUp(ctx context.Context, c config.Config, stdout io.Writer) error {
	if err := checkPrograms(c); err != nil {
		return err
	}
	if pid, err := lab.Holder(c.Dir); err != nil {
		return err
	} else if pid != 0 {
		return &lab.InUseError{Dir: c.Dir, PID: pid}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	args := []string{
		config.Hold, "--bin-dir=" + c.BinDir, "--manifests=" + c.Manifests, "--ec2-latency=" + c.EC2Latency.String(),
		"--backend=" + string(c.Backend), "--vtep-mode=" + string(c.VTEPMode), fmt.Sprintf("--nodes=%d", c.Nodes), "--dir=" + c.Dir, "--prefix=" + c.Prefix, fmt.Sprintf("--verbose=%t", c.Verbose),
	}
	cmd := exec.Command(self, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start the lab: %w", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the lab: %w", err)
	}
	// The session of its own keeps Ctrl-C from it, so it is told.
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })()
	up, last := follow(out, stdout)
	if !up {
		err := cmd.Wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if last == "" {
			last = fmt.Sprint(err)
		}
		return fmt.Errorf("the lab did not come up: %s", strings.TrimPrefix(last, "lab: "))
	}
	return cmd.Process.Release()
}

// follow shows the lines of the background process until it says that it is up,
// or ends; then last is what it said at the end.
func follow(from io.Reader, to io.Writer) (up bool, last string) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		line := lines.Text()
		if text, ok := strings.CutPrefix(line, upWord); ok {
			fmt.Fprintln(to, text)
			up = true
			continue
		}
		if up && line == "." {
			return true, ""
		}
		if !strings.HasPrefix(line, "lab: ") {
			fmt.Fprintln(to, line)
		}
		last = line
	}
	return false, last
}

// runHold brings the lab up and holds it until it is told to end.
func runHold(ctx context.Context, c config.Config, stdout, stderr io.Writer) error {
	o := options(c, stderr)
	o.Progress = func(what string) { fmt.Fprintf(stdout, "  %s …\n", what) }
	return withLab(ctx, o, func(l *lab.Lab) error {
		o.Progress("starting both gateways: five processes each")
		if err := l.StartGateways(ctx); err != nil {
			return err
		}
		if err := announce(l, stdout); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
}

// announce says that the lab is up, and moves this process's own output to a log
// beside the others': the reader of the pipe goes away when it hears the news,
// and a write to it after that would count as Ctrl-C, see output.
func announce(l *lab.Lab, stdout io.Writer) error {
	log, err := os.OpenFile(filepath.Join(l.LogDir(), "lab.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open the lab's own log: %w", err)
	}
	defer log.Close()
	// Any goroutine may log; only this one writes to standard output.
	if err := redirect(os.Stderr, log); err != nil {
		return err
	}
	for _, line := range instructions(l) {
		fmt.Fprintln(stdout, upWord+line)
	}
	fmt.Fprintln(stdout, ".")
	return redirect(os.Stdout, log)
}

// redirect makes an open file of the process another name of to.
func redirect(from, to *os.File) error {
	if err := unix.Dup3(int(to.Fd()), int(from.Fd()), 0); err != nil {
		return fmt.Errorf("redirect %s to %s: %w", from.Name(), to.Name(), err)
	}
	return nil
}

// instructions tell what can be done with a lab that is up.
func instructions(l *lab.Lab) []string {
	self := "lab"
	if path, err := os.Executable(); err == nil {
		self = path
	}
	lines := []string{
		"",
		"The lab is up. Run things inside its hosts (as root):",
		"",
		"  " + self + " exec gw1 -- hgctl status            what gateway 1 knows and does; gw2 likewise",
		"  " + self + " exec gw2 -- hgctl status --watch    live",
		"  " + self + " exec gw1 -- hgctl vteps publication  what Cilium is told, or has to be set to",
		"  " + self + " exec cp -- kubectl get ciliumnodes,leases,configmaps -A    if you have kubectl",
		"  " + self + " exec ec2-1 -- ping 100.64.1.10      EC2 pod to on-premises pod, through the tunnel",
		"  " + self + " exec node1-pod1                     a shell in an on-premises pod",
		"",
		"Hosts (network namespaces, also for ip netns exec):",
	}
	var names []string
	for _, h := range l.World.Hosts() {
		names = append(names, strings.TrimPrefix(h.Name(), l.Options.Prefix))
	}
	return append(lines,
		"  "+strings.Join(names, " "),
		"",
		"Logs are in "+l.LogDir()+". Remove the lab with: "+self+" down",
	)
}

// runDown ends the process that holds the lab, and removes what is left.
func runDown(ctx context.Context, c config.Config, stdout io.Writer) error {
	pid, err := lab.Holder(c.Dir)
	if err != nil {
		return err
	}
	if pid != 0 {
		err := endHolder(ctx, c.Dir, pid, syscall.SIGTERM, c.Grace)
		if errors.Is(err, context.DeadlineExceeded) {
			fmt.Fprintf(stdout, "the lab's process %d did not end within %s, and is killed\n", pid, c.Grace)
			err = endHolder(ctx, c.Dir, pid, syscall.SIGKILL, killGrace)
		}
		if err != nil {
			return err
		}
	}
	claim, err := lab.Take(c.Dir, c.Prefix)
	if err != nil {
		return err
	}
	if err := claim.Release(); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "the lab is removed")
	return nil
}

// endHolder sends a signal to the process that has the lab, and waits for it to
// let go. The error is context.DeadlineExceeded when it does not.
func endHolder(ctx context.Context, dir string, pid int, sig syscall.Signal, grace time.Duration) error {
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the lab's process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	return lab.Poll(ctx, "the lab's process to end", func(context.Context) error {
		still, err := lab.Holder(dir)
		if err != nil {
			return err
		}
		if still == pid {
			return fmt.Errorf("process %d is still there", pid)
		}
		return nil
	})
}
