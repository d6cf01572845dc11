package ec2standin_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/hybridgateway/gateway/tools/ec2standin"
)

const testRoute = "198.51.100.0/24"

// direct calls the handler without a network, so that it runs under synctest.
func direct(s *ec2standin.Server, action string, parameters ...string) (status int, code string) {
	w := post(s, signed+strings.Repeat("0a", 32), call(action, parameters...))
	_, rest, _ := strings.Cut(w.Body.String(), "<Code>")
	code, _, _ = strings.Cut(rest, "</Code>")
	return w.Code, code
}

func directCreate(s *ec2standin.Server) (int, string) {
	return direct(s, "CreateRoute", "RouteTableId=rtb-a", "DestinationCidrBlock="+testRoute, "NetworkInterfaceId=eni-gw1")
}

func has(s *ec2standin.Server, to string) bool {
	t, _ := s.Snapshot().Table("rtb-a")
	_, ok := t.Route(netip.MustParsePrefix(to))
	return ok
}

func TestLatencyAndEffect(t *testing.T) {
	for point, want := range map[ec2standin.EffectPoint]time.Duration{
		ec2standin.EffectAtEnd: 300 * time.Millisecond, ec2standin.EffectAtStart: 0, ec2standin.EffectMidway: 150 * time.Millisecond,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newWorld(t, ec2standin.Config{})
			s.SetFaults(ec2standin.Faults{Latency: time.Second, Effect: point,
				LatencyFor: map[string]time.Duration{"CreateRoute": 300 * time.Millisecond}})
			start := time.Now()
			directCreate(s)
			if took := time.Since(start); took != 300*time.Millisecond {
				t.Errorf("create took %v", took)
			}
			c := s.Calls()[0]
			if c.Effect.Sub(start) != want || c.Started != start || c.Finished.Sub(start) != 300*time.Millisecond {
				t.Errorf("effect point %d: %+v", point, c)
			}
			start = time.Now()
			direct(s, "DescribeVpcs")
			if took := time.Since(start); took != time.Second {
				t.Errorf("describe took %v", took)
			}
		})
	}
}

func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWorld(t, ec2standin.Config{})
		s.SetFaults(ec2standin.Faults{Throttle: ec2standin.EC2Throttle()})
		passed := func(action string, n int) (ok int) {
			for range n {
				if status, code := direct(s, action, "DryRun=true", "RouteTableId=rtb-a", "DestinationCidrBlock="+testRoute); status == 412 {
					ok++
				} else if status != 503 || code != "RequestLimitExceeded" {
					t.Fatalf("%s: %d %s", action, status, code)
				}
			}
			return ok
		}
		if n := passed("DeleteRoute", 80); n != 50 {
			t.Errorf("%d of 80 writes passed, want 50", n)
		}
		time.Sleep(2 * time.Second)
		if n := passed("DeleteRoute", 80); n != 10 {
			t.Errorf("%d writes passed after 2 s, want 10", n)
		}
		reads := 0
		for range 130 {
			if status, _ := direct(s, "DescribeVpcs"); status == 200 {
				reads++
			}
		}
		if reads != 100 {
			t.Errorf("%d of 130 reads passed, want 100", reads)
		}
		time.Sleep(time.Hour)
		if n := passed("DeleteRoute", 80); n != 50 {
			t.Errorf("%d writes passed after an hour, want 50", n)
		}
	})
}

func TestStaleReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWorld(t, ec2standin.Config{})
		s.SetFaults(ec2standin.Faults{StaleReads: 2 * time.Second})
		seen := func(filter string) bool {
			w := post(s, signed+strings.Repeat("0a", 32), call("DescribeRouteTables", "Filter.1.Name=route.destination-cidr-block", "Filter.1.Value.1="+filter))
			return strings.Contains(w.Body.String(), "rtb-a")
		}
		directCreate(s)
		if !has(s, testRoute) {
			t.Fatal("the write has no effect")
		}
		time.Sleep(1900 * time.Millisecond)
		if seen(testRoute) {
			t.Error("a read saw the route too early")
		}
		if _, code := directCreate(s); code != "RouteAlreadyExists" {
			t.Errorf("a write saw a stale world: %s", code)
		}
		time.Sleep(100 * time.Millisecond)
		if !seen(testRoute) {
			t.Error("a read did not see the route in time")
		}
		for range 30 { // several states within the window
			must(t, s.SetSourceDestCheck("eni-gw1", true))
			time.Sleep(500 * time.Millisecond)
		}
		must(t, s.RemoveRoute("rtb-a", netip.MustParsePrefix(testRoute)))
		if !seen(testRoute) {
			t.Error("a read saw the deletion too early")
		}
		s.SetFaults(ec2standin.Faults{})
		if seen(testRoute) {
			t.Error("a fresh read is stale")
		}
	})
}

