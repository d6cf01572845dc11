// Package status joins the four event streams of a gateway into one status.
package status

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
)

// RouteItem is an item of the Routes stream; exactly one field is set.
type RouteItem struct {
	Interface   *routesv1.Interface
	Route       *routesv1.Route
	Convergence *routesv1.Convergence
	Permission  *routesv1.Permission
}

// Time is the present, on both clocks that a status needs.
type Time struct {
	Wall time.Time
	// Boot is CLOCK_BOOTTIME, the clock of Leadership.valid_until_boottime.
	Boot time.Duration
}

// Joined holds what the streams last said. It is safe for concurrent use.
type Joined struct {
	gateway, version string

	mu         sync.Mutex
	leadership stream[*leadershipv1.Leadership]
	tunnel     stream[*tunnelv1.Tunnel]
	vteps      stream[*vtepsv1.Vtep]
	routes     stream[RouteItem]
	changed    chan struct{}
}

type stream[V any] struct {
	feed.Mirror[V]
	service string
	since   time.Time
}

// New makes a status of the named gateway that knows nothing yet.
func New(gateway, version string, now time.Time) *Joined {
	return &Joined{
		gateway:    gateway,
		version:    version,
		leadership: stream[*leadershipv1.Leadership]{service: daemon.Election, since: now},
		vteps:      stream[*vtepsv1.Vtep]{service: daemon.VtepRegistry, since: now},
		tunnel:     stream[*tunnelv1.Tunnel]{service: daemon.Dataplane, since: now},
		routes:     stream[RouteItem]{service: daemon.RouteSync, since: now},
		changed:    make(chan struct{}),
	}
}

// Leadership takes over what election said.
func (j *Joined) Leadership(u feed.Update[*leadershipv1.Leadership], now time.Time) {
	apply(j, &j.leadership, u, now)
}

// Tunnel takes over what dataplane said.
func (j *Joined) Tunnel(u feed.Update[*tunnelv1.Tunnel], now time.Time) { apply(j, &j.tunnel, u, now) }

// Vteps takes over what vtep-registry said.
func (j *Joined) Vteps(u feed.Update[*vtepsv1.Vtep], now time.Time) { apply(j, &j.vteps, u, now) }

// Routes takes over what route-sync said.
func (j *Joined) Routes(u feed.Update[RouteItem], now time.Time) { apply(j, &j.routes, u, now) }

func apply[V any](j *Joined, s *stream[V], u feed.Update[V], now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	was := s.Connected
	s.Apply(u)
	if s.Connected != was {
		s.since = now
	}
	close(j.changed)
	j.changed = make(chan struct{})
}

// Missing names the services that have never given a whole snapshot.
func (j *Joined) Missing() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var missing []string
	for service, synced := range map[string]bool{
		j.leadership.service: j.leadership.Synced(),
		j.vteps.service:      j.vteps.Synced(),
		j.tunnel.service:     j.tunnel.Synced(),
		j.routes.service:     j.routes.Synced(),
	} {
		if !synced {
			missing = append(missing, service)
		}
	}
	slices.Sort(missing)
	return missing
}

// Connected tells for each service whether its stream is up.
func (j *Joined) Connected() map[string]bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return map[string]bool{
		j.leadership.service: j.leadership.Connected,
		j.vteps.service:      j.vteps.Connected,
		j.tunnel.service:     j.tunnel.Connected,
		j.routes.service:     j.routes.Connected,
	}
}

// Status is the status as of now, and a channel that is closed when it changes.
func (j *Joined) Status(now Time) (*adminv1.Status, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := &adminv1.Status{
		GatewayId: j.gateway,
		Version:   j.version,
		Time:      timestamppb.New(now.Wall),
		Services: []*adminv1.ServiceStatus{
			j.leadership.status(), j.vteps.status(), j.tunnel.status(), j.routes.status(),
		},
		Tunnels: sorted(j.tunnel.Items),
		Vteps:   sorted(j.vteps.Items),
	}
	converged := map[string]uint64{}
	for _, item := range sorted(j.routes.Items) {
		switch {
		case item.Interface != nil:
			s.OwnInterface = item.Interface
		case item.Route != nil:
			s.Routes = append(s.Routes, item.Route)
		case item.Convergence != nil:
			converged[item.Convergence.GetShard()] = item.Convergence.GetEpoch()
		case item.Permission != nil:
			s.MissingPermissions = append(s.MissingPermissions, item.Permission)
		}
	}
	slices.SortFunc(s.Routes, func(a, b *routesv1.Route) int {
		return cmp.Or(cmp.Compare(a.GetTableId(), b.GetTableId()), cmp.Compare(a.GetDestination(), b.GetDestination()))
	})
	for _, l := range sorted(j.leadership.Items) {
		s.Shards = append(s.Shards, &adminv1.ShardStatus{
			Leadership:     l,
			ValidFor:       durationpb.New(validFor(l, now.Boot)),
			ConvergedEpoch: converged[l.GetShard()],
			Peers:          peersOf(l, now),
		})
	}
	return s, j.changed
}

// peersOf has the times of the peers by the wall clock.
func peersOf(l *leadershipv1.Leadership, now Time) []*adminv1.PeerStatus {
	var peers []*adminv1.PeerStatus
	for _, p := range l.GetPeers() {
		status := &adminv1.PeerStatus{Peer: p}
		if p.GetSinceBoottime() != 0 {
			status.Since = timestamppb.New(now.Wall.Add(time.Duration(p.GetSinceBoottime()) - now.Boot))
		}
		peers = append(peers, status)
	}
	return peers
}

func validFor(l *leadershipv1.Leadership, now time.Duration) time.Duration {
	if l.GetRole() != leadershipv1.Role_ROLE_ACTIVE {
		return 0
	}
	return max(0, time.Duration(l.GetValidUntilBoottime())-now)
}

func (s *stream[V]) status() *adminv1.ServiceStatus {
	st := &adminv1.ServiceStatus{
		Name:      s.service,
		Connected: s.Connected,
		Since:     timestamppb.New(s.since),
		Revision:  s.Position.Revision,
	}
	if s.Lost != nil {
		st.Error = s.Lost.Error()
	}
	return st
}

// sorted are the values of m in the order of their keys.
func sorted[V any](m map[string]V) []V {
	values := make([]V, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[key])
	}
	return values
}
