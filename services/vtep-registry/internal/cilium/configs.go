package cilium

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
)

// Configs says where WatchConfigs puts what it learns.
type Configs struct {
	Watch[publish.Object]
	// Definitions is Report for the calls by which the dialect is found.
	Definitions func(error)
	// Nodes get what agents report in objects of their own, where they do.
	Nodes Watch[NodeReports]
}

// WatchConfigs tells of all CiliumVTEPConfigs, in the dialect that the API server serves,
// until ctx ends. When that changes it begins anew: an event with an unknown dialect says that
// what was known has ended, and a snapshot in the new dialect follows.
func (c *Client) WatchConfigs(ctx context.Context, w Configs) error {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	served := make(chan Event[any])
	tasks.Go(func() {
		_ = run(ctx, c, source{resource: definitions, path: "/apis/apiextensions.k8s.io/v1/" + definitions, name: vtepConfigs + "." + group},
			func(o *object) any { return o.Spec }, Watch[any]{Events: served, Report: w.Definitions, Log: w.Log})
	})
	var current Dialect
	stop := func() {}
	defer func() { stop() }()
	for {
		var e Event[any]
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e = <-served:
		}
		found, err := dialectOf(e)
		if err != nil {
			w.Report(err)
		}
		if found == current && err == nil {
			continue
		}
		stop()
		stop, current = func() {}, found
		select {
		case <-ctx.Done():
			return ctx.Err()
		case w.Events <- Event[publish.Object]{Whole: true}:
		}
		if found.Known() {
			stop = c.followDialect(ctx, found, w)
		}
	}
}

// dialectOf is what an event of the one definition says about what is served.
func dialectOf(e Event[any]) (Dialect, error) {
	spec := e.Value
	switch {
	case e.Deleted, e.Whole && len(e.Snapshot) == 0:
		return Dialect{}, errNoConfigs
	case e.Whole:
		spec = e.Snapshot[0]
	}
	return detect(spec.(json.RawMessage))
}

// followDialect watches the objects of a dialect until the returned function is called, which
// waits for the end.
func (c *Client) followDialect(ctx context.Context, d Dialect, w Configs) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	events := make(chan Event[publish.Object])
	inner := w.Watch
	inner.Events = events
	tasks.Go(func() { _ = run(ctx, c, source{resource: vtepConfigs, path: d.path()}, d.parseConfig, inner) })
	tasks.Go(func() {
		relay(ctx, events, w.Events, func(e Event[publish.Object]) Event[publish.Object] {
			if e.Whole {
				e.Dialect = d
			} else {
				e.Name = e.Value.Name // with its namespace
			}
			return e
		})
	})
	if d.Form == PerNode {
		tasks.Go(func() {
			_ = run(ctx, c, source{resource: vtepNodeConfigs, path: "/apis/" + group + "/" + d.Version + "/" + vtepNodeConfigs}, parseNodeConfig, w.Nodes)
		})
	}
	return func() { cancel(); tasks.Wait() }
}
