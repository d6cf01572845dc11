// Package telemetry sets up what a service tells about itself: JSON logs (slog), spans
// over OTLP/gRPC and metrics in Prometheus' format (OpenTelemetry). It is the one
// home of the OpenTelemetry SDK; everybody else uses its API.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// exportDelay is how long ended spans wait for others before they are sent. It is
// short so that the trace of a failover can be read while it is being looked at.
const exportDelay = 500 * time.Millisecond

// Config says who reports and where to.
type Config struct {
	Service string
	Version string
	// Gateway is the gateway's id, the same in all its services.
	Gateway string
	// LogLevel is debug, info, warn or error.
	LogLevel string
	// Logs is where log lines go.
	Logs io.Writer
	// OTLPEndpoint is a URL that CheckEndpoint accepts; when empty no spans are made.
	OTLPEndpoint string
}

// Telemetry is a service's voice.
type Telemetry struct {
	Log     *slog.Logger
	Tracer  trace.Tracer
	Meter   metric.Meter
	Metrics http.Handler

	shutdown []func(context.Context) error
}

// CheckEndpoint tells what is wrong with an OTLP endpoint; "" is fine.
func CheckEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("want a URL such as http://tempo:4317 or https://tempo:4317")
	}
	return nil
}

// Start sets everything up. Nothing waits for the OTLP endpoint: spans that cannot be
// sent are dropped. Call Stop at the end.
func Start(ctx context.Context, c Config) (*Telemetry, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", c.LogLevel)
	}
	t := &Telemetry{
		Log: slog.New(slog.NewJSONHandler(c.Logs, &slog.HandlerOptions{Level: level})).
			With(KeyService, c.Service, KeyGateway, c.Gateway),
	}
	// The SDK reports its own trouble, such as an endpoint that does not answer, only
	// through this process-wide handler.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		t.Log.Debug("telemetry could not be exported", KeyError, err)
	}))
	about := resource.NewSchemaless(
		semconv.ServiceName(c.Service),
		semconv.ServiceVersion(c.Version),
		semconv.ServiceInstanceID(c.Gateway),
	)
	if err := t.startMetrics(c, about); err != nil {
		return nil, err
	}
	if err := t.startTraces(ctx, c, about); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Telemetry) startMetrics(c Config, about *resource.Resource) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	exporter, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("make the Prometheus exporter: %w", err)
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter), sdkmetric.WithResource(about))
	t.Meter = provider.Meter(c.Service)
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	t.shutdown = append(t.shutdown, provider.Shutdown)
	return nil
}

func (t *Telemetry) startTraces(ctx context.Context, c Config, about *resource.Resource) error {
	if c.OTLPEndpoint == "" {
		t.Tracer = noop.NewTracerProvider().Tracer(c.Service)
		return nil
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(c.OTLPEndpoint))
	if err != nil {
		return fmt.Errorf("make the OTLP exporter for %s: %w", c.OTLPEndpoint, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(exportDelay)),
		sdktrace.WithResource(about),
	)
	t.Tracer = provider.Tracer(c.Service)
	t.shutdown = append(t.shutdown, provider.Shutdown)
	return nil
}

// Stop sends what is left, for at most a second.
func (t *Telemetry) Stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for _, shutdown := range t.shutdown {
		if err := shutdown(ctx); err != nil {
			t.Log.Debug("telemetry could not be flushed", KeyError, err)
		}
	}
}
