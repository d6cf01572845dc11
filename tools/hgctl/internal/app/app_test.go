package app_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/hybridgateway/gateway/libs/pkitest"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/app"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStatus(t *testing.T) {
	w := newWorld(t)
	code, out, errOut := w.hgctl("status")
	if code != 0 || !strings.HasPrefix(out, "Gateway gw1 ") || errOut != "" {
		t.Errorf("exit code %d, output:\n%s%s", code, out, errOut)
	}
	code, out, _ = w.hgctl("status", "--output=json")
	var s struct{ GatewayID string }
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil || s.GatewayID != "gw1" {
		t.Errorf("exit code %d, %v in %s", code, err, out)
	}
	if code, out, _ = w.hgctl("version"); code != 0 || out == "" {
		t.Errorf("exit code %d, output %q", code, out)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	w := newWorld(t)
	strangers := pkitest.NewAuthority(t, "strangers")
	cert, key := strangers.Issue(t, "operator")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nobody listens", []string{"status", "--address=127.0.0.1:1"}, 1, "nothing listens there: check --address"},
		{"no answer", []string{"status", "--address=" + silent.Addr().String(), "--timeout=100ms"}, 1, "no answer in time"},
		{"the gateway's authority is another", []string{"status", "--ca=" + strangers.File}, 1, "check --ca and --server-name"},
		{"the gateway's name is another", []string{"status", "--server-name=gw9"}, 1, "check --ca and --server-name"},
		{"the operator is a stranger", []string{"status", "--cert=" + cert, "--key=" + key}, 1, "--cert must be signed by the authority"},
		{"no certificate", []string{"status", "--cert=/none.crt"}, 1, "--cert=/none.crt"},
		{"a bad flag", []string{"status", "--output=xml"}, 2, `--output must be one of "table","json" but got "xml"`},
		{"no port", []string{"status", "--address=gw1"}, 2, `--address="gw1": want a host and a port`},
		{"no command", nil, 2, "status"},
		{"no table", []string{"routes", "adopt"}, 2, "<table> <destination>"},
		{"no destination", []string{"routes", "adopt", "rtb-1"}, 2, "<destination>"},
		{"an unknown command", []string{"flush"}, 2, "flush"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, errOut := w.hgctl(c.args...)
			if code != c.code || !strings.Contains(errOut, c.want) || strings.Count(errOut, "\n") != 1 {
				t.Errorf("exit code %d: %s\nwant %d and one line with %q", code, errOut, c.code, c.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	w := newWorld(t)
	for _, flag := range w.flags {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
		t.Setenv("HGCTL_"+strings.ToUpper(name), value)
	}
	var out, errOut bytes.Buffer
	if code := app.Run(t.Context(), []string{"status"}, strings.NewReader(""), &out, &errOut); code != 0 {
		t.Errorf("exit code %d: %s", code, errOut.String())
	}
}

// A watch survives the gateway's restart.
func TestWatchReconnects(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, errOut := &buffer{}, &buffer{}
	ended := make(chan int, 1)
	go func() {
		ended <- app.Run(ctx, append([]string{"status", "--watch"}, w.flags...), strings.NewReader(""), out, errOut)
	}()
	poll(t, "a status is shown", func() bool { return strings.Count(out.String(), "Gateway gw1") >= 1 })
	w.stop()
	poll(t, "the loss is told", func() bool { return strings.Contains(errOut.String(), "trying again") })
	w.start(t)
	shown := strings.Count(out.String(), "Gateway gw1")
	poll(t, "the status is shown again", func() bool { return strings.Count(out.String(), "Gateway gw1") > shown })
	cancel()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d: %s", code, errOut.String())
	}
}

// world is a gateway that answers, and an operator's flags.
type world struct {
	flags   []string
	address string
	tls     *tls.Config
	stop    func()
	gateway *gateway
	// typed is what the operator types.
	typed string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	gateways, operators := pkitest.NewAuthority(t, "gateways"), pkitest.NewAuthority(t, "operators")
	certFile, keyFile := gateways.Issue(t, "gw1")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(operators.File)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{gateway: &gateway{}, address: "127.0.0.1:0", tls: &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13,
	}}
	w.tls.ClientCAs.AppendCertsFromPEM(pem)
	w.start(t)
	t.Cleanup(func() { w.stop() })
	cert2, key := operators.Issue(t, "operator")
	w.flags = []string{"--address=" + w.address, "--ca=" + gateways.File, "--cert=" + cert2, "--key=" + key}
	return w
}

func (w *world) start(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	w.address = listener.Addr().String()
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(w.tls)))
	adminv1.RegisterAdminServiceServer(server, w.gateway)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	w.stop = sync.OnceFunc(func() {
		server.Stop()
		// A test may be over before the server has begun.
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
	})
}

// hgctl runs a command with the operator's flags, those of args winning.
func (w *world) hgctl(args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	if len(args) > 0 && args[0] != "version" {
		command := 1
		if (args[0] == "routes" || args[0] == "vteps") && len(args) > 1 && !strings.HasPrefix(args[1], "-") {
			command = 2
		}
		args = slices.Concat(args[:command], w.flags, args[command:])
	}
	code = app.Run(context.Background(), args, strings.NewReader(w.typed), &o, &e)
	return code, o.String(), e.String()
}

// buffer is written by hgctl while the test reads it.
type buffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not so within 20s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
