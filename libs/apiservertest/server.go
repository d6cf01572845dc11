package apiservertest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hybridgateway/gateway/libs/internal/controlplane"
)

// ErrNoBinary says that the API server's binary was not built.
var ErrNoBinary = controlplane.ErrNoBinary

// The product's ServiceAccounts, as deploy/rbac makes them. A [Server] has a
// kubeconfig for each, and they may do what those manifests grant, no more.
const (
	Election     = "hybrid-gateway-election"
	VTEPRegistry = "hybrid-gateway-vtep-registry"
)

// Namespace is where the product's ServiceAccounts and its Lease are.
const Namespace = "kube-system"

// Options change what a Server is started with. The zero value is good.
type Options struct {
	// Dir keeps all data; made if missing, and left in place. Default: a temporary one.
	Dir string
	// Manifests are YAML files or directories applied at every start, after
	// deploy/rbac of the repository.
	Manifests []string
	// ServiceAccounts of Manifests (namespace/name) to have kubeconfigs for, besides the product's.
	ServiceAccounts []string
}

// Server is an API server that tests may stop and start. Its methods may be
// called from several goroutines, one at a time takes effect.
type Server struct {
	binary    string
	dir       string
	temporary bool
	address   string
	manifests []string
	accounts  []string // namespace/name

	mu      sync.Mutex
	process *controlplane.Process // nil while stopped
}

// Start starts an API server for one test and removes it at the test's end. Without
// a binary the test fails when it runs as root, and is skipped otherwise.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartWith(t, Options{})
}

// StartWith is Start with options.
func StartWith(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := New(o)
	if errors.Is(err, ErrNoBinary) {
		controlplane.Missing(t, os.Geteuid())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the API server: %v", err)
		}
	})
	return s
}

// New starts an API server that the caller has to Close. The error is
// ErrNoBinary when the binary was not built. It serves at the return.
func New(o Options) (*Server, error) {
	binary, err := controlplane.FindBinary()
	if err != nil {
		return nil, err
	}
	rbac, err := controlplane.FindUpward(filepath.Join("deploy", "rbac"))
	if err != nil {
		return nil, err
	}
	s := &Server{
		binary:    binary,
		dir:       o.Dir,
		manifests: append([]string{rbac}, o.Manifests...),
		accounts:  append([]string{Namespace + "/" + Election, Namespace + "/" + VTEPRegistry}, o.ServiceAccounts...),
	}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "apiservertest"); err != nil {
			return nil, fmt.Errorf("make directory for the API server: %w", err)
		}
		s.temporary = true
	} else if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory for the API server: %w", err)
	}
	if err := s.startOnFreePort(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close stops the API server and removes what it kept in a temporary directory.
func (s *Server) Close() error {
	err := s.Stop()
	if s.temporary {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// Kubeconfig is the path of an administrator's kubeconfig. It stays the same,
// and valid, when the server is stopped and started again.
func (s *Server) Kubeconfig() string { return filepath.Join(s.dir, "kubeconfig") }

// ServiceAccountKubeconfig is the path of a kubeconfig with a token of the
// ServiceAccount: a name in [Namespace], or namespace/name. The file exists if
// the Server was told of the ServiceAccount at its start.
func (s *Server) ServiceAccountKubeconfig(name string) string {
	if !strings.Contains(name, "/") {
		name = Namespace + "/" + name
	}
	return filepath.Join(s.dir, "kubeconfig."+strings.ReplaceAll(name, "/", "."))
}

// Address is the IP address and port the API is served on.
func (s *Server) Address() string { return s.address }

// Dir is the directory with the server's logs, apiserver.log among them.
func (s *Server) Dir() string { return s.dir }

// Start starts a stopped server over the data it had, at the same address, and
// returns when it serves. On a running server it does nothing.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return nil
	}
	p, err := controlplane.Start(controlplane.Config{
		Name: "the API server", Binary: s.binary, Args: s.arguments(), Dir: s.dir, Logs: []string{"apiserver.log", "etcd.log"},
	})
	if err != nil {
		return fmt.Errorf("start the API server: %w", err)
	}
	s.process = p
	return nil
}

// Stop ends the server in an orderly way, also a paused one: new connections
// are refused from then on. On a stopped server it does nothing.
func (s *Server) Stop() error { return s.end((*controlplane.Process).Stop) }

// Kill ends the server as a crash does. Its data stays.
func (s *Server) Kill() error { return s.end((*controlplane.Process).Kill) }

func (s *Server) end(how func(*controlplane.Process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return nil
	}
	p := s.process
	s.process = nil
	return how(p)
}

// Pause freezes the server: connections stay open, and are made, but nothing is
// answered.
func (s *Server) Pause() error { return s.signal((*controlplane.Process).Pause) }

// Resume ends a pause.
func (s *Server) Resume() error { return s.signal((*controlplane.Process).Resume) }

func (s *Server) signal(what func(*controlplane.Process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return errors.New("the API server is stopped")
	}
	return what(s.process)
}

func (s *Server) arguments() []string {
	args := []string{"--dir=" + s.dir, "--listen=" + s.address, "--die-with-parent"}
	for _, m := range s.manifests {
		args = append(args, "--manifests="+m)
	}
	for _, a := range s.accounts {
		args = append(args, "--service-account-kubeconfig="+a+"="+s.ServiceAccountKubeconfig(a))
	}
	return args
}

// startOnFreePort tries another port when somebody has taken the one that was free.
func (s *Server) startOnFreePort() error {
	return controlplane.OnFreePorts(1, func(addresses []string) error {
		s.address = addresses[0]
		return s.Start()
	})
}