func TestStaleFraction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newWorld(t, ec2standin.Config{Seed: 7})
		s.SetFaults(ec2standin.Faults{StaleReads: time.Minute, StaleFraction: 0.5})
		time.Sleep(time.Minute)
		directCreate(s)
		stale := 0
		for range 200 {
			w := post(s, signed+strings.Repeat("0a", 32), call("DescribeRouteTables"))
			if !strings.Contains(w.Body.String(), testRoute) {
				stale++
			}
		}
		if stale < 60 || stale > 140 {
			t.Errorf("%d of 200 reads were stale, want about half", stale)
		}
	})
}

func TestFailNextAndErrorRate(t *testing.T) {
	s := newWorld(t, ec2standin.Config{Seed: 1})
	s.FailNext("CreateRoute", "UnauthorizedOperation", 1)
	s.FailNext("", "Unavailable", 2)
	for i, want := range []struct {
		action string
		status int
		code   string
	}{
		{"CreateRoute", 403, "UnauthorizedOperation"},
		{"CreateRoute", 503, "Unavailable"},
		{"DescribeVpcs", 503, "Unavailable"},
		{"DescribeVpcs", 200, ""},
		{"CreateRoute", 200, ""},
	} {
		var status int
		var code string
		if want.action == "CreateRoute" {
			status, code = directCreate(s)
		} else {
			status, code = direct(s, want.action)
		}
		if status != want.status || code != want.code {
			t.Errorf("call %d: %d %s, want %d %s", i, status, code, want.status, want.code)
		}
	}
	s.SetFaults(ec2standin.Faults{ErrorRate: 0.3, ErrorActions: []string{"DescribeVpcs"}})
	failed := 0
	for range 200 {
		if status, _ := direct(s, "DescribeVpcs"); status == 500 {
			failed++
		}
		if status, _ := direct(s, "DescribeSubnets"); status != 200 {
			t.Fatalf("an action that is not listed failed: %d", status)
		}
	}
	if failed < 30 || failed > 90 {
		t.Errorf("%d of 200 calls failed, want about 60", failed)
	}
	s.SetFaults(ec2standin.Faults{ErrorRate: 1, ErrorCode: "RequestLimitExceeded"})
	if status, code := direct(s, "DescribeVpcs"); status != 503 || code != "RequestLimitExceeded" {
		t.Errorf("%d %s", status, code)
	}
}

func TestLostRepliesAndDroppedRequests(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	c := &contract{Client: newClient(t, s)}
	s.LoseNext("", 1)
	if _, err := c.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{}); err != nil {
		t.Errorf("LoseNext(\"\") lost a read: %v", err)
	}
	if err := c.create(t, "rtb-a", testRoute, "eni-gw1"); err == nil || code(err) != "" || !has(s, testRoute) {
		t.Errorf("lost reply: %v, route there: %v", err, has(s, testRoute))
	}
	wantError(t, "again", c.create(t, "rtb-a", testRoute, "eni-gw1"), 400, "RouteAlreadyExists")
	s.SetFaults(ec2standin.Faults{LoseReply: func(c ec2standin.Call) bool { return c.Params["DestinationCidrBlock"] == testRoute }})
	if err := c.remove(t, "rtb-a", testRoute); err == nil || code(err) != "" || has(s, testRoute) {
		t.Errorf("lost reply: %v, route there: %v", err, has(s, testRoute))
	}
	s.SetFaults(ec2standin.Faults{DropRequest: func(c ec2standin.Call) bool { return c.Mutating }})
	if err := c.create(t, "rtb-a", testRoute, "eni-gw1"); err == nil || code(err) != "" || has(s, testRoute) {
		t.Errorf("dropped request: %v, route there: %v", err, has(s, testRoute))
	}
	var lost []bool
	for _, c := range s.Calls() {
		lost = append(lost, c.LostReply)
	}
	if want := []bool{false, true, false, true, true}; !slices.Equal(lost, want) {
		t.Errorf("log says lost %v, want %v", lost, want)
	}
}

