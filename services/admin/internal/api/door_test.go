package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/pkitest"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	"github.com/hybridgateway/gateway/services/admin/internal/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each call makes one line, refused ones too, with the arguments.
func TestAudit(t *testing.T) {
	d := newDoor(t)
	for _, c := range []struct {
		organisation string
		call         func(adminv1.AdminServiceClient) error
		want         string
	}{
		{"admins", func(a adminv1.AdminServiceClient) error {
			_, err := a.AdoptRoute(t.Context(), &adminv1.AdoptRouteRequest{TableId: "rtb-1", Destination: "100.64.0.0/16"})
			return err
		}, `{"arguments":{"destination":"100.64.0.0/16","table_id":"rtb-1"},"code":"OK","level":"INFO","method":"/hybridgateway.admin.v1.AdminService/AdoptRoute","msg":"operator call","operator":"CN=anna,O=admins"}`},
		{"admins", func(a adminv1.AdminServiceClient) error {
			_, err := a.TransferLeadership(t.Context(), &adminv1.TransferLeadershipRequest{To: "gw\n2"})
			return err
		}, `{"arguments":{"to":"gw\n2"},"code":"FailedPrecondition","error":"gw2 is not heard","level":"INFO","method":"/hybridgateway.admin.v1.AdminService/TransferLeadership","msg":"operator call","operator":"CN=anna,O=admins"}`},
		{"admins", func(a adminv1.AdminServiceClient) error {
			_, err := a.RegisterVtep(t.Context(), &adminv1.RegisterVtepRequest{Name: "printer", Ip: "192.168.7.1", PodCidrs: []string{"100.64.7.0/24", "100.64.8.0/24"}})
			return err
		}, `{"arguments":{"ip":"192.168.7.1","name":"printer","pod_cidrs":"100.64.7.0/24,100.64.8.0/24"},"code":"OK","level":"INFO","method":"/hybridgateway.admin.v1.AdminService/RegisterVtep","msg":"operator call","operator":"CN=anna,O=admins"}`},
		{"others", func(a adminv1.AdminServiceClient) error {
			_, err := a.DeregisterVtep(t.Context(), &adminv1.DeregisterVtepRequest{Name: "printer"})
			return err
		}, `{"arguments":{"name":"printer"},"code":"PermissionDenied","error":"\"CN=anna,O=others\" may only read: the certificate carries the organisation \"others\", and one of --operators=admins is needed for DeregisterVtep","level":"INFO","method":"/hybridgateway.admin.v1.AdminService/DeregisterVtep","msg":"operator call","operator":"CN=anna,O=others"}`},
		{"others", func(a adminv1.AdminServiceClient) error {
			_, err := a.PurgeRoutes(t.Context(), &adminv1.PurgeRoutesRequest{})
			return err
		}, `{"code":"PermissionDenied","error":"\"CN=anna,O=others\" may only read: the certificate carries the organisation \"others\", and one of --operators=admins is needed for PurgeRoutes","level":"INFO","method":"/hybridgateway.admin.v1.AdminService/PurgeRoutes","msg":"operator call","operator":"CN=anna,O=others"}`},
		{"others", func(a adminv1.AdminServiceClient) error {
			_, err := a.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
			return err
		}, `{"code":"OK","level":"INFO","method":"/hybridgateway.admin.v1.AdminService/GetStatus","msg":"operator call","operator":"CN=anna,O=others"}`},
		{"others", func(a adminv1.AdminServiceClient) error {
			watch, err := a.WatchStatus(t.Context(), &adminv1.WatchStatusRequest{})
			if err == nil {
				_, err = watch.Recv()
			}
			return err
		}, `{"code":"OK","level":"INFO","method":"/hybridgateway.admin.v1.AdminService/WatchStatus","msg":"operator call","operator":"CN=anna,O=others"}`},
	} {
		d.log.Reset()
		_ = c.call(adminv1.NewAdminServiceClient(d.dial(t, c.organisation))) // the log tells
		if got := d.log.line(t); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestLongArgumentsAreCut(t *testing.T) {
	d := newDoor(t)
	admin := adminv1.NewAdminServiceClient(d.dial(t, "admins"))
	if _, err := admin.AdoptRoute(t.Context(), &adminv1.AdoptRouteRequest{TableId: strings.Repeat("x", 10_000)}); err != nil {
		t.Fatal(err)
	}
	if line := d.log.line(t); len(line) > 1000 || !strings.Contains(line, "xxx…") {
		t.Errorf("a line of %d bytes: %s", len(line), line)
	}
	if _, err := admin.AdoptRoute(t.Context(), &adminv1.AdoptRouteRequest{TableId: strings.Repeat("x", 1<<20)}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a request of a megabyte: %v", err)
	}
}

// What is not known to read is closed: every method that the server has, and one that it has not.
func TestEveryMethodIsClosedUnlessItReads(t *testing.T) {
	d := newDoor(t)
	conn := d.dial(t, "others")
	open := map[string]bool{
		"/grpc.health.v1.Health/Check":                                   true,
		"/grpc.health.v1.Health/List":                                    true,
		"/grpc.health.v1.Health/Watch":                                   true,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      true,
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": true,
		"/hybridgateway.admin.v1.AdminService/GetStatus":                 true,
		"/hybridgateway.admin.v1.AdminService/WatchStatus":               true,
		"/hybridgateway.admin.v1.AdminService/GetIamPolicy":              true,
		"/hybridgateway.admin.v1.AdminService/GetPublication":            true,
	}
	for service, info := range d.server.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			if code := status.Code(call(t, conn, method, m.IsServerStream)); (code != codes.PermissionDenied) != open[method] {
				t.Errorf("%s: %v, want open: %v", method, code, open[method])
			}
			delete(open, method)
		}
	}
	if len(open) > 0 {
		t.Errorf("the server has no %v", open)
	}
}

