package lease

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/hybridgateway/gateway/services/election/internal/follow"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// Config says which Lease, and how to reach it.
type Config struct {
	// Kubeconfig is a file's path; when empty the pod's ServiceAccount is used.
	Kubeconfig string
	Namespace  string
	Name       string
	// UserAgent names this program in the API server's logs.
	UserAgent string
	// CallTimeout is how long one read may take.
	CallTimeout time.Duration
	// PollPeriod is the time between reads while the watch is silent.
	PollPeriod time.Duration
	Log        *slog.Logger
}

// Lease is the record. It is safe for concurrent use.
type Lease struct {
	*follow.Follower

	config      Config
	connections *http.Client
	client      coordinationclient.LeaseInterface

	mu sync.Mutex
	// newest is the newest version that anyone was told of, and object the Lease as it was
	// then; nil when there was none.
	newest uint64
	object *coordinationv1.Lease
}

// LogTo sends what client-go says where it was given no logger to w as JSON, in place of
// its own format. It is for the whole process, and to be called before anything of
// client-go is.
func LogTo(w io.Writer) { klog.SetSlogLogger(slog.New(slog.NewJSONHandler(w, nil))) }

// New makes a Lease. It does not connect.
//
// The connections are HTTP/1.1 on purpose: over HTTP/2 all calls share one connection, so
// one that has silently died takes every call with it until it is found dead, which
// client-go does after 45 seconds. Over HTTP/1.1 a call that times out takes only its own
// connection, and the next call makes another.
func New(c Config) (*Lease, error) {
	config, err := restConfig(c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.UserAgent = c.UserAgent
	config.NextProtos = []string{"http/1.1"}
	config.QPS = -1 // renewals must not wait for a client's own limit
	config.WarningHandler = rest.NoWarnings{}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.Dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 5 * time.Second}).DialContext
	connections, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make connections to the API server: %w", err)
	}
	client, err := coordinationclient.NewForConfigAndClient(config, connections)
	if err != nil {
		return nil, fmt.Errorf("make a client for the API server: %w", err)
	}
	l := &Lease{config: c, connections: connections, client: client.Leases(c.Namespace)}
	l.Follower = follow.New(l, c.PollPeriod, c.Log)
	return l, nil
}

// Close closes the connections that are kept for later calls.
func (l *Lease) Close() { utilnet.CloseIdleConnectionsFor(l.connections.Transport) }

func restConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("no --kubeconfig is given and this is no pod with a ServiceAccount: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load --kubeconfig=%s: %w", kubeconfig, err)
	}
	return config, nil
}

// note makes the observation one that others are told of, together with the object it
// was made of. floor is the newest version that was known before the register was
// asked, or zero when it was not asked but told: an answer cannot be older than what
// was known before the question, unless the register went back.
func (l *Lease) note(version uint64, object *coordinationv1.Lease, floor uint64) term.Observation {
	o := term.Observation{Version: version, Present: object != nil, Rollback: version < floor}
	if object != nil {
		o.Record = decode(object)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if version > l.newest || o.Rollback {
		l.newest, l.object = version, object
	}
	return o
}

func (l *Lease) known() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest
}

// versionOf parses a resourceVersion.
func versionOf(resourceVersion string) (uint64, error) {
	v, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the API server's resourceVersion %q is no number: %w", resourceVersion, err)
	}
	return v, nil
}
