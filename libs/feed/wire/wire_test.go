package wire_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	"github.com/hybridgateway/gateway/libs/grpctest"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server serves a log of node addresses on a real gRPC stream.
type server struct {
	vtepsv1.UnimplementedVtepsServiceServer
	log *feed.Log[string]
}

func (s *server) Watch(r *vtepsv1.WatchRequest, stream grpc.ServerStreamingServer[vtepsv1.WatchResponse]) error {
	return wire.Serve(stream, s.log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[string]) *vtepsv1.WatchResponse {
		m := &vtepsv1.WatchResponse{Header: h}
		if e.Kind == feed.Upsert {
			m.Vtep = &vtepsv1.Vtep{Node: e.Key, Ip: e.Value}
		}
		return m
	})
}

func source(conn *grpc.ClientConn, skipped func(string, error)) feed.Source[string] {
	return wire.Source(vtepsv1.NewVtepsServiceClient(conn).Watch,
		func(p *feedv1.Position) *vtepsv1.WatchRequest { return &vtepsv1.WatchRequest{ResumeFrom: p} },
		func(m *vtepsv1.WatchResponse) (*feedv1.Header, func() (string, error)) {
			return m.GetHeader(), func() (string, error) {
				if ip := m.GetVtep().GetIp(); ip != "bad" {
					return ip, nil
				}
				return "", fmt.Errorf("bad address")
			}
		}, skipped)
}

func TestStateCrossesTheWire(t *testing.T) {
	s := &server{log: feed.NewLog[string](64)}
	s.log.Set(t.Context(), "a", "1")
	s.log.Set(t.Context(), "ill", "bad")
	s.log.MarkSynced()
	conn := grpctest.Serve(t, func(r *grpc.Server) { vtepsv1.RegisterVtepsServiceServer(r, s) })

	skipped := make(chan string, 8)
	updates := follow(t, source(conn, func(key string, _ error) { skipped <- key }))
	u := receive(t, updates)
	if fmt.Sprint(u.Snapshot) != "map[a:1]" || receive(t, skipped) != "ill" {
		t.Fatalf("got %+v", u)
	}
	s.log.Set(t.Context(), "b", "2")
	if u := receive(t, updates); u.Change == nil || u.Change.Key != "b" || u.Change.Value != "2" || u.Position.Revision != 3 {
		t.Errorf("got %+v", u)
	}
	s.log.Set(t.Context(), "b", "bad")
	if u := receive(t, updates); u.Change == nil || u.Change.Kind != feed.Delete || u.Change.Key != "b" {
		t.Errorf("an item that cannot be read must go: %+v", u)
	}
	s.log.Delete(t.Context(), "a")
	if u := receive(t, updates); u.Change == nil || u.Change.Kind != feed.Delete || u.Change.Key != "a" {
		t.Errorf("got %+v", u)
	}
}

// nameless is a server that tells of no instance.
type nameless struct {
	vtepsv1.UnimplementedVtepsServiceServer
}

func (nameless) Watch(_ *vtepsv1.WatchRequest, stream grpc.ServerStreamingServer[vtepsv1.WatchResponse]) error {
	return stream.Send(&vtepsv1.WatchResponse{Header: &feedv1.Header{Position: &feedv1.Position{Revision: 1}, Key: "a", Kind: feedv1.Kind_KIND_UPSERT}})
}

// A follower that took a change without an instance for one of the stream it knows would
// have a change, and no snapshot to make it to.
func TestEventWithoutInstance(t *testing.T) {
	conn := grpctest.Serve(t, func(r *grpc.Server) { vtepsv1.RegisterVtepsServiceServer(r, nameless{}) })
	u := receive(t, follow(t, source(conn, func(string, error) {})))
	if u.Lost == nil || !strings.Contains(u.Lost.Error(), "without the instance of its server") {
		t.Errorf("got %+v", u)
	}
}

// A subscriber that reads nothing while far more changes than the history and the
// transport hold pass by is cut, and ends with the newest state all the same.
func TestSlowSubscriberResynchronises(t *testing.T) {
	s := &server{log: feed.NewLog[string](16)}
	s.log.MarkSynced()
	conn := grpctest.Serve(t, func(r *grpc.Server) { vtepsv1.RegisterVtepsServiceServer(r, s) })
	updates := follow(t, source(conn, func(string, error) {}))
	receive(t, updates)
	const changes = 200_000
	for i := range changes {
		s.log.Set(t.Context(), "k", strconv.Itoa(i+1))
	}
	cut := false
	for {
		u := receive(t, updates)
		cut = cut || u.Lost != nil
		if u.Snapshot["k"] == strconv.Itoa(changes) || u.Change != nil && u.Change.Value == strconv.Itoa(changes) {
			break
		}
	}
	if !cut {
		t.Error("the subscriber was never cut, so the test shows nothing")
	}
}

func follow(t *testing.T, source feed.Source[string]) <-chan feed.Update[string] {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	updates, done := make(chan feed.Update[string]), make(chan struct{})
	go func() {
		defer close(done)
		_ = feed.Follow(ctx, source, updates)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return updates
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing arrived within 20s")
		panic("unreachable")
	}
}
