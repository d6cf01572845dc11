package api

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/hybridgateway/gateway/libs/daemon"
)

// patience is many times what anything here takes on a busy machine.
const patience = time.Minute

// A process that is stopped keeps its connections: it is told that it hangs, and that it answers when it goes on.
func TestHungProcess(t *testing.T) {
	dir, err := os.MkdirTemp("", "hung") // a unix socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	service := startService(t, dir)
	answers := follow(t, dir)
	if err := answers.next(t); err != nil {
		t.Fatalf("a process that serves gives %v", err)
	}
	if err := service.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := answers.next(t); !errors.Is(err, ErrHung) {
		t.Errorf("a stopped process gives %v", err)
	}
	if err := service.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := answers.next(t); err != nil {
		t.Errorf("a process that goes on gives %v", err)
	}
}

// A service that is not there refuses connections, which is no hang.
func TestAbsentServiceDoesNotHang(t *testing.T) {
	if err := follow(t, t.TempDir()).next(t); err != nil {
		t.Errorf("an absent service gives %v", err)
	}
}

type follower struct{ told chan Answer }

// follow asks the service in dir until the test ends.
func follow(t *testing.T, dir string) *follower {
	t.Helper()
	conn := dial(t, dir)
	f := &follower{told: make(chan Answer)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := FollowAnswers(ctx, conn, "service", f.told); !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		conn.Close()
	})
	return f
}

func (f *follower) next(t *testing.T) error {
	t.Helper()
	select {
	case a := <-f.told:
		if a.Service != "service" {
			t.Errorf("told of %q", a.Service)
		}
		return a.Err
	case <-time.After(patience):
		t.Fatalf("nothing is told within %v", patience)
		return nil
	}
}

// startService runs a service whose socket is in dir, which answers by then, until the test ends.
func startService(t *testing.T, dir string) *os.Process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "--socket-dir="+dir)
	cmd.Env = append(os.Environ(), asService+"=1")
	cmd.Stderr = t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The signal on the parent's death comes when this thread ends.
		runtime.LockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	conn := dial(t, dir)
	defer conn.Close()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		_, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
		if err == nil {
			return cmd.Process
		}
		if time.Since(began) > patience {
			t.Fatalf("the service does not answer within %v: %v", patience, err)
		}
	}
}

func dial(t *testing.T, dir string) *grpc.ClientConn {
	t.Helper()
	conn, err := daemon.Dial(filepath.Join(dir, "service.sock"))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}
