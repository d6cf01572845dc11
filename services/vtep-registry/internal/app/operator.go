package app

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/api"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// operatorTimeout bounds the calls to the API server that an operator waits for.
const operatorTimeout = 10 * time.Second

// store is where registered VTEPs are kept. What it returns and tells are all of them.
type store interface {
	Register(ctx context.Context, name string, e registered.Entry) (registered.All, error)
	Deregister(ctx context.Context, name string) (registered.All, error)
	// Watch tells until ctx ends; report gets the outcome of each read.
	Watch(ctx context.Context, tell chan<- registered.All, report func(error)) error
}

// operator carries out what operators ask for. It implements api.Operator.
type operator struct {
	store store
	loop  *loop
}

// do runs f in the loop and waits for its end.
func (o *operator) do(ctx context.Context, f func(context.Context)) error {
	done := make(chan struct{})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case o.loop.calls <- func(ctx context.Context) { defer close(done); f(ctx) }:
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return nil
	}
}

// Register implements api.Operator. It answers with the verdict, which needs no round trip
// through the watch.
func (o *operator) Register(ctx context.Context, r api.Registration) (registry.VTEP, error) {
	entry := registered.Entry{IP: r.IP.String(), Since: time.Now().UTC().Truncate(time.Second)}
	for _, p := range r.PodCIDRs {
		entry.PodCIDRs = append(entry.PodCIDRs, p.String())
	}
	call, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	all, err := o.store.Register(call, r.Name, entry)
	if err != nil {
		return registry.VTEP{}, err
	}
	name := registered.Prefix + r.Name
	var v registry.VTEP
	var known bool
	if err := o.do(ctx, func(ctx context.Context) {
		o.loop.register(ctx, all)
		v, known = o.loop.vteps.Get(name)
	}); err != nil {
		return registry.VTEP{}, err
	}
	if !known {
		return registry.VTEP{}, fmt.Errorf("VTEP %s was registered, and removed by somebody else at once", r.Name)
	}
	return v, nil
}

// Deregister implements api.Operator.
func (o *operator) Deregister(ctx context.Context, name string) error {
	call, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	left, err := o.store.Deregister(call, name)
	if err != nil {
		return err
	}
	return o.do(ctx, func(ctx context.Context) { o.loop.register(ctx, left) })
}

// Publication implements api.Operator.
func (o *operator) Publication(ctx context.Context) (p api.Publication, err error) {
	err = o.do(ctx, func(context.Context) { p = o.loop.publication() })
	return p, err
}

// register takes all registered VTEPs, as a watch or the answer to a call tells them,
// whichever comes first.
func (l *loop) register(ctx context.Context, all registered.All) {
	if older(all.Version, l.registrations) {
		return
	}
	if all.Version != "" {
		l.registrations = all.Version
	}
	ctx, span := l.tracer.Start(ctx, "vtep.change")
	defer span.End()
	l.known[registry.Registered] = true
	l.tellAll(ctx, l.registry.Reset(registry.Registered, all.Nodes))
}

// publication is what is known of Cilium's side.
func (l *loop) publication() api.Publication {
	if l.watcher != nil {
		p := api.Publication{Floating: true, Problems: l.watcher.problems(), Behind: l.watcher.behind(), Settings: l.watcher.want.Text()}
		if !l.watcher.read {
			p.Problems = []string{"cilium-config was not read yet"}
		}
		return p
	}
	t := l.publisher.target
	p := api.Publication{APIVersion: t.Dialect.APIVersion(), Standings: l.publisher.progress.All()}
	if !t.Dialect.Known() {
		p.Problems = append(p.Problems, "the API server serves no CiliumVTEPConfig of a form that is known")
		return p
	}
	p.Object = t.Key()
	// What is no number was not written by a gateway.
	p.Epoch, _ = strconv.ParseUint(l.publisher.objects[p.Object].Epoch, 10, 64)
	slices.SortFunc(p.Standings, func(a, b api.Standing) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Endpoint, b.Endpoint))
	})
	for _, text := range []string{l.publisher.trouble, l.publisher.conflicts} {
		if text != "" {
			p.Problems = append(p.Problems, text)
		}
	}
	return p
}
