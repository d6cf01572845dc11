package app_test

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/daemon"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
)

// valve keeps calls back while it is shut, and lets streams alone.
type valve struct {
	mu   sync.Mutex
	shut bool
}

func (v *valve) set(shut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = shut
}

func (v *valve) intercept(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	v.mu.Lock()
	shut := v.shut
	v.mu.Unlock()
	if shut {
		<-ctx.Done() // of the caller's patience
		return nil, ctx.Err()
	}
	return next(ctx, r)
}

// A gateway of which a service hangs does not stand, though all its streams are open; it stands when the service goes on.
func TestHungService(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	g := newGateway(t, 1, kubeconfig)
	other := newGateway(t, 2, kubeconfig)
	other.serve()
	other.start()
	other.untilRole(active)

	valves := make(map[string]*valve)
	for _, name := range []string{daemon.Dataplane, daemon.RouteSync, daemon.VtepRegistry} {
		valves[name] = &valve{}
		s := daemon.NewServer(grpc.ChainUnaryInterceptor(valves[name].intercept))
		s.SetServing(true)
		tunnelv1.RegisterTunnelServiceServer(s, &tunnelServer{log: g.tunnel, opened: &g.streams})
		routesv1.RegisterRoutesServiceServer(s, &routesServer{log: g.routes, opened: &g.streams})
		background(t, name, func(ctx context.Context) error {
			return s.ServeSocket(ctx, filepath.Join(g.dir, name+".sock"))
		})
	}
	g.start()
	g.untilRole(standby)
	for name, v := range valves {
		v.set(true)
		g.untilRole(observer)
		if status, body := g.get("/readyz"); status != 503 || !strings.Contains(body, name+" hangs: it does not answer") {
			t.Errorf("/readyz: %d %s", status, body)
		}
		v.set(false)
		g.untilRole(standby)
	}
}
