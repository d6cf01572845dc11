package app

import (
	"bytes"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/config"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// A node that cannot be admitted is logged once, however often it is told of again: by
// an update that changes nothing of it, by another node's, by a new list.
func TestRefusedNodesAreLoggedOnce(t *testing.T) {
	c, err := config.Parse([]string{"--vpc-cidrs=10.0.0.0/16", "--pod-cidrs=100.64.0.0/10", "--node-cidrs=192.168.0.0/16"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	tel := &telemetry.Telemetry{Log: slog.New(slog.NewJSONHandler(&log, nil)), Tracer: tracenoop.NewTracerProvider().Tracer("")}
	m, err := newMetrics(metricnoop.NewMeterProvider().Meter(""))
	if err != nil {
		t.Fatal(err)
	}
	l := newLoop(c, tel, m, feed.NewLog[registry.VTEP](history), newReadiness(tel.Log, m, func(bool) {}, false))

	node := func(name, address string, networks ...string) registry.Node {
		n := registry.Node{Name: name, Created: time.Unix(int64(len(name)), 0)}
		if address != "" {
			n.Address = netip.MustParseAddr(address)
		}
		for _, p := range networks {
			n.PodCIDRs = append(n.PodCIDRs, netip.MustParsePrefix(p))
		}
		return n
	}
	flawed := node("malformed", "")
	flawed.Flaws = []registry.Refusal{{Reason: registry.Malformed, Detail: "spec is no object"}}
	refused := []registry.Node{
		flawed,
		node("in-vpc", "192.168.1.9", "10.0.1.0/24"),
		node("outside", "172.16.0.1", "100.64.9.0/24"),
		node("same-address-as-good", "192.168.1.1", "100.64.8.0/24"),
		node("partly-refused", "192.168.1.7", "100.64.7.0/24", "172.20.0.0/24"),
	}
	all := append(slices.Clone(refused), node("good", "192.168.1.1", "100.64.1.0/24"))
	l.register(t.Context(), registered.All{})
	l.admit(t.Context(), cilium.Event[registry.Node]{Whole: true, Snapshot: all})
	for _, n := range all {
		l.admit(t.Context(), cilium.Event[registry.Node]{Name: n.Name, Value: n})
	}
	l.admit(t.Context(), cilium.Event[registry.Node]{Name: "another", Value: node("another", "192.168.1.5", "100.64.5.0/24")})
	l.admit(t.Context(), cilium.Event[registry.Node]{Whole: true, Snapshot: append(all, node("another", "192.168.1.5", "100.64.5.0/24"))})

	for _, n := range refused {
		if lines := strings.Count(log.String(), `"level":"WARN"`+`,"msg":"`+messageOf(n)+`","node":"`+n.Name+`"`); lines != 1 {
			t.Errorf("%s was logged %d times", n.Name, lines)
		}
	}
	if n := strings.Count(log.String(), `"level":"WARN"`); n != len(refused) {
		t.Errorf("%d warnings for %d nodes:\n%s", n, len(refused), &log)
	}
}

func messageOf(n registry.Node) string {
	if n.Name == "partly-refused" {
		return "VTEP admitted without some of what its node claims"
	}
	return "node quarantined"
}

// What is held is written once all sources are known, whichever comes last, and even if that
// one has nothing to tell.
func TestStateIsKeptOnceAllIsKnown(t *testing.T) {
	for _, nodesFirst := range []bool{true, false} {
		c, err := config.Parse([]string{"--vpc-cidrs=10.0.0.0/16", "--pod-cidrs=100.64.0.0/10", "--node-cidrs=192.168.0.0/16", "--state-file=/nowhere"}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		tel := &telemetry.Telemetry{Log: slog.New(slog.DiscardHandler), Tracer: tracenoop.NewTracerProvider().Tracer("")}
		m, err := newMetrics(metricnoop.NewMeterProvider().Meter(""))
		if err != nil {
			t.Fatal(err)
		}
		l := newLoop(c, tel, m, feed.NewLog[registry.VTEP](history), newReadiness(tel.Log, m, func(bool) {}, false))
		node := registry.Node{Name: "a", Address: netip.MustParseAddr("192.168.1.1"), PodCIDRs: []netip.Prefix{netip.MustParsePrefix("100.64.1.0/24")}}
		events := []func(){
			func() {
				l.admit(t.Context(), cilium.Event[registry.Node]{Whole: true, Snapshot: []registry.Node{node}})
			},
			func() { l.register(t.Context(), registered.All{}) },
		}
		if !nodesFirst {
			slices.Reverse(events)
		}
		events[0]()
		if l.keep != nil {
			t.Errorf("nodes first: %v: less than all is written", nodesFirst)
		}
		events[1]()
		if l.keep == nil {
			t.Errorf("nodes first: %v: nothing is written", nodesFirst)
		}
	}
}
