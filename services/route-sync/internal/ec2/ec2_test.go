package ec2_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/services/route-sync/internal/ec2"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/tools/ec2standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	pods  = netip.MustParsePrefix("100.64.0.0/16")
	other = netip.MustParsePrefix("100.65.0.0/16")
)

// cloud is the EC2 stand-in with one VPC, behind the environment that the SDK's default chain reads.
type cloud struct {
	*ec2standin.Server
	api         *httptest.Server
	connections atomic.Int64
}

func newCloud(t *testing.T, c ec2standin.Config, start func(*httptest.Server)) *cloud {
	t.Helper()
	s := &cloud{Server: ec2standin.New(c)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.AddVPC(ec2standin.VPC{ID: "vpc-1", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}))
	must(s.AddSubnet(ec2standin.Subnet{ID: "subnet-1", VPC: "vpc-1", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-west-2b"}))
	for i, tags := range []map[string]string{nil, nil, {plan.GatewayTag: "true"}, {plan.GatewayTag: "no"}} {
		must(s.AddInstance(ec2standin.Instance{ID: fmt.Sprintf("i-%d", i)}))
		must(s.AddENI(ec2standin.ENI{ID: fmt.Sprintf("eni-%d", i), Subnet: "subnet-1", Instance: fmt.Sprintf("i-%d", i),
			PrivateIP: netip.AddrFrom4([4]byte{10, 0, 1, byte(10 + i)}), Tags: tags}))
	}
	for _, id := range []string{"rtb-1", "rtb-2"} {
		must(s.AddRouteTable(ec2standin.RouteTable{ID: id, VPC: "vpc-1"}))
	}
	must(s.AddGateway(ec2standin.Gateway{ID: "tgw-1"}))
	s.api = httptest.NewUnstartedServer(s.Server)
	s.api.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	start(s.api)
	t.Cleanup(s.api.Close)
	setEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": s.api.URL, "AWS_REGION": s.Region()})
	return s
}

// setEnvironment hides everything from the SDK but what the test gives it.
func setEnvironment(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none,
	} {
		t.Setenv(name, value)
	}
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

// calls counts the calls that a client reports.
type calls struct {
	mu  sync.Mutex
	all []string
}

func (c *calls) add(action string, o plan.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, action+" "+o.String())
}

func (c *calls) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}

func open(t *testing.T) (*ec2.Client, *calls) {
	t.Helper()
	c := &calls{}
	client, err := ec2.Open(t.Context(), ec2.Options{Parallel: 16, Tracer: noop.NewTracerProvider().Tracer(""), OnCall: c.add})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, c
}

// An endpoint that answers before the SDK's request has ended costs no call. Each answer is longer than
// what is read with its head, so that a connection that is closed meanwhile is seen.
func TestPromptAnswersAreReadToTheirEnd(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	var tables []string
	for i := range 30 {
		tables = append(tables, fmt.Sprintf("rtb-more%02d", i))
		if err := s.AddRouteTable(ec2standin.RouteTable{ID: tables[i], VPC: "vpc-1"}); err != nil {
			t.Fatal(err)
		}
	}
	c, _ := open(t)
	for range 300 {
		if got := c.ReadTables(t.Context(), tables); got.Outcome != plan.Done {
			t.Fatalf("%+v", got.Result)
		}
		c.Close()
	}
}

func write(verb plan.Verb, table string, destination netip.Prefix, eni string) plan.Write {
	return plan.Write{Key: plan.Key{Table: table, Destination: plan.To(destination)}, Verb: verb, Interface: eni, Epoch: 1, Attempt: 1}
}

func always() bool { return true }

func TestReadTables(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	client, _ := open(t)
	for destination, target := range map[string]ec2standin.Target{
		"100.64.0.0/16": ec2standin.ToENI("eni-1"),
		"100.65.0.0/16": {Kind: ec2standin.TargetTransitGateway, ID: "tgw-1"},
		"100.66.0.0/16": ec2standin.ToENI("eni-gone"),
		"fd00::/64":     ec2standin.ToENI("eni-1"),
	} {
		if err := s.SetRoute("rtb-1", netip.MustParsePrefix(destination), target); err != nil {
			t.Fatal(err)
		}
	}
	got := client.ReadTables(t.Context(), []string{"rtb-1", "rtb-absent", "rtb-2"})
	if got.Outcome != plan.Done || len(got.Tables) != 2 || fmt.Sprint(got.Absent) != "[rtb-absent]" {
		t.Fatalf("got %+v", got)
	}
	want := plan.Table{
		plan.To(netip.MustParsePrefix("10.0.0.0/16")): {Kind: plan.Other, Target: "local"},
		plan.To(pods):  {Kind: plan.Interface, Target: "eni-1"},
		plan.To(other): {Kind: plan.Other, Target: "tgw-1"},
		plan.To(netip.MustParsePrefix("100.66.0.0/16")): {Kind: plan.Interface, Target: "eni-gone", Blackhole: true},
		plan.To(netip.MustParsePrefix("fd00::/64")):     {Kind: plan.Interface, Target: "eni-1"},
	}
	if !maps.Equal(got.Tables["rtb-1"], want) || got.Account != "123456789012" {
		t.Errorf("got %+v, want %+v", got.Tables["rtb-1"], want)
	}
	if n := s.CallCounts()["DescribeRouteTables"]; n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestReadTablesInPages(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	client, calls := open(t)
	var ids []string
	for i := range 250 {
		ids = append(ids, fmt.Sprintf("rtb-%08x", i))
		if err := s.AddRouteTable(ec2standin.RouteTable{ID: ids[i], VPC: "vpc-1"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := client.ReadTables(t.Context(), ids); got.Outcome != plan.Done || len(got.Tables) != 250 || len(got.Absent) != 0 {
		t.Fatalf("%d tables: %+v", len(got.Tables), got.Result)
	}
	if len(calls.all) != 3 { // 200 ids in two pages, and the rest
		t.Errorf("calls: %v", calls.all)
	}
	s.FailNext("DescribeRouteTables", "RequestLimitExceeded", 2) // once more than the SDK tries
	if got := client.ReadTables(t.Context(), ids); got.Outcome != plan.Throttled || len(got.Absent) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestOwners(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	client, _ := open(t)
	got, result := client.Owners(t.Context(), []string{"eni-1", "eni-2", "eni-3", "eni-gone"})
	want := map[string]plan.Owner{"eni-1": {Exists: true}, "eni-2": {Exists: true, Gateway: true}, "eni-3": {Exists: true}}
	if result.Outcome != plan.Done || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, %+v", got, result)
	}
	s.FailNext("DescribeNetworkInterfaces", "UnauthorizedOperation", 1)
	if _, result := client.Owners(t.Context(), []string{"eni-1"}); result.Outcome != plan.Denied || !strings.Contains(result.Detail, "grant ec2:DescribeNetworkInterfaces") {
		t.Errorf("got %+v", result)
	}
}

// Every error that the plan tells apart, as EC2 spells it.
func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name  string
		write plan.Write
		arm   func(*cloud)
		want  plan.Outcome
	}{
		{"replaced", write(plan.Replace, "rtb-1", pods, "eni-0"), nil, plan.Done},
		{"created", write(plan.Create, "rtb-1", other, "eni-0"), nil, plan.Done},
		{"exists", write(plan.Create, "rtb-1", pods, "eni-0"), nil, plan.Exists},
		{"nothing to replace", write(plan.Replace, "rtb-1", other, "eni-0"), nil, plan.NoRoute},
		{"no table", write(plan.Replace, "rtb-absent", pods, "eni-0"), nil, plan.NoTable},
		{"no interface", write(plan.Replace, "rtb-1", pods, "eni-absent"), nil, plan.NoInterface},
		{"quota", write(plan.Create, "rtb-1", other, "eni-0"), armed("CreateRoute", "RouteLimitExceeded"), plan.Quota},
		{"throttled", write(plan.Replace, "rtb-1", pods, "eni-0"), armed("", "RequestLimitExceeded"), plan.Throttled},
		{"throttled otherwise", write(plan.Replace, "rtb-1", pods, "eni-0"), armed("", "Throttling"), plan.Throttled},
		{"denied", write(plan.Replace, "rtb-1", pods, "eni-0"), armed("", "UnauthorizedOperation"), plan.Denied},
		{"broken", write(plan.Replace, "rtb-1", pods, "eni-0"), armed("", "InternalError"), plan.Unknown},
		{"absurd", write(plan.Replace, "rtb-1", pods, "eni-0"), armed("", "IncorrectState"), plan.Busy},
		{"local route", write(plan.Replace, "rtb-1", netip.MustParsePrefix("10.0.0.0/16"), "eni-0"), nil, plan.Failed},
		{"lost reply", write(plan.Replace, "rtb-1", pods, "eni-0"), func(s *cloud) { s.LoseNext("", 1) }, plan.Unknown},
	} {
		for _, spelling := range []ec2standin.Config{
			{},
			{RouteTableNotFoundCode: ec2standin.CodeRouteTableNotFoundAlt, ReplaceMissingCode: ec2standin.CodeRouteNotFound},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := newCloud(t, spelling, (*httptest.Server).Start)
				client, calls := open(t)
				if err := s.SetRoute("rtb-1", pods, ec2standin.ToENI("eni-1")); err != nil {
					t.Fatal(err)
				}
				if c.arm != nil {
					c.arm(s)
				}
				got := client.Write(t.Context(), c.write, always)
				if got.Outcome != c.want || got.Outcome.Failure() == (got.Detail == "") && got.Outcome.Failure() || strings.Contains(got.Detail, "\n") {
					t.Errorf("got %s: %s", got.Outcome, got.Detail)
				}
				if n := s.MutatingCalls(); n != 1 || len(calls.all) != 1 {
					t.Errorf("%d calls, %v: a failed call is not repeated by itself", n, calls.all)
				}
			})
		}
	}
}

func armed(action, code string) func(*cloud) {
	return func(s *cloud) { s.FailNext(action, code, 1) }
}

func TestCallsHaveADeadline(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	client, _ := open(t)
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	s.SetFaults(ec2standin.Faults{Hook: func(ec2standin.Call) { <-held }})
	began := time.Now()
	got := client.Write(t.Context(), write(plan.Replace, "rtb-1", pods, "eni-0"), always)
	if got.Outcome != plan.Unknown || !strings.Contains(got.Detail, "no answer within 2s") {
		t.Errorf("got %+v", got)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := client.Write(ctx, write(plan.Replace, "rtb-1", pods, "eni-0"), always); got.Outcome != plan.Unknown {
		t.Errorf("abandoned: got %+v", got)
	}
}

func TestNothingIsSentOnceFenced(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	client, _ := open(t)
	if got := client.Write(t.Context(), write(plan.Create, "rtb-1", pods, "eni-0"), func() bool { return false }); got.Outcome != plan.Fenced {
		t.Errorf("got %+v", got)
	}
	if n := s.MutatingCalls(); n != 0 {
		t.Errorf("%d calls arrived", n)
	}
}

// A leader that is stalled between decision and call, here by slow credentials, does not send it late.
func TestFenceIsAskedAfterSigning(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	var leading atomic.Bool
	leading.Store(true)
	credentials := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		leading.Store(false)
		fmt.Fprintf(w, `{"AccessKeyId":"AKIASLOW","SecretAccessKey":"s","Token":"t","Expiration":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(credentials.Close)
	setEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": s.api.URL, "AWS_REGION": s.Region(), "AWS_CONTAINER_CREDENTIALS_FULL_URI": credentials.URL})
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		os.Unsetenv(name)
	}
	client, _ := open(t)
	got := client.Write(t.Context(), write(plan.Create, "rtb-1", pods, "eni-0"), leading.Load)
	if got.Outcome != plan.Fenced || leading.Load() {
		t.Errorf("got %+v, leading %v", got, leading.Load())
	}
	if n := s.MutatingCalls(); n != 0 {
		t.Errorf("%d calls arrived", n)
	}
}

func TestMissingCredentialsAreNamed(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	setEnvironment(t, map[string]string{"AWS_ENDPOINT_URL": s.api.URL, "AWS_REGION": s.Region(), "AWS_EC2_METADATA_DISABLED": "true"})
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		os.Unsetenv(name)
	}
	client, _ := open(t)
	got := client.Write(t.Context(), write(plan.Create, "rtb-1", pods, "eni-0"), always)
	if got.Outcome != plan.Failed || !strings.Contains(got.Detail, "credentials") {
		t.Errorf("got %+v", got)
	}
}

// Connections that were made warm are used by the calls that come.
func TestWarmConnectionsAreUsed(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"HTTP": (*httptest.Server).Start, "TLS": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			s := newCloud(t, ec2standin.Config{}, start)
			if name == "TLS" {
				t.Setenv("AWS_CA_BUNDLE", bundle(t, s.api))
			}
			client, _ := open(t)
			if err := client.Warm(t.Context(), 16); err != nil || s.connections.Load() != 0 {
				t.Fatalf("before the first call: %v, %d connections", err, s.connections.Load())
			}
			client.ReadTables(t.Context(), []string{"rtb-1"})
			// The first call's connection may not be free yet when the others are made, and a machine that stalls may be too
			// slow to make some.
			most := int64(17)
			for warmed := 0; warmed < 3; {
				if err := client.Warm(t.Context(), 16); err == nil {
					warmed++
				} else if most += 16; most > 500 {
					t.Fatal(err)
				}
			}
			warm := s.connections.Load()
			if warm < 16 || warm > most {
				t.Fatalf("%d connections were made warm", warm)
			}
			var together sync.WaitGroup
			together.Add(16)
			s.SetFaults(ec2standin.Faults{Hook: func(ec2standin.Call) { together.Done(); together.Wait() }})
			var done sync.WaitGroup
			for i := range 16 {
				done.Go(func() {
					client.Write(t.Context(), write(plan.Create, "rtb-1", netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(70 + i), 0, 0}), 16), "eni-0"), always)
				})
			}
			done.Wait()
			if n := s.connections.Load(); n != warm {
				t.Errorf("%d connections for 16 calls at once, all of them ought to have been there", n)
			}
			if n := s.MutatingCalls(); n != 16 {
				t.Errorf("%d calls", n)
			}
		})
	}
}

func TestWarmingAnEndpointThatIsGone(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).Start)
	client, _ := open(t)
	client.ReadTables(t.Context(), []string{"rtb-1"})
	s.api.Close()
	if err := client.Warm(t.Context(), 16); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestOwnCABundle(t *testing.T) {
	s := newCloud(t, ec2standin.Config{}, (*httptest.Server).StartTLS)
	s.api.Config.ErrorLog = nil
	client, _ := open(t)
	if got := client.ReadTables(t.Context(), []string{"rtb-1"}); got.Outcome != plan.Unknown || !strings.Contains(got.Detail, "certificate") {
		t.Errorf("an unknown authority: got %+v", got.Result)
	}
	t.Setenv("AWS_CA_BUNDLE", bundle(t, s.api))
	client, _ = open(t)
	if got := client.ReadTables(t.Context(), []string{"rtb-1"}); got.Outcome != plan.Done || len(got.Tables) != 1 {
		t.Errorf("got %+v", got.Result)
	}
	t.Setenv("AWS_CA_BUNDLE", filepath.Join(t.TempDir(), "absent"))
	if _, err := ec2.Open(t.Context(), ec2.Options{Parallel: 1}); err == nil {
		t.Error("a bundle that cannot be read is no error")
	}
}

func bundle(t *testing.T, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestIdentify(t *testing.T) {
	s := newCloud(t, ec2standin.Config{Region: "us-west-2"}, (*httptest.Server).Start)
	metadata := httptest.NewServer(s.IMDS("i-2"))
	t.Cleanup(metadata.Close)
	whole := ec2.Identity{Region: "us-west-2", Interface: "eni-2", Zone: "us-west-2b"}
	for _, c := range []struct {
		name        string
		environment map[string]string
		known, want ec2.Identity
	}{
		{"metadata", map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.URL}, ec2.Identity{}, whole},
		{"region from the environment", map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.URL, "AWS_REGION": "eu-west-1"}, ec2.Identity{},
			ec2.Identity{Region: "eu-west-1", Interface: "eni-2", Zone: "us-west-2b"}},
		{"part from flags", map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.URL, "AWS_REGION": "eu-west-1"},
			ec2.Identity{Region: "us-west-2", Interface: "eni-7"}, ec2.Identity{Region: "us-west-2", Interface: "eni-7", Zone: "us-west-2b"}},
		{"all from flags", map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, whole, whole},
	} {
		t.Run(c.name, func(t *testing.T) {
			setEnvironment(t, c.environment)
			got, err := ec2.Identify(t.Context(), c.known)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	setEnvironment(t, map[string]string{"AWS_EC2_METADATA_DISABLED": "true"})
	if _, err := ec2.Identify(t.Context(), ec2.Identity{}); err == nil || !strings.Contains(err.Error(), "set --eni, --region and --zone") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without metadata: got %v", err)
	}
}
