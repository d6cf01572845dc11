package app_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/services/route-sync/internal/ec2"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/services/route-sync/internal/syncer"
	"github.com/hybridgateway/gateway/tools/ec2standin"
)

// takeover is a takeover to measure: the whole way from the leadership event through the SDK to the stand-in and
// back to convergence.
type takeover struct {
	tables, networks int
	list             bool
	latency          time.Duration
	// bucket says that EC2 throttles and that route-sync knows it.
	bucket bool
}

// measured is what a takeover took, in time and in calls that change something.
type measured struct {
	took             time.Duration
	calls, throttled int
}

// What the design asks for, in faked time: only what EC2 takes counts, and how many calls are made.
func TestTakeoverTimes(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		takeover
		calls int
		most  time.Duration
	}{
		{takeover{10, 20, true, 100 * ms, false}, 10, 100 * ms},
		{takeover{10, 20, true, 100 * ms, true}, 10, 100 * ms},
		{takeover{10, 20, false, 100 * ms, false}, 200, 400 * ms},
		// 50 at once, and then five a second.
		{takeover{10, 20, false, 100 * ms, true}, 200, 30*time.Second + 500*ms},
		{takeover{50, 1, false, 300 * ms, true}, 50, 300 * ms},
		{takeover{1, 200, true, 0, true}, 1, 0},
	} {
		t.Run(fmt.Sprintf("%+v", c.takeover), func(t *testing.T) {
			var got measured
			synctest.Test(t, func(t *testing.T) { got = c.measure(t, newMemory()) })
			if got.calls != c.calls || got.throttled != 0 || got.took > c.most {
				t.Errorf("it took %s and %d calls, of which %d were throttled; want at most %s and %d calls", got.took, got.calls, got.throttled, c.most, c.calls)
			}
		})
	}
}

// TestBenchRoutes prints the table of `make bench-routes`, and without BENCH_ROUTES a part of it only: in real time
// without the bucket, of several runs the median and the worst; with it in faked time, where the processor costs
// nothing and minutes pass at once. Beside each is the time that EC2 alone takes, as a ratio.
func TestBenchRoutes(t *testing.T) {
	tableCounts, networkCounts, latencies := []int{1, 10, 50}, []int{1, 20, 200}, []time.Duration{0, 100 * time.Millisecond, 300 * time.Millisecond}
	if os.Getenv("BENCH_ROUTES") == "" {
		tableCounts, networkCounts, latencies = tableCounts[:1], networkCounts[:1], latencies[:1] // all take minutes
	}
	out := t.Output()
	fmt.Fprintf(out, "| tables | networks | kind  | per call | calls | limit    | median   | worst    | ratio | runs | with EC2's bucket: limit | time       | ratio | throttled |\n")
	fmt.Fprintf(out, "|-------:|---------:|-------|---------:|------:|---------:|---------:|---------:|------:|-----:|-------------------------:|-----------:|------:|----------:|\n")
	var targets []string
	missed := false
	for _, tables := range tableCounts {
		for _, networks := range networkCounts {
			for _, list := range []bool{false, true} {
				for _, latency := range latencies {
					c := takeover{tables, networks, list, latency, false}
					runs := c.repeat(t)
					limited := c
					limited.bucket = true
					var got measured
					synctest.Test(t, func(t *testing.T) { got = limited.measure(t, newMemory()) })
					median, worst := runs[len(runs)/2], runs[len(runs)-1]
					fmt.Fprintf(out, "| %6d | %8d | %-5s | %8s | %5d | %8s | %8s | %8s | %5s | %4d | %24s | %10s | %5s | %9d |\n",
						tables, networks, c.kind(), latency, median.calls, seconds(c.limit()), seconds(median.took), seconds(worst.took), ratio(median.took, c.limit()), len(runs),
						seconds(limited.limit()), seconds(got.took), ratio(got.took, limited.limit()), got.throttled)
					if line, met := c.target(median, worst); line != "" {
						targets = append(targets, line)
						missed = missed || !met
					}
				}
			}
		}
	}
	fmt.Fprintf(out, "limit: EC2's own time, when the calls go out %d at a time, or as the bucket lets them; processors: %d\n", parallel, runtime.GOMAXPROCS(0))
	for _, line := range targets {
		fmt.Fprintln(out, line)
	}
	if missed {
		t.Error("a target was missed")
	}
}

// parallel is how many calls go out at once.
const parallel = 64

func (c takeover) kind() string { return map[bool]string{false: "CIDRs", true: "list"}[c.list] }

