package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
)

// stopGrace is how long calls under way may take to end when the server stops.
const stopGrace = 2 * time.Second

// Server is a gRPC server with the health and reflection services. Its streams end
// when it stops.
type Server struct {
	*grpc.Server
	health   *health.Server
	draining context.Context
	drain    context.CancelFunc
}

// NewServer makes a server that is not serving yet; see SetServing.
func NewServer(options ...grpc.ServerOption) *Server {
	s := &Server{health: health.NewServer()}
	s.draining, s.drain = context.WithCancel(context.Background())
	s.Server = grpc.NewServer(append(options, grpc.ChainStreamInterceptor(s.endWithServer))...)
	healthv1.RegisterHealthServer(s.Server, s.health)
	reflection.Register(s.Server)
	s.SetServing(false)
	return s
}

// SetServing sets what the health service answers.
func (s *Server) SetServing(serving bool) {
	state := healthv1.HealthCheckResponse_NOT_SERVING
	if serving {
		state = healthv1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus("", state)
}

// ServeOn answers calls on the listener until ctx ends, then lets calls under way end
// within two seconds.
func (s *Server) ServeOn(ctx context.Context, listener net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	select {
	case err := <-served:
		s.drain()
		return err
	case <-ctx.Done():
	}
	s.health.Shutdown()
	s.drain()
	timer := time.AfterFunc(stopGrace, s.Stop)
	defer timer.Stop()
	s.GracefulStop()
	return <-served
}

// ServeSocket is ServeOn for the unix socket of the given path; see ListenSocket.
func (s *Server) ServeSocket(ctx context.Context, path string) error {
	listener, err := ListenSocket(path)
	if err != nil {
		return err
	}
	defer listener.Close()
	return s.ServeOn(ctx, listener)
}

// endWithServer ends a stream's context when the server drains: event streams
// have no end of their own.
func (s *Server) endWithServer(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(s.draining, cancel)()
	err := next(srv, &streamWithContext{stream, ctx})
	if s.draining.Err() != nil {
		return status.Error(codes.Unavailable, "the server is stopping")
	}
	return err
}

type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *streamWithContext) Context() context.Context { return s.ctx }

// Listener is a unix socket that belongs to this process alone.
type Listener struct {
	net.Listener
	lock *os.File
}

// Close closes the socket and lets others have it.
func (l *Listener) Close() error {
	return errors.Join(ignoreClosed(l.Listener.Close()), l.lock.Close())
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// ListenSocket listens on a unix socket, mode 0660, and makes its directory when it is
// absent. The socket that a killed process left behind is replaced; one that a
// living process serves is not: a lock on path + ".lock", which the kernel drops
// with the process, tells them apart.
func ListenSocket(path string) (*Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the socket directory: %w", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the socket's lock: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock %s: another process serves this socket: %w", lock.Name(), err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		lock.Close()
		return nil, fmt.Errorf("remove the stale socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		listener.Close()
		lock.Close()
		return nil, fmt.Errorf("restrict the socket: %w", err)
	}
	return &Listener{Listener: listener, lock: lock}, nil
}

// Dial makes a connection to the service behind a unix socket. It connects when it is
// first used and again whenever it breaks, within half a second of its next use
// after the service's return.
func Dial(path string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix:"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return conn, nil
}
