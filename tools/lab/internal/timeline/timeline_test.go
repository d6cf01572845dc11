package timeline_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

func TestOf(t *testing.T) {
	zero := time.Unix(1000, 0)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	span := func(id, parent, service, name string, from, to int, attributes map[string]string) timeline.Span {
		return timeline.Span{
			TraceID: "t", ID: id, Parent: parent, Service: service, Gateway: "gw2", Name: name,
			Start: at(from), End: at(to), Attributes: attributes,
		}
	}
	route := func(id, table string, from, to int) timeline.Span {
		return span(id, "3", "route-sync", "ec2.ReplaceRoute", from, to,
			map[string]string{"ec2.destination": "100.64.0.0/16", "ec2.route_table": table})
	}
	root := span("1", "", "election", "takeover", 3000, 3200, map[string]string{"epoch": "2", "shard": "default", "cause": "expired", "previous_holder": "gw1"})
	root.Events = []timeline.Event{{Name: "leadership published", At: at(3006)}, {Name: "hiccup", At: at(3150), Attributes: map[string]string{"n": "1"}}}
	failed := span("6", "1", "vtep-registry", "vtep.publish", 3007, 3009, map[string]string{"epoch": "2"})
	failed.Error = "conflict"
	spans := []timeline.Span{
		route("4", "rtb-a", 3008, 3110), route("5", "rtb-b", 3008, 3112),
		span("3", "1", "route-sync", "routes.takeover", 3007, 3113, map[string]string{"routes": "2"}),
		failed, root,
		span("2", "1", "election", "record.compare-and-swap", 3001, 3005,
			map[string]string{"purpose": "take-over", "outcome": "swapped", "epoch": "2"}),
	}
	var got strings.Builder
	for _, l := range timeline.Of(spans, zero) {
		got.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	want := `  +3.000 s  gw2  election      last sign of life from gw1; its lease runs out
  +3.005 s  gw2  election      record taken by compare-and-swap, epoch 2 (4ms)
  +3.006 s  gw2  election      leadership event: gw2 is active in epoch 2
  +3.009 s  gw2  vtep-registry CiliumVTEPConfig: epoch=2 FAILED: conflict (2ms)
  +3.112 s  gw2  route-sync    2 x ReplaceRoute: 100.64.0.0/16 in rtb-a, 100.64.0.0/16 in rtb-b (102ms to 104ms)
  +3.113 s  gw2  route-sync    all 2 routes of the VPC lead here (106ms)
  +3.150 s  gw2  election      hiccup n=1
  +3.200 s  gw2  election      takeover complete (200ms)
`
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Error(d)
	}
	for cause, want := range map[string]string{
		"suspected": "last heartbeat from gw1",
		"handover":  "the record is handed over by gw1",
		"unheard":   "takeover begins cause=unheard previous_holder=gw1",
	} {
		s := span("1", "", "election", "takeover", 0, 10, map[string]string{"cause": cause, "previous_holder": "gw1"})
		lines := timeline.Of([]timeline.Span{s}, zero)
		if len(lines) == 0 || !strings.Contains(lines[0].String(), want) {
			t.Errorf("a takeover because of %s begins with %v", cause, lines)
		}
	}
	for node, want := range map[string]string{"": "Cilium has taken", "node1": "Cilium on node1 has taken"} {
		s := span("1", "", "vtep-registry", "vtep.taken", 0, 10, map[string]string{"endpoint": "vpc-gateway-0", "node": node})
		if lines := timeline.Of([]timeline.Span{s}, zero); !strings.Contains(lines[len(lines)-1].String(), want+" the new VTEP") {
			t.Errorf("on node %q: %v", node, lines)
		}
	}
	if lines := timeline.Of(nil, zero); len(lines) != 0 {
		t.Errorf("lines of no spans: %v", lines)
	}
}
