// Package etcd runs one embedded etcd member that nothing but this process
// talks to, over a unix socket.
package etcd

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"go.etcd.io/etcd/server/v3/embed"
)

// socketName is the client socket's name in its directory.
const socketName = "etcd.sock"

// Server is a running etcd.
type Server struct {
	etcd      *embed.Etcd
	directory *os.File
	endpoint  string
}

// Config says where etcd keeps its files.
type Config struct {
	// DataDir holds its data.
	DataDir string
	// SocketDir is an existing directory for its client socket.
	SocketDir string
	// LogFile is appended to.
	LogFile string
}

// Start starts etcd over whatever DataDir holds, and returns when it serves.
func Start(ctx context.Context, c Config) (*Server, error) {
	directory, err := os.Open(c.SocketDir)
	if err != nil {
		return nil, fmt.Errorf("open socket directory: %w", err)
	}
	// A socket's path may have 107 bytes at most, which a test's temporary
	// directory easily exceeds. This one is short, and only this process uses it.
	socket := url.URL{Scheme: "unix", Path: fmt.Sprintf("/proc/self/fd/%d/%s", directory.Fd(), socketName)}

	e, err := embed.StartEtcd(memberConfig(c, socket))
	if err != nil {
		directory.Close()
		return nil, fmt.Errorf("start etcd in %s: %w", c.DataDir, err)
	}
	s := &Server{etcd: e, directory: directory, endpoint: socket.String()}
	select {
	case <-e.Server.ReadyNotify():
		return s, nil
	case err := <-e.Err():
		s.Close()
		return nil, fmt.Errorf("start etcd: %w", err)
	case <-ctx.Done():
		s.Close()
		return nil, fmt.Errorf("start etcd: %w", ctx.Err())
	}
}

// memberConfig is a member alone in its cluster. Its peer address is never
// listened on; it only has to be the same at every start. Ticks are short
// because a lone member elects itself after one election timeout.
func memberConfig(c Config, socket url.URL) *embed.Config {
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	cfg := embed.NewConfig()
	cfg.Name = "controlplane"
	cfg.Dir = c.DataDir
	cfg.ListenPeerUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{peer}
	cfg.InitialCluster = cfg.Name + "=" + peer.String()
	cfg.ListenClientUrls = []url.URL{socket}
	cfg.AdvertiseClientUrls = []url.URL{socket}
	cfg.TickMs = 50
	cfg.ElectionMs = 250
	cfg.UnsafeNoFsync = true
	cfg.LogLevel = "warn"
	cfg.LogOutputs = []string{c.LogFile}
	return cfg
}

// Endpoint is the client URL. It is valid in this process only.
func (s *Server) Endpoint() string { return s.endpoint }

// Err delivers an error when etcd stops by itself.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close stops the member and waits until its data is in its files. What still
// listens goes with the process: an orderly end of connections would wait for
// clients of the API server's that it never closes.
func (s *Server) Close() {
	s.etcd.Server.Stop()
	s.directory.Close()
}
