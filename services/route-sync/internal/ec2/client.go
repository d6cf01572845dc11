package ec2

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/logging"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

const (
	// callTimeout bounds one call, connection and TLS handshake included.
	callTimeout = 2 * time.Second
	// hedgeAfter is how long a write may go without an answer until it is made once more.
	hedgeAfter = 600 * time.Millisecond
	// maxHedges is how many calls may be under way for the second time. When more are slow, all are, and twice the
	// calls would make a processor or a network that is overloaded slower still.
	maxHedges = 8
	// idleTimeout is how long an unused connection is kept. Warm uses each more often.
	idleTimeout = 5 * time.Minute
	// spare connections are for reads beside the writes.
	spare = 4
)

// Options say how to talk to EC2.
type Options struct {
	// Region is used instead of the default chain's when it is not empty.
	Region string
	// Parallel is how many calls may be under way at once.
	Parallel int
	// Transport, if there is one, changes how connections are made, for tests.
	Transport func(*http.Transport)
	// Tracer makes a span for each write, and for each read within a recorded span.
	Tracer trace.Tracer
	// Log takes what the SDK has to say, at level debug; nil drops it.
	Log *slog.Logger
	// OnCall is called when a call to the API has ended.
	OnCall func(action string, outcome plan.Outcome)
}

// Client talks to EC2. It is safe for concurrent use.
type Client struct {
	api     *ec2.Client
	http    *gate
	options Options
	// adaptive is the SDK's own way to repeat reads; writes are repeated by the plan.
	adaptive aws.Retryer
	// hedges has an element for each call that is under way for the second time.
	hedges chan struct{}
	// entries are those of prefix lists, by version. Only ReadLists uses it, of which there is one at a time.
	entries map[listVersion][]netip.Prefix
}

// patiently lets a call be repeated by the SDK, within its deadline.
func (c *Client) patiently(o *ec2.Options) { o.Retryer = c.adaptive }

// Open makes a client. It makes no call, but the default chain may read files.
func Open(ctx context.Context, o Options) (*Client, error) {
	cfg, err := load(ctx, o.Region, o.Parallel, o.Log)
	if err != nil {
		return nil, err
	}
	buildable, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok {
		return nil, fmt.Errorf("load the AWS configuration: it has an HTTP client of type %T", cfg.HTTPClient)
	}
	transport := buildable.GetTransport()
	if o.Transport != nil {
		o.Transport(transport)
	}
	http := &gate{transport: transport, second: transport.Clone(), client: http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return &Client{
		options: o,
		http:    http,
		hedges:  make(chan struct{}, maxHedges),
		adaptive: retry.NewAdaptiveMode(func(a *retry.AdaptiveModeOptions) {
			a.StandardOptions = append(a.StandardOptions, func(s *retry.StandardOptions) {
				s.MaxAttempts, s.MaxBackoff = 2, callTimeout/4
			})
		}),
		api: ec2.NewFromConfig(cfg, func(e *ec2.Options) {
			e.HTTPClient = http
			e.Retryer = aws.NopRetryer{}
		}),
	}, nil
}

// Close closes the connections that are not in use.
func (c *Client) Close() {
	c.http.transport.CloseIdleConnections()
	c.http.second.CloseIdleConnections()
}

// load reads the SDK's default configuration, with a pool of connections large enough that parallel
// calls do not wait for TLS handshakes.
func load(ctx context.Context, region string, parallel int, log *slog.Logger) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns = 0
		t.MaxIdleConnsPerHost = parallel + spare
		t.IdleConnTimeout = idleTimeout
		t.TLSHandshakeTimeout = callTimeout
		// One connection for all calls would make all wait for one lost packet.
		t.ForceAttemptHTTP2 = false
		t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
		if t.TLSClientConfig == nil {
			t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		t.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	})
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(client), config.WithLogger(loggerTo(log))}
	if region != "" {
		options = append(options, config.WithRegion(region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("load the AWS configuration: %w", err)
	}
	return cfg, nil
}

// loggerTo is a logger for the SDK, which otherwise writes to standard error in its own format.
func loggerTo(log *slog.Logger) logging.Logger {
	if log == nil {
		return logging.Nop{}
	}
	return logging.LoggerFunc(func(class logging.Classification, format string, args ...any) {
		log.Debug("the AWS SDK says", "class", string(class), "text", fmt.Sprintf(format, args...))
	})
}
