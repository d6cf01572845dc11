package cilium

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// Event is one thing that happened to the objects of a kind: a Snapshot of them all, or
// one object's new value, or its deletion.
type Event[T any] struct {
	// Whole is true for a Snapshot: what it does not list is gone.
	Whole    bool
	Snapshot []T
	Version  string // resourceVersion of the snapshot

	Name    string
	Value   T // on a deletion, the object as it was
	Deleted bool

	// Dialect is, of a snapshot of CiliumVTEPConfigs, the one they were listed in. An unknown
	// one says that there are none to list.
	Dialect Dialect
}

// Watch says where a watch puts what it learns.
type Watch[T any] struct {
	// Events gets a snapshot first. Sending blocks.
	Events chan<- Event[T]
	// Report is called with the reason when a call failed, and with nil when one
	// succeeded.
	Report func(error)
	Log    *slog.Logger
}

// WatchNodes tells of the CiliumNodes that the label selector selects, until ctx ends.
func (c *Client) WatchNodes(ctx context.Context, selector string, w Watch[registry.Node]) error {
	return run(ctx, c, source{resource: nodes, path: "/apis/" + group + "/" + version + "/" + nodes, labels: selector}, parseNode, w)
}

// source is what a watch lists.
type source struct {
	resource string // for messages
	path     string
	labels   string // selector; empty for all
	name     string // of the only object that is wanted; empty for all
}

func run[T any](ctx context.Context, c *Client, from source, parse func(*object) T, w Watch[T]) error {
	selected := func(o metav1.ListOptions) metav1.ListOptions {
		o.LabelSelector = from.labels
		if from.name != "" {
			o.FieldSelector = "metadata.name=" + from.name
		}
		return o
	}
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o = selected(o)
			list := &objectList{}
			err := c.rest.Get().AbsPath(from.path).VersionedParams(&o, c.parameters).Do(ctx).Into(list)
			w.report(ctx, from.resource, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o = selected(o)
			o.Watch = true
			stream, err := c.rest.Get().AbsPath(from.path).VersionedParams(&o, c.parameters).Watch(ctx)
			if o.SendInitialEvents == nil || !apierrors.IsInvalid(err) {
				// An API server that cannot stream lists says so by Invalid; a list follows.
				w.report(ctx, from.resource, err)
			}
			return stream, err
		},
	}
	log := logr.FromSlogHandler(quiet{w.Log.Handler()})
	reflector := cache.NewReflectorWithOptions(lw, &object{}, &store[T]{ctx, parse, w.Events}, cache.ReflectorOptions{
		Logger: &log,
		Name:   from.resource,
		// The same delay for ever once the cap is reached: an API server that comes back
		// is to be used within a second.
		Backoff: &wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 5, Cap: time.Second},
	})
	reflector.RunWithContext(klog.NewContext(ctx, log))
	return ctx.Err()
}

// quiet makes debugging output of what a reflector says: it logs each failed attempt, which
// Report is told of already.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, _ slog.Level) bool {
	return q.Handler.Enabled(ctx, slog.LevelDebug)
}

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = min(r.Level, slog.LevelDebug)
	return q.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(a []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(a)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

func (w Watch[T]) report(ctx context.Context, resource string, err error) {
	if ctx.Err() == nil {
		w.Report(explain("read", resource, err))
	}
}

// explain adds to an error what to do about it.
func explain(verb, resource string, err error) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsNotFound(err) && strings.HasPrefix(resource, "cilium"):
		return fmt.Errorf("%s %s: the API server has no %s.%s: is a Cilium with VTEP support installed?: %w", verb, resource, resource, group, err)
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s %s: not permitted: apply deploy/rbac/vtep-registry.yaml: %w", verb, resource, err)
	}
	return fmt.Errorf("%s %s: %w", verb, resource, err)
}

// store is a cache.ReflectorStore that passes everything on.
type store[T any] struct {
	ctx    context.Context // the interface passes none: it is the reflector's own
	parse  func(*object) T
	events chan<- Event[T]
}

// parsed stands in for an object while the reflector collects a streamed list.
type parsed[T any] struct {
	metav1.ObjectMeta
	value T
}

// Transformer implements cache.TransformingStore: objects of a streamed list are parsed
// one by one as they arrive, so that ten thousand of them are never held at once.
func (s *store[T]) Transformer() cache.TransformFunc {
	return func(o any) (any, error) {
		raw, ok := o.(*object)
		if !ok {
			return o, nil
		}
		return &parsed[T]{metav1.ObjectMeta{Name: raw.Name}, s.parse(raw)}, nil
	}
}

func (s *store[T]) Add(o any) error { return s.Update(o) }

func (s *store[T]) Update(o any) error {
	raw, err := asObject(o)
	if err != nil {
		return err
	}
	return s.send(Event[T]{Name: raw.Name, Value: s.parse(raw)})
}

func (s *store[T]) Delete(o any) error {
	raw, err := asObject(o)
	if err != nil {
		return err
	}
	return s.send(Event[T]{Name: raw.Name, Value: s.parse(raw), Deleted: true})
}

func (s *store[T]) Replace(list []any, version string) error {
	e := Event[T]{Whole: true, Version: version, Snapshot: make([]T, 0, len(list))}
	for _, o := range list {
		if p, ok := o.(*parsed[T]); ok {
			e.Snapshot = append(e.Snapshot, p.value)
			continue
		}
		raw, err := asObject(o)
		if err != nil {
			return err
		}
		e.Snapshot = append(e.Snapshot, s.parse(raw))
	}
	return s.send(e)
}

func (s *store[T]) Resync() error { return nil }

func (s *store[T]) send(e Event[T]) error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case s.events <- e:
		return nil
	}
}

func asObject(o any) (*object, error) {
	raw, ok := o.(*object)
	if !ok {
		return nil, fmt.Errorf("unexpected object of type %T", o)
	}
	return raw, nil
}