// call sends an empty message, and wants the first answer.
func call(t *testing.T, conn *grpc.ClientConn, method string, streams bool) error {
	t.Helper()
	if !streams {
		return conn.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(&emptypb.Empty{})
}

// door is a server behind api.Door, over mutual TLS, with its log.
type door struct {
	server    *daemon.Server
	address   string
	gateways  *pkitest.Authority
	operators *pkitest.Authority
	log       *lines
}

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{gateways: pkitest.NewAuthority(t, "gateways"), operators: pkitest.NewAuthority(t, "operators"), log: &lines{}}
	cert, key := d.gateways.Issue(t, "gw1")
	log := slog.New(slog.NewJSONHandler(d.log, nil))
	creds, err := api.Credentials(api.Files{Cert: cert, Key: key, ClientCA: d.operators.File}, log)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.address = listener.Addr().String()
	d.server = daemon.NewServer(append(api.Door(log, []string{"admins"}), grpc.Creds(creds))...)
	adminv1.RegisterAdminServiceServer(d.server.Server, room{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.server.ServeOn(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return d
}

func (d *door) dial(t *testing.T, organisation string) *grpc.ClientConn {
	t.Helper()
	certFile, keyFile := d.operators.Issue(t, "anna", organisation)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(d.gateways.File)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	c.RootCAs.AppendCertsFromPEM(pem)
	conn, err := grpc.NewClient("passthrough:"+d.address, grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// room is what lies behind the door.
type room struct {
	adminv1.UnimplementedAdminServiceServer
}

func (room) GetStatus(context.Context, *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	return &adminv1.GetStatusResponse{}, nil
}

func (room) WatchStatus(_ *adminv1.WatchStatusRequest, stream grpc.ServerStreamingServer[adminv1.WatchStatusResponse]) error {
	return stream.Send(&adminv1.WatchStatusResponse{})
}

func (room) AdoptRoute(context.Context, *adminv1.AdoptRouteRequest) (*adminv1.AdoptRouteResponse, error) {
	return &adminv1.AdoptRouteResponse{}, nil
}

func (room) RegisterVtep(context.Context, *adminv1.RegisterVtepRequest) (*adminv1.RegisterVtepResponse, error) {
	return &adminv1.RegisterVtepResponse{}, nil
}

func (room) TransferLeadership(context.Context, *adminv1.TransferLeadershipRequest) (*adminv1.TransferLeadershipResponse, error) {
	return nil, status.Error(codes.FailedPrecondition, "gw2 is not heard")
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Reset()
}

// line is the only line, its fields sorted, without the time and the address; it comes
// after the answer to a stream.
func (l *lines) line(t *testing.T) string {
	t.Helper()
	var text string
	poll(t, "a line is logged", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		text = l.text.String()
		return text != ""
	})
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("%v: want one line: %s", err, text)
	}
	if from, _ := fields["from"].(string); !strings.HasPrefix(from, "127.0.0.1:") {
		t.Errorf("called from %q", from)
	}
	delete(fields, "time")
	delete(fields, "from")
	sorted := &bytes.Buffer{}
	e := json.NewEncoder(sorted)
	e.SetEscapeHTML(false)
	if err := e.Encode(fields); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(sorted.String())
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	const patience = time.Minute
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not so within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
