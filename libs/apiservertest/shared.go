package apiservertest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/hybridgateway/gateway/libs/internal/controlplane"
)

// Shared is one Server for all tests of a package, started by the first test
// that asks for it. The zero value is ready; it must not be copied.
type Shared struct {
	// Options for the Server; set them before the first Get.
	Options Options

	once   sync.Once
	server *Server
	err    error
}

// Get returns the running Server; without a binary it does as [Start].
// Tests that share it must not stop or pause it, and tell their objects apart
// by name.
func (s *Shared) Get(t testing.TB) *Server {
	t.Helper()
	s.once.Do(func() { s.server, s.err = New(s.Options) })
	if errors.Is(s.err, ErrNoBinary) {
		controlplane.Missing(t, os.Geteuid())
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

// Runner is what *testing.M is.
type Runner interface{ Run() int }

// Wrap returns a Runner that runs m's tests and then ends the Server.
func (s *Shared) Wrap(m Runner) Runner { return wrapped{tests: m, shared: s} }

type wrapped struct {
	tests  Runner
	shared *Shared
}

// Run returns the tests' exit code, or 1 when the Server could not be ended.
func (w wrapped) Run() int {
	code := w.tests.Run()
	if w.shared.server == nil {
		return code
	}
	if err := w.shared.server.Close(); err != nil {
		fmt.Fprintf(os.Stderr, "close the API server: %v\n", err)
		return max(code, 1)
	}
	return code
}