func TestErrorsThatComeTooLate(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	s.SetFaults(ec2standin.Faults{ErrorLate: true})
	s.FailNext("CreateRoute", "InternalError", 1)
	if status, code := directCreate(s); status != 500 || code != "InternalError" || !has(s, testRoute) {
		t.Errorf("%d %s, route there: %v", status, code, has(s, testRoute))
	}
	if c := s.Calls()[0]; c.Effect.IsZero() || c.OK() {
		t.Errorf("log says %+v", c)
	}
	s.SetFaults(ec2standin.Faults{ErrorLate: true, ErrorRate: 1, ErrorCode: "Unavailable"})
	if status, code := directCreate(s); status != 400 || code != "RouteAlreadyExists" {
		t.Errorf("a call that fails anyway: %d %s", status, code)
	}
	if status, code := direct(s, "DeleteRoute", "RouteTableId=rtb-a", "DestinationCidrBlock="+testRoute, "DryRun=true"); status != 503 || !has(s, testRoute) {
		t.Errorf("a dry run: %d %s", status, code)
	}
	if status, code := direct(s, "DeleteRoute", "RouteTableId=rtb-a", "DestinationCidrBlock="+testRoute); status != 503 || has(s, testRoute) {
		t.Errorf("%d %s, route there: %v", status, code, has(s, testRoute))
	}
}

func TestConnectionResets(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"HTTP": (*httptest.Server).Start, "TLS": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			s := newWorld(t, ec2standin.Config{})
			api := httptest.NewUnstartedServer(s)
			start(api)
			defer api.Close()
			client := api.Client()
			defer client.CloseIdleConnections()
			send := func(form url.Values) error {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL, strings.NewReader(form.Encode()))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
				r.Header.Set("Authorization", signed+strings.Repeat("0a", 32))
				resp, err := client.Do(r)
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			}
			create := call("CreateRoute", "RouteTableId=rtb-a", "DestinationCidrBlock="+testRoute, "NetworkInterfaceId=eni-gw1")
			s.SetFaults(ec2standin.Faults{Reset: true, DropRequest: func(ec2standin.Call) bool { return true }})
			if err := send(create); !errors.Is(err, syscall.ECONNRESET) || has(s, testRoute) {
				t.Errorf("dropped request: %v, route there: %v", err, has(s, testRoute))
			}
			s.SetFaults(ec2standin.Faults{Reset: true})
			s.LoseNext("CreateRoute", 1)
			if err := send(create); !errors.Is(err, syscall.ECONNRESET) || !has(s, testRoute) {
				t.Errorf("lost reply: %v, route there: %v", err, has(s, testRoute))
			}
			if err := send(call("DescribeVpcs")); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestEffectWithoutAClientAndHook(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	c := newClient(t, s)
	arrived, release := make(chan ec2standin.Call), make(chan struct{})
	s.SetFaults(ec2standin.Faults{Hook: func(c ec2standin.Call) {
		if c.Action == "CreateRoute" {
			arrived <- c
			<-release
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := c.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: aws.String("rtb-a"),
			DestinationCidrBlock: aws.String(testRoute), NetworkInterfaceId: aws.String("eni-gw1")})
		result <- err
	}()
	if got := <-arrived; got.AccessKey != "AKIATEST" || got.Params["NetworkInterfaceId"] != "eni-gw1" || !got.Mutating {
		t.Errorf("hook got %+v", got)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("client got %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	changes := s.Subscribe(ctx)
	close(release)
	for range changes {
		if has(s, testRoute) {
			return
		}
	}
	t.Error("the call of a client that went away had no effect")
}

func TestCallLog(t *testing.T) {
	s := newWorld(t, ec2standin.Config{CallLogSize: 3})
	h := httptest.NewServer(s)
	defer h.Close()
	for range 4 {
		direct(s, "DescribeVpcs", "DryRun=true")
	}
	directCreate(s)
	direct(s, "Nonsense")
	if got, want := s.CallCounts(), map[string]int{"DescribeVpcs" + ec2standin.DryRunSuffix: 4, "CreateRoute": 1, "unknown": 1}; !maps.Equal(got, want) {
		t.Errorf("counts %v, want %v", got, want)
	}
	log := s.Calls()
	if len(log) != 3 || log[0].Code != "DryRunOperation" || !log[0].DryRun || !log[0].Effect.IsZero() || log[0].Seq != 4 ||
		!log[1].OK() || !log[1].Mutating || log[2].Code != "InvalidAction" || s.MutatingCalls() != 1 {
		t.Errorf("log %+v", log)
	}
	for range 50 {
		direct(s, "DescribeVpcs")
	}
	if log := s.Calls(); len(log) != 3 || log[2].Seq != 56 {
		t.Errorf("log %+v", log)
	}
	s.ResetCalls()
	if len(s.Calls()) != 0 || len(s.CallCounts()) != 0 {
		t.Error("reset left something")
	}
	resp, err := http.Get(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("plain GET: %d", resp.StatusCode)
	}
}
