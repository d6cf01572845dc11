// Package traces is the lab's OTLP/gRPC receiver: it keeps the newest spans that
// the services send, in memory, for the timeline.
package traces

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

// keep bounds how many spans are held.
const keep = 50_000

// Store holds spans. Its methods may be called from any goroutine.
type Store struct {
	collector.UnimplementedTraceServiceServer

	mu      sync.Mutex
	spans   []timeline.Span // oldest first
	changed chan struct{}   // closed and renewed when spans arrive
}

// NewStore makes an empty store.
func NewStore() *Store { return &Store{changed: make(chan struct{})} }

// Serve receives spans on the listener until ctx ends.
func (s *Store) Serve(ctx context.Context, l net.Listener) error {
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	defer context.AfterFunc(ctx, server.Stop)()
	if err := server.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("receive traces on %s: %w", l.Addr(), err)
	}
	return nil
}

// Export takes spans in; it is the OTLP call.
func (s *Store) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range req.GetResourceSpans() {
		for _, scope := range r.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.spans = append(s.spans, convert(r.GetResource(), span))
			}
		}
	}
	if len(s.spans) > 2*keep {
		s.spans = append([]timeline.Span(nil), s.spans[len(s.spans)-keep:]...)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return &collector.ExportTraceServiceResponse{}, nil
}

// Spans gives the spans that match, oldest arrival first.
func (s *Store) Spans(match func(timeline.Span) bool) []timeline.Span {
	found, _ := s.look(match)
	return found
}

func (s *Store) look(match func(timeline.Span) bool) ([]timeline.Span, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []timeline.Span
	for _, span := range s.spans {
		if match(span) {
			found = append(found, span)
		}
	}
	return found, s.changed
}

// Trace gives all spans of a trace.
func (s *Store) Trace(id string) []timeline.Span {
	return s.Spans(func(span timeline.Span) bool { return span.TraceID == id })
}

// Wait waits until a span matches, and returns those that do.
func (s *Store) Wait(ctx context.Context, match func(timeline.Span) bool) ([]timeline.Span, error) {
	for {
		found, changed := s.look(match)
		if len(found) > 0 {
			return found, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a span: %w", ctx.Err())
		}
	}
}

// WaitTrace waits until a trace is complete as the caller sees it, and returns
// its spans; when ctx ends first, those that are there, with an error.
func (s *Store) WaitTrace(ctx context.Context, id string, complete func([]timeline.Span) bool) ([]timeline.Span, error) {
	for {
		found, changed := s.look(func(span timeline.Span) bool { return span.TraceID == id })
		if complete(found) {
			return found, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return found, fmt.Errorf("wait for the whole of trace %s: %w", id, ctx.Err())
		}
	}
}

func convert(r *resource.Resource, s *trace.Span) timeline.Span {
	about := attributes(r.GetAttributes())
	out := timeline.Span{
		TraceID:    hex.EncodeToString(s.GetTraceId()),
		ID:         hex.EncodeToString(s.GetSpanId()),
		Parent:     hex.EncodeToString(s.GetParentSpanId()),
		Service:    about["service.name"],
		Gateway:    about["service.instance.id"],
		Name:       s.GetName(),
		Start:      moment(s.GetStartTimeUnixNano()),
		End:        moment(s.GetEndTimeUnixNano()),
		Attributes: attributes(s.GetAttributes()),
	}
	if s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR {
		out.Error = s.GetStatus().GetMessage()
		if out.Error == "" {
			out.Error = "failed"
		}
	}
	for _, e := range s.GetEvents() {
		out.Events = append(out.Events, timeline.Event{
			Name: e.GetName(), At: moment(e.GetTimeUnixNano()), Attributes: attributes(e.GetAttributes()),
		})
	}
	return out
}

func moment(nanos uint64) time.Time { return time.Unix(0, int64(nanos)) }

func attributes(list []*common.KeyValue) map[string]string {
	out := make(map[string]string, len(list))
	for _, kv := range list {
		out[kv.GetKey()] = text(kv.GetValue())
	}
	return out
}

func text(v *common.AnyValue) string {
	switch x := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return x.StringValue
	case *common.AnyValue_IntValue:
		return strconv.FormatInt(x.IntValue, 10)
	case *common.AnyValue_BoolValue:
		return strconv.FormatBool(x.BoolValue)
	case *common.AnyValue_DoubleValue:
		return strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	case *common.AnyValue_ArrayValue:
		parts := make([]string, 0, len(x.ArrayValue.GetValues()))
		for _, e := range x.ArrayValue.GetValues() {
			parts = append(parts, text(e))
		}
		return strings.Join(parts, ",")
	default:
		return ""
	}
}
