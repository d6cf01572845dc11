package daemon_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/hybridgateway/gateway/libs/cli"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/porttest"
)

// patience is many times what anything here takes on a busy machine.
const patience = time.Minute

// TestMain plays a service when a test starts the test binary as one.
func TestMain(m *testing.M) {
	if os.Getenv("DAEMON_TEST_SERVICE") != "" {
		os.Exit(daemon.Main("service", parse, serve))
	}
	goleak.VerifyTestMain(m)
}

type config struct {
	daemon.Common
	Number int `help:"A number." default:"3"`
}

func parse(args []string, out io.Writer) (config, error) {
	var c config
	err := daemon.ParseFlags("service", "Does nothing.", "127.0.0.1:0", &c, args, out)
	return c, err
}

func serve(ctx context.Context, c config) error {
	server := daemon.NewServer()
	server.SetServing(true)
	return daemon.RunTasks(ctx, daemon.Task{Name: "gRPC", Run: func(ctx context.Context) error {
		return server.ServeSocket(ctx, c.Socket("service"))
	}})
}

func TestFlags(t *testing.T) {
	c, err := parse([]string{"--number=4", "--gateway-id=gw"}, io.Discard)
	if err != nil || c.Number != 4 || c.GatewayID != "gw" || c.Socket("election") != "/run/hybrid-gateway/election.sock" {
		t.Errorf("got %+v, %v", c, err)
	}
	for args, want := range map[string]string{
		"--number=x":            "--number",
		"--log-level=loud":      `--log-level must be one of "debug","info","warn","error" but got "loud"`,
		"--http-listen=nine":    `--http-listen: "nine" is not an IP address and a port`,
		"--otlp-endpoint=tempo": `--otlp-endpoint="tempo": want a URL`,
		"--no-such-flag":        "--no-such-flag",
		"word":                  "word",
		"--socket-dir":          "--socket-dir",
		"--http-listen=:99999":  `--http-listen: ":99999" is not an IP address and a port`,
		"--gateway-id=a\nb":     `--gateway-id="a\nb": want at most 253 characters of a-z`,
		"--socket-dir=/" + strings.Repeat("d", 90): "want a shorter path",
		"--http-listen=127.0.0.1":                  `--http-listen: "127.0.0.1"`,
	} {
		var usage *cli.UsageError
		_, err := parse([]string{args}, io.Discard)
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", args, err, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("HYBRID_GATEWAY_NUMBER", "7")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://tempo:4317")
	c, err := parse(nil, io.Discard)
	if err != nil || c.Number != 7 || c.OTLPEndpoint != "http://tempo:4317" {
		t.Errorf("got %+v, %v", c, err)
	}
	t.Setenv("HYBRID_GATEWAY_NUMBER", "seven")
	if _, err := parse(nil, io.Discard); err == nil || !strings.Contains(err.Error(), "seven") || !strings.Contains(err.Error(), "number") {
		t.Errorf("got %v", err)
	}
}

func TestHelpNamesEveryFlagAndItsVariable(t *testing.T) {
	var out strings.Builder
	if _, err := parse([]string{"--help"}, &out); !errors.Is(err, cli.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"--number", "$HYBRID_GATEWAY_NUMBER", "--otlp-endpoint", "$OTEL_EXPORTER_OTLP_ENDPOINT", "--socket-dir", "$HYBRID_GATEWAY_SOCKET_DIR"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s is missing in:\n%s", want, out.String())
		}
	}
}

func TestExitCodes(t *testing.T) {
	for args, want := range map[string]int{"--number=x": 2, "--help": 0, "--version": 0, "--socket-dir=/proc/nowhere": 1} {
		cmd := service(t, args)
		err := cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != want {
			t.Errorf("%s: exit code %d (%v), want %d", args, got, err, want)
		}
		if lines := strings.Count(cmd.Stderr.(*strings.Builder).String(), "\n"); want > 0 && lines != 1 {
			t.Errorf("%s: %d lines on standard error: %s", args, lines, cmd.Stderr)
		}
	}
}

// A killed service's socket does not stop its successor; a living one's does.
func TestSocketIsTakenOverFromTheDeadOnly(t *testing.T) {
	dir := t.TempDir()
	first := service(t, "--socket-dir="+dir)
	start(t, first)
	await(t, dir)

	second := service(t, "--socket-dir="+dir)
	if second.Run(); second.ProcessState.ExitCode() != 1 || !strings.Contains(second.Stderr.(*strings.Builder).String(), "another process serves this socket") {
		t.Errorf("a second service ended with %v: %s", second.ProcessState, second.Stderr)
	}
	await(t, dir)

	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.Wait()
	third := service(t, "--socket-dir="+dir)
	start(t, third)
	await(t, dir)
	third.Process.Signal(syscall.SIGTERM)
	if err := third.Wait(); err != nil {
		t.Errorf("a terminated service ended with %v: %s", err, third.Stderr)
	}
}

func TestOpenStreamsDoNotHoldUpTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	server := daemon.NewServer()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.ServeSocket(ctx, path) }()
	conn, err := daemon.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var stream healthv1.Health_WatchClient
	poll(t, "the server answers", func() bool {
		stream, err = healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
		if err != nil {
			return false
		}
		_, err = stream.Recv()
		return err == nil
	})
	began := time.Now()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took > patience {
		t.Errorf("an open stream held the server up for %v", took)
	}
	for err == nil {
		_, err = stream.Recv()
	}
}

func TestHTTP(t *testing.T) {
	address := porttest.Address(t)
	listen, err := netaddr.ParseListen(address)
	if err != nil {
		t.Fatal(err)
	}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "metric 1\n") })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.ServeHTTP(ctx, listen, metrics, func() error { return errors.New("no snapshot yet") })
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]string{"/metrics": "200 metric 1\n", "/healthz": "200 ok\n", "/readyz": "503 no snapshot yet\n"} {
		var got string
		poll(t, path+" answers", func() bool {
			r, err := client.Get("http://" + address + path)
			if err != nil {
				return false
			}
			defer r.Body.Close()
			body, _ := io.ReadAll(r.Body)
			got = r.Status[:3] + " " + string(body)
			return true
		})
		if got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestRunTasks(t *testing.T) {
	broken := errors.New("broken")
	wait := daemon.Task{Name: "waits", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	fails := daemon.Task{Name: "fails", Run: func(context.Context) error { return broken }}
	done := daemon.Task{Name: "done", Run: func(context.Context) error { return nil }}
	if err := daemon.RunTasks(t.Context(), wait, fails); !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "fails: ") {
		t.Errorf("got %v", err)
	}
	if err := daemon.RunTasks(t.Context(), wait, done); err != nil {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := daemon.RunTasks(ctx, wait, wait); err != nil {
		t.Errorf("got %v", err)
	}
}

// service is this test's binary as a service, with the given flags.
func service(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "DAEMON_TEST_SERVICE=1")
	cmd.Stderr = &strings.Builder{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

func await(t *testing.T, dir string) {
	t.Helper()
	conn, err := daemon.Dial(filepath.Join(dir, "service.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	poll(t, "the service is healthy", func() bool {
		r, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
		return err == nil && r.GetStatus() == healthv1.HealthCheckResponse_SERVING
	})
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not so within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
