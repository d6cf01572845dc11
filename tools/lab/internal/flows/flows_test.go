package flows_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/hybridgateway/gateway/tools/lab/internal/flows"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
	"github.com/hybridgateway/gateway/tools/lab/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func loopback(last byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, last}), port)
}

func TestPrivilegedEchoAndBalancer(t *testing.T) {
	h := netnstest.Host(t, netnstest.Prefix(t, "fe")+"h")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var targets []netip.AddrPort
	for i := range 2 {
		e, err := flows.ServeEcho(ctx, h, loopback(byte(10+i), 7777))
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		targets = append(targets, e.Addr)
	}
	for _, network := range []string{"tcp4", "udp4"} {
		if seen, err := flows.Ask(ctx, h, network, targets[0]); err != nil || seen != loopback(1, 0).Addr() {
			t.Errorf("%s: saw %v, %v", network, seen, err)
		}
	}
	// The third target does not answer: its clients are told so at once.
	lb, err := flows.ServeBalancer(ctx, h, loopback(20, 80), append(targets, loopback(30, 7777)))
	if err != nil {
		t.Fatal(err)
	}
	defer lb.Close()
	for i := range 6 {
		_, err := flows.Ask(ctx, h, "tcp4", lb.Addr)
		if wantOK := i%3 != 2; (err == nil) != wantOK {
			t.Errorf("question %d: %v, want success %v", i, err, wantOK)
		}
	}
	if _, err := flows.ServeBalancer(ctx, h, loopback(21, 80), nil); err == nil {
		t.Error("a balancer without targets serves")
	}
}

func TestPrivilegedWebhookReviews(t *testing.T) {
	h := netnstest.Host(t, netnstest.Prefix(t, "fw")+"h")
	ca, err := pki.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	hook, err := flows.ServeWebhook(t.Context(), h, loopback(1, 8443), ca, "bad")
	if err != nil {
		t.Fatal(err)
	}
	defer hook.Close()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: h.Dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12},
	}}
	for _, tt := range []struct {
		body    string
		status  int
		allowed bool
	}{
		{`{"request":{"uid":"1","name":"good"}}`, 200, true},
		{`{"request":{"uid":"2","name":"bad"}}`, 200, false},
		{`{}`, 400, false},
		{`nonsense`, 400, false},
	} {
		resp, err := client.Post("https://"+hook.Addr.String()+flows.WebhookPath, "application/json", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		var review admissionv1.AdmissionReview
		if resp.StatusCode == http.StatusOK {
			err = json.NewDecoder(resp.Body).Decode(&review)
		}
		resp.Body.Close()
		if err != nil || resp.StatusCode != tt.status {
			t.Errorf("%s: status %d, %v", tt.body, resp.StatusCode, err)
			continue
		}
		if tt.status == http.StatusOK && (review.Response == nil || review.Response.Allowed != tt.allowed) {
			t.Errorf("%s: answer %+v", tt.body, review.Response)
		}
	}
	if calls := hook.Calls(); len(calls) != 2 || !calls[0].Allowed || calls[1].Allowed || calls[0].From != loopback(1, 0).Addr() {
		t.Errorf("calls %+v", calls)
	}
}

func TestMeterTellsWhatIsNoTunnel(t *testing.T) {
	for _, tt := range []struct {
		m  flows.Meter
		ok bool
	}{
		{flows.Meter{In: 3, Out: 3}, true},
		{flows.Meter{In: 2, Out: 3}, false},
		{flows.Meter{In: 3, Out: 2}, false},
		{flows.Meter{In: 9, Out: 9, Outside: 1}, false},
	} {
		if err := tt.m.Tunnelled(3); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.m, err)
		}
	}
	if err := (flows.Meter{In: 1, Out: 1}).Tunnelled(0); err == nil {
		t.Error("no question proves nothing")
	}
	got := flows.Meter{In: 5, Out: 4, Outside: 3}.Since(flows.Meter{In: 1, Out: 1, Outside: 1})
	if want := (flows.Meter{In: 4, Out: 3, Outside: 2}); got != want {
		t.Errorf("since: %+v, want %+v", got, want)
	}
}