// calls is how many calls change something when none is wasted.
func (c takeover) calls() int {
	if c.list {
		return c.tables
	}
	return c.tables * c.networks
}

// limit is how long EC2 alone takes.
func (c takeover) limit() time.Duration {
	limit := time.Duration((c.calls()+parallel-1)/parallel) * c.latency
	if bucket := plan.EC2Writes(); c.bucket {
		wait := max(0, float64(c.calls())-bucket.Burst) / bucket.PerSecond
		limit = max(limit, c.latency+time.Duration(wait*float64(time.Second)))
	}
	return limit
}

// repeat measures in real time, the larger the less often, and returns what came out in order of time.
func (c takeover) repeat(t *testing.T) []measured {
	runs := 20
	if os.Getenv("BENCH_ROUTES") == "" || c.calls() > 1000 {
		runs = 1
	} else if c.calls() > 200 {
		runs = 3
	}
	var all []measured
	for range runs {
		all = append(all, c.measure(t, loopback{listen(t, "127.0.0.1:0")}))
	}
	slices.SortFunc(all, func(a, b measured) int { return cmp.Compare(a.took, b.took) })
	return all
}

// target tells what the design asks for in this case, and whether it was met in every run; no line for most cases.
func (c takeover) target(median, worst measured) (line string, met bool) {
	if c.tables != 10 || c.networks != 20 || c.latency != 100*time.Millisecond {
		return "", true
	}
	most := map[bool]time.Duration{false: 1500 * time.Millisecond, true: 300 * time.Millisecond}[c.list]
	met = worst.took <= most && worst.calls <= c.calls()
	return fmt.Sprintf("target of 10 tables x 20 networks, %s, 100 ms per call, no bucket: at most %s and %d calls; median %s, worst %s and %d calls: %s",
		c.kind(), seconds(most), c.calls(), seconds(median.took), seconds(worst.took), worst.calls, map[bool]string{true: "met", false: "MISSED"}[met]), met
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

func ratio(took, limit time.Duration) string {
	if limit == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", took.Seconds()/limit.Seconds())
}

// world is an account in which all routes lead to eni-b.
func (c takeover) world(t *testing.T) (*ec2standin.Server, plan.Config) {
	t.Helper()
	s := ec2standin.New(ec2standin.Config{RoutesPerTable: 1000})
	p := plan.Config{
		Shard: "default", Interface: "eni-a", Region: s.Region(), Interval: 10 * time.Second, Parallel: parallel, Gateways: []string{"eni-b"},
	}
	if c.bucket {
		p.Bucket = plan.EC2Writes()
	}
	errs := []error{
		s.AddVPC(ec2standin.VPC{ID: "vpc-1", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}),
		s.AddSubnet(ec2standin.Subnet{ID: "subnet-1", VPC: "vpc-1", CIDR: netip.MustParsePrefix("10.0.1.0/24")}),
		s.AddInstance(ec2standin.Instance{ID: "i-a"}), s.AddInstance(ec2standin.Instance{ID: "i-b"}),
		s.AddENI(ec2standin.ENI{ID: "eni-a", Subnet: "subnet-1", Instance: "i-a", PrivateIP: netip.MustParseAddr("10.0.1.10")}),
		s.AddENI(ec2standin.ENI{ID: "eni-b", Subnet: "subnet-1", Instance: "i-b", PrivateIP: netip.MustParseAddr("10.0.1.11")}),
	}
	list := ec2standin.PrefixList{ID: "pl-1", Name: "pods", MaxEntries: c.networks}
	for i := range c.networks {
		p.Destinations = append(p.Destinations, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 0}), 24))
		list.Entries = append(list.Entries, ec2standin.PrefixListEntry{CIDR: p.Destinations[i]})
	}
	if c.list {
		errs = append(errs, s.AddPrefixList(list))
		p.Lists.IDs = []string{"pl-1"}
	}
	for i := range c.tables {
		id := fmt.Sprintf("rtb-%d", i)
		p.Tables = append(p.Tables, id)
		errs = append(errs, s.AddRouteTable(ec2standin.RouteTable{ID: id, VPC: "vpc-1"}))
		if c.list {
			errs = append(errs, s.SetListRoute(id, "pl-1", ec2standin.ToENI("eni-b")))
			continue
		}
		for _, d := range p.Destinations {
			errs = append(errs, s.SetRoute(id, d, ec2standin.ToENI("eni-b")))
		}
	}
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, p
}

