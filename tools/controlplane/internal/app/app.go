// Package app wires a control plane together: keys, etcd, API server, and what
// is applied to it.
package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hybridgateway/gateway/tools/controlplane/crds"
	"github.com/hybridgateway/gateway/tools/controlplane/internal/apiserver"
	"github.com/hybridgateway/gateway/tools/controlplane/internal/config"
	"github.com/hybridgateway/gateway/tools/controlplane/internal/etcd"
	"github.com/hybridgateway/gateway/tools/controlplane/internal/kube"
	"github.com/hybridgateway/gateway/tools/controlplane/internal/pki"
)

const (
	adminUser  = "lab-admin"
	adminGroup = "system:masters"
	issuer     = "https://kubernetes.default.svc"

	// bootTimeout bounds the time from the start of kube-apiserver to ready. It
	// takes a few seconds on an idle machine.
	bootTimeout = 3 * time.Minute
	// stopTimeout bounds the API server's shutdown, which waits for requests.
	stopTimeout = 10 * time.Second
	// gcPercent trades some processor time for a smaller heap.
	gcPercent = 50
)

// errStuck is returned when the API server did not stop in time; ending the
// process is then what stops it.
var errStuck = errors.New("kube-apiserver did not stop in time")

// Main runs a control plane, or with "etcd" as its first argument a member of etcd, until
// it is told to stop, and returns the exit code: 0 after a signal, 1 after a failure, 2
// when a flag is wrong.
func Main(args []string, stdout, stderr io.Writer) int {
	parent := os.Getppid()
	run, dieWithParent, err := parse(args, stdout)
	if errors.Is(err, config.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "controlplane: %v\n", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)   // a second signal ends the process at once
	signal.Ignore(syscall.SIGPIPE) // whoever waited for the ready line may not read on

	if dieWithParent {
		if ctx, err = withProcess(ctx, parent); err != nil {
			fmt.Fprintf(stderr, "controlplane: %v\n", err)
			return 1
		}
	}
	debug.SetGCPercent(gcPercent)
	if err := run(ctx, stdout); err != nil {
		fmt.Fprintf(stderr, "controlplane: %v\n", err)
		return 1
	}
	return 0
}

// parse returns what the arguments ask to run.
func parse(args []string, stdout io.Writer) (run func(context.Context, io.Writer) error, dieWithParent bool, err error) {
	if len(args) > 0 && args[0] == "etcd" {
		m, err := config.ParseMember(args[1:], stdout)
		return func(ctx context.Context, out io.Writer) error { return RunMember(ctx, m, out) }, m.DieWithParent, err
	}
	c, err := config.Parse(args, stdout)
	return func(ctx context.Context, out io.Writer) error { return Run(ctx, c, out) }, c.DieWithParent, err
}

