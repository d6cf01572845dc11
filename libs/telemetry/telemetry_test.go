package telemetry_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/telemetry"
)

func TestLogsAreJSONWithTheServiceInEachLine(t *testing.T) {
	var logs strings.Builder
	tel := start(t, telemetry.Config{LogLevel: "info", Logs: &logs})
	tel.Log.Debug("not written")
	tel.Log.Info("written", telemetry.KeyShard, "default")
	var line map[string]any
	if err := json.Unmarshal([]byte(logs.String()), &line); err != nil {
		t.Fatalf("%v in %q", err, logs.String())
	}
	for key, want := range map[string]string{"msg": "written", "service": "election", "gateway": "gw1", "shard": "default"} {
		if line[key] != want {
			t.Errorf("%s = %v, want %q", key, line[key], want)
		}
	}
}

// The names in the user documentation are what Prometheus reads.
func TestMetricNames(t *testing.T) {
	tel := start(t, telemetry.Config{LogLevel: "info"})
	holder, _ := tel.Meter.Int64Gauge(telemetry.MetricLeaseHolder)
	holder.Record(t.Context(), 1, metric.WithAttributes(attribute.String("pod", "gw1")))
	vteps, _ := tel.Meter.Int64Gauge(telemetry.MetricVtepCount)
	vteps.Record(t.Context(), 3)
	packets, _ := tel.Meter.Int64Counter(telemetry.MetricVxlanPackets)
	packets.Add(t.Context(), 5, metric.WithAttributes(attribute.String("dir", "rx")))
	failures, _ := tel.Meter.Int64Counter(telemetry.MetricRouteReconcileErrors)
	failures.Add(t.Context(), 2)

	w := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`eks_hybrid_gateway_lease_holder{pod="gw1"} 1`,
		`eks_hybrid_gateway_vtep_count 3`,
		`eks_hybrid_gateway_vxlan_packets_total{dir="rx"} 5`,
		`eks_hybrid_gateway_route_reconcile_errors_total 2`,
		`go_goroutines `,
	} {
		if !strings.Contains(w.Body.String(), "\n"+want) {
			t.Errorf("no line %q in:\n%s", want, w.Body.String())
		}
	}
}

func TestSpansReachTheCollector(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{received: make(chan *collectorv1.ExportTraceServiceRequest, 20)}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	go server.Serve(listener)
	defer server.Stop()

	for range 20 { // a machine that stalls for the second that the end may take loses the span
		tel := start(t, telemetry.Config{LogLevel: "info", OTLPEndpoint: "http://" + listener.Addr().String()})
		_, span := tel.Tracer.Start(t.Context(), "takeover")
		span.End()
		tel.Stop(t.Context())
		select {
		case r := <-c.received:
			got := r.GetResourceSpans()[0]
			if name := got.GetScopeSpans()[0].GetSpans()[0].GetName(); name != "takeover" {
				t.Errorf("got span %q", name)
			}
			if about := got.GetResource().String(); !strings.Contains(about, "election") || !strings.Contains(about, "gw1") {
				t.Errorf("the span's resource is %s", about)
			}
			return
		default:
		}
	}
	t.Error("no span arrived")
}

// An endpoint that does not answer costs spans, not the service.
func TestDeadEndpointHoldsNothingUp(t *testing.T) {
	tel := start(t, telemetry.Config{LogLevel: "info", OTLPEndpoint: "http://127.0.0.1:1"})
	_, span := tel.Tracer.Start(t.Context(), "takeover")
	span.End()
	began := time.Now()
	tel.Stop(t.Context())
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	received chan *collectorv1.ExportTraceServiceRequest
}

func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.received <- r
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func start(t *testing.T, c telemetry.Config) *telemetry.Telemetry {
	t.Helper()
	c.Service, c.Version, c.Gateway = "election", "v1", "gw1"
	if c.Logs == nil {
		c.Logs = t.Output()
	}
	tel, err := telemetry.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tel.Stop(context.Background()) })
	return tel
}