// measure runs one takeover over a network: a real one, or one without sockets when time is faked.
func (c takeover) measure(t *testing.T, network network) measured {
	s, p := c.world(t)
	var idle atomic.Int64
	server := &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), ConnState: countIdle(&idle)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(network) }()
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": "http://" + network.Addr().String(), "AWS_REGION": s.Region(), "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	client, err := ec2.Open(t.Context(), ec2.Options{
		Parallel: p.Parallel, Tracer: tracenoop.NewTracerProvider().Tracer(""),
		Transport: func(h *http.Transport) { h.DialContext, h.Proxy = network.dial, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	now := func() time.Duration { return time.Hour + time.Since(began) }
	metrics, err := syncer.NewMetrics(metricnoop.NewMeterProvider().Meter(""))
	if err != nil {
		t.Fatal(err)
	}
	converged := make(chan struct{}, 1)
	loop := syncer.New(ctx, syncer.Config{
		Plan: p, EC2: client, Now: now, Readable: func(string) {}, Log: slog.New(slog.DiscardHandler),
		Tracer: tracenoop.NewTracerProvider().Tracer(""), Metrics: metrics,
		Publish: func(_ context.Context, _ string, item syncer.Item) {
			if c, is := item.(syncer.Convergence); is && c.Epoch == 2 {
				converged <- struct{}{}
			}
		},
		Retract: func(context.Context, string) {},
	})
	leadership, ended := make(chan feed.Update[plan.Leadership]), make(chan struct{})
	go func() { defer close(ended); _ = loop.Run(ctx, leadership) }()
	lead := func(l plan.Leadership) {
		l.Shard = "default"
		leadership <- feed.Update[plan.Leadership]{Change: &feed.Event[plan.Leadership]{Kind: feed.Upsert, Key: "default", Value: l}}
	}
	lead(plan.Leadership{Epoch: 1, Holder: "eni-b"})
	if _, faked := network.(*memory); faked {
		time.Sleep(2 * time.Minute) // no token is used up any more
	} else {
		c.settle(s, &idle)
	}
	faults := ec2standin.Faults{Latency: c.latency}
	if c.bucket {
		faults.Throttle = ec2standin.EC2Throttle()
	}
	s.SetFaults(faults)
	s.ResetCalls()

	start := time.Now()
	lead(plan.Leadership{Epoch: 2, Active: true, ValidUntil: now() + time.Hour, Holder: "eni-a"})
	<-converged
	m := measured{took: time.Since(start), calls: s.MutatingCalls()}
	for _, call := range s.Calls() {
		if call.Code == "RequestLimitExceeded" {
			m.throttled++
		}
	}
	if got := reachedFrom(s.Snapshot(), p.Destinations); got["eni-a"] != c.tables*c.networks {
		t.Errorf("%+v: packets go to %v", c, got)
	}
	cancel()
	<-ended
	client.Close()
	_ = server.Shutdown(context.WithoutCancel(ctx)) // calls under way end
	<-served
	return m
}

// settle waits until a gateway that stands by has read what there is, and has its connections ready.
func (c takeover) settle(s *ec2standin.Server, idle *atomic.Int64) {
	need := []string{"DescribeRouteTables", "DescribeNetworkInterfaces"}
	if c.list {
		need = append(need, "GetManagedPrefixListEntries")
	}
	answered := func(action string) bool {
		return slices.ContainsFunc(s.Calls(), func(c ec2standin.Call) bool { return c.Action == action && c.OK() })
	}
	for slices.ContainsFunc(need, func(action string) bool { return !answered(action) }) || idle.Load() < int64(min(parallel, c.calls())) {
		time.Sleep(10 * time.Millisecond)
	}
}

// countIdle counts the connections on which a server waits for a request that is not the first.
func countIdle(idle *atomic.Int64) func(net.Conn, http.ConnState) {
	var mu sync.Mutex
	waiting := make(map[net.Conn]bool)
	return func(c net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		delete(waiting, c)
		if state == http.StateIdle {
			waiting[c] = true
		}
		idle.Store(int64(len(waiting)))
	}
}

// network connects clients to one server.
type network interface {
	net.Listener
	dial(ctx context.Context, _, _ string) (net.Conn, error)
}

// loopback is the machine's.
type loopback struct{ net.Listener }

func (l loopback) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
}

// memory is a network without sockets.
type memory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, io.EOF
	}
}

// Close implements net.Listener.
func (m *memory) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}

// Addr implements net.Listener.
func (m *memory) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80} }