// Run runs a control plane until ctx ends. It prints the line that says ready
// to out. Only one can run per process, and one per directory.
func Run(ctx context.Context, c config.Config, out io.Writer) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	unlock, err := lock(filepath.Join(c.Dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()

	// What can be wrong with the input is found before anything starts.
	objects, err := kube.ReadManifests(c.Manifests)
	if err != nil {
		return err
	}
	own, err := crds.Objects()
	if err != nil {
		return err
	}
	objects = append(own, objects...)

	log, err := os.OpenFile(filepath.Join(c.Dir, "apiserver.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close()
	listener, err := net.Listen("tcp", c.Listen.String())
	if err != nil {
		return fmt.Errorf("listen for the Kubernetes API: %w", err)
	}
	defer listener.Close()

	files, err := pki.Ensure(pki.Config{
		Dir:       filepath.Join(c.Dir, "pki"),
		Addresses: []netip.Addr{c.Advertise, netip.AddrFrom4([4]byte{127, 0, 0, 1}), apiserver.ServiceAddress()},
		Names:     apiserver.ServiceNames(),
		AdminUser: adminUser, AdminGroup: adminGroup,
	})
	if err != nil {
		return err
	}
	store, err := etcd.Start(ctx, etcd.Config{DataDir: c.EtcdDir, SocketDir: c.Dir, LogFile: filepath.Join(c.Dir, "etcd.log")})
	if err != nil {
		return err
	}

	boot := bootstrap{
		config: c, objects: objects, files: files, out: out,
		endpoint: kube.Endpoint{URL: "https://" + advertised(c.Advertise, listener), CAPEM: files.CAPEM},
	}
	err = serve(ctx, store, boot, apiserver.Config{
		Listener: listener, Advertise: c.Advertise, EtcdEndpoint: store.Endpoint(),
		PKI: files, Issuer: issuer, Log: log,
	})
	if errors.Is(err, errStuck) {
		return err // closing etcd would wait for the API server
	}
	store.Close()
	return err
}

// serve runs the API server, prepares it, and waits for the end of ctx or of one
// of the parts.
func serve(ctx context.Context, store *etcd.Server, boot bootstrap, c apiserver.Config) error {
	tasks, ctx := errgroup.WithContext(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- apiserver.Run(ctx, c) }()

	tasks.Go(func() error {
		select {
		case err := <-stopped:
			if err == nil && ctx.Err() == nil {
				err = errors.New("kube-apiserver stopped by itself")
			}
			return err
		case <-ctx.Done():
		}
		select {
		case err := <-stopped:
			return err
		case <-time.After(stopTimeout):
			return errStuck
		}
	})
	tasks.Go(func() error {
		select {
		case err := <-store.Err():
			return fmt.Errorf("etcd stopped by itself: %w", err)
		case <-ctx.Done():
			return nil
		}
	})
	tasks.Go(func() error {
		if err := boot.run(ctx); ctx.Err() == nil {
			return err
		}
		return nil // told to stop, perhaps before it was ready
	})
	return tasks.Wait()
}

// bootstrap is what happens once, between the API server's start and ready.
type bootstrap struct {
	config   config.Config
	objects  []*unstructured.Unstructured
	files    pki.Files
	endpoint kube.Endpoint
	out      io.Writer
}

func (b bootstrap) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()

	kubeconfig := filepath.Join(b.config.Dir, "kubeconfig")
	if err := kube.WriteCertificateKubeconfig(kubeconfig, b.endpoint, b.files.AdminCertPEM, b.files.AdminKeyPEM); err != nil {
		return err
	}
	admin, err := kube.NewAdmin(b.endpoint.RESTConfig(b.files.AdminCertPEM, b.files.AdminKeyPEM))
	if err != nil {
		return err
	}
	if err := admin.WaitServing(ctx); err != nil {
		return err
	}
	if err := admin.Apply(ctx, b.objects); err != nil {
		return err
	}
	for _, account := range b.config.ServiceAccounts {
		token, err := admin.Token(ctx, account.Namespace, account.Name)
		if err != nil {
			return err
		}
		if err := kube.WriteTokenKubeconfig(account.File, b.endpoint, account.Namespace, token); err != nil {
			return err
		}
	}
	if err := admin.WaitReady(ctx); err != nil {
		return err
	}
	line := readyLine{Ready: true, Server: b.endpoint.URL, Kubeconfig: kubeconfig}
	if err := json.NewEncoder(b.out).Encode(line); err != nil {
		return fmt.Errorf("say ready: %w", err)
	}
	return nil
}

type readyLine struct {
	Ready      bool   `json:"ready"`
	Server     string `json:"server"`
	Kubeconfig string `json:"kubeconfig"`
}

func advertised(addr netip.Addr, listener net.Listener) string {
	port := netip.MustParseAddrPort(listener.Addr().String()).Port()
	return netip.AddrPortFrom(addr, port).String()
}

// lock takes the file for this process, or says that another one has it.
func lock(file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another control plane runs over %s", filepath.Dir(file))
		}
		return nil, fmt.Errorf("lock %s: %w", file, err)
	}
	return func() { f.Close() }, nil
}
