package traces_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
	"github.com/hybridgateway/gateway/tools/lab/internal/traces"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}

func request(id byte, name string) *collector.ExportTraceServiceRequest {
	return &collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource: &resource.Resource{Attributes: []*common.KeyValue{
			text("service.name", "election"), text("service.instance.id", "gw1"),
		}},
		ScopeSpans: []*trace.ScopeSpans{{Spans: []*trace.Span{{
			TraceId: []byte{id}, SpanId: []byte{1}, Name: name,
			StartTimeUnixNano: 1e9, EndTimeUnixNano: 2e9,
			Attributes: []*common.KeyValue{number("epoch", 3)},
			Events:     []*trace.Span_Event{{Name: "converged", TimeUnixNano: 15e8}},
			Status:     &trace.Status{Code: trace.Status_STATUS_CODE_ERROR, Message: "lost"},
		}}}},
	}}}
}

func TestStoreReceivesOverGRPC(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	store := traces.NewStore()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveCtx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- store.Serve(serveCtx, l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	waited := make(chan []timeline.Span, 1)
	go func() {
		spans, err := store.Wait(ctx, func(s timeline.Span) bool { return s.Name == "takeover" })
		if err != nil {
			t.Error(err)
		}
		waited <- spans
	}()
	for i, name := range []string{"other", "takeover"} {
		if _, err := collector.NewTraceServiceClient(conn).Export(ctx, request(byte(0xa0+i), name)); err != nil {
			t.Fatal(err)
		}
	}
	want := []timeline.Span{{
		TraceID: "a1", ID: "01", Service: "election", Gateway: "gw1", Name: "takeover",
		Start: time.Unix(1, 0), End: time.Unix(2, 0), Error: "lost",
		Attributes: map[string]string{"epoch": "3"},
		Events:     []timeline.Event{{Name: "converged", At: time.Unix(1, 5e8), Attributes: map[string]string{}}},
	}}
	if d := cmp.Diff(want, <-waited); d != "" {
		t.Error(d)
	}
	if n := len(store.Trace("a0")); n != 1 {
		t.Errorf("trace a0 has %d spans, want 1", n)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestWaitTraceGivesWhatIsThere(t *testing.T) {
	store := traces.NewStore()
	if _, err := store.Export(t.Context(), request(0xa0, "takeover")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spans, err := store.WaitTrace(ctx, "a0", func(s []timeline.Span) bool { return len(s) == 2 })
	if err == nil || len(spans) != 1 {
		t.Errorf("%d spans, %v", len(spans), err)
	}
	if _, err := store.WaitTrace(ctx, "a0", func(s []timeline.Span) bool { return len(s) == 1 }); err != nil {
		t.Error(err)
	}
}
