package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"

	"github.com/hybridgateway/gateway/libs/etcdaccess"
)

// member is one member of the cluster, with a client of its own.
type member struct {
	url    string
	client *clientv3.Client

	mu sync.Mutex
	// conn is the newest connection, failed why the last one could not be used.
	conn   net.Conn
	failed error
}

func newMember(url string, files etcdaccess.Files, c Config) (*member, error) {
	m := &member{url: url}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{url},
		// gRPC sends no pings more often than every 10 s (keepalive.ClientParameters).
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		PermitWithoutStream:  true,
		MaxUnaryRetries:      1, // the next try is another member's
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithUserAgent(c.UserAgent),
			grpc.WithContextDialer(m.dial),
			grpc.WithTransportCredentials(etcdaccess.Credentials(files, m.fail)),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 500 * time.Millisecond},
				MinConnectTimeout: c.CallTimeout,
			}),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", url, err)
	}
	m.client = client
	return m, nil
}

func (m *member) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		m.fail(err)
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn = conn
	return conn, nil
}

// fail keeps why a connection cannot be used.
func (m *member) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed = err
}

// drop closes a connection on which a call was not answered in time. It may have died
// without a word; gRPC would find that out after 13 seconds.
func (m *member) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		m.conn.Close()
	}
}

// connect waits until there is a connection. What could not be connected was not sent.
func (m *member) connect(ctx context.Context) error {
	conn := m.client.ActiveConnection()
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.failed == nil {
				return errors.New("the connection broke")
			}
			return m.failed
		case connectivity.Idle:
			conn.Connect()
		}
		if !conn.WaitForStateChange(ctx, state) {
			return fmt.Errorf("connect: %w", ctx.Err())
		}
	}
}

// verdict says what an error means for the request.
type verdict uint8

const (
	// lost: the request may have been carried out, or may be later.
	lost verdict = iota
	// passedOn: this member did not carry it out, another may.
	passedOn
	// refused: it was not carried out, and will not be by another member either.
	refused
)

// judge reads a member's answer. Only what etcd itself says is proof of anything.
func judge(err error) verdict {
	var e rpctypes.EtcdError
	if !errors.As(err, &e) {
		return lost
	}
	switch e.Code() {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.ResourceExhausted:
		return refused
	case codes.FailedPrecondition: // such as that of a learner
		return passedOn
	}
	return lost
}

// try calls one member after the other, beginning with the one that last answered, until one
// answers or ctx ends. With an error, unknown tells whether a member may have done what
// it was asked to, or still may.
func (e *Etcd) try(ctx context.Context, call func(context.Context, *clientv3.Client) error) (unknown bool, err error) {
	first, n := e.current.Load(), int64(len(e.members))
	var problems []string
	for i := range n {
		index := (first + i) % n
		m := e.members[index]
		said, err := m.ask(ctx, i == n-1, call)
		if err == nil {
			e.current.CompareAndSwap(first, index)
			return false, nil
		}
		if said == refused {
			return unknown, err
		}
		unknown = unknown || said == lost
		problems = append(problems, fmt.Sprintf("%s: %v", m.url, err))
	}
	e.leave(first)
	return unknown, errors.New(strings.Join(problems, "; "))
}

// ask makes one call, for which it uses half of the time that is left, or all of it for
// the last one.
func (m *member) ask(ctx context.Context, last bool, call func(context.Context, *clientv3.Client) error) (verdict, error) {
	if until, limited := ctx.Deadline(); limited && !last {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(until)/2)
		defer cancel()
	}
	if err := m.connect(ctx); err != nil {
		return passedOn, err
	}
	err := call(ctx, m.client)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		m.drop()
	}
	return judge(err), err
}

// leave makes the member after the given one the first to be asked, unless another is
// already.
func (e *Etcd) leave(index int64) {
	e.current.CompareAndSwap(index, (index+1)%int64(len(e.members)))
}
