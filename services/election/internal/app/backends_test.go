package app_test

import (
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/etcdtest"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	"github.com/hybridgateway/gateway/services/election/internal/registertest"
)

// backend is a running backend of the record.
type backend struct {
	servers    registertest.Servers
	kubeconfig string
	flags      []string
}

// overBackends runs the test with each backend, on servers of its own.
func overBackends(t *testing.T, run func(*testing.T, backend)) {
	t.Run("lease", func(t *testing.T) {
		s := apiservertest.Start(t)
		run(t, backend{servers: s, kubeconfig: s.ServiceAccountKubeconfig(apiservertest.Election)})
	})
	t.Run("etcd", func(t *testing.T) {
		c := startEtcd(t)
		run(t, backend{servers: c, flags: etcdFlags(t, c)})
	})
}

// startEtcd starts three members that notice soon when one of them dies.
func startEtcd(t *testing.T) *etcdtest.Cluster {
	t.Helper()
	return etcdtest.Start(t, etcdtest.Options{Members: 3, HeartbeatInterval: 30 * time.Millisecond, ElectionTimeout: 300 * time.Millisecond})
}

func etcdFlags(t *testing.T, c *etcdtest.Cluster) []string {
	t.Helper()
	cert, key := c.Authority.Issue(t, "election")
	flags := []string{"--backend=etcd", "--etcd-ca=" + c.Authority.File, "--etcd-cert=" + cert, "--etcd-key=" + key}
	for _, e := range c.Endpoints() {
		flags = append(flags, "--etcd-endpoints="+e)
	}
	return flags
}

// gateway makes a node that keeps the record in the backend.
func (b backend) gateway(t *testing.T, id byte) *gateway {
	t.Helper()
	g := newGateway(t, id, b.kubeconfig)
	g.record = b.flags
	return g
}

// Each member of etcd dies in turn, among them the one that leads: the gateway keeps leading,
// and a standby stands by.
func TestEtcdMembersDie(t *testing.T) {
	c := startEtcd(t)
	// Much longer than a cluster on a busy machine needs for another leader.
	const deadline = 20 * time.Second
	b := backend{flags: append(etcdFlags(t, c), "--lease-duration=30s", "--renew-deadline="+deadline.String())}
	one, two := b.gateway(t, 1), b.gateway(t, 2)
	one.serve()
	two.serve()
	one.start()
	epoch := one.untilRole(active).GetEpoch()
	two.start()
	two.untilRole(standby)
	for _, m := range c.Members() {
		if err := m.Kill(); err != nil {
			t.Fatal(err)
		}
		killed := boottime.Now()
		l := one.until("a renewal without "+m.Name(), func(l *leadershipv1.Leadership) bool {
			return l.GetRole() != active || time.Duration(l.GetValidUntilBoottime()) > killed+deadline
		})
		if l.GetRole() != active || l.GetEpoch() != epoch {
			t.Fatalf("without %s the leader became %v", m.Name(), l)
		}
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
	}
	two.mu.Lock()
	defer two.mu.Unlock()
	if l := two.last; l.GetRole() != standby || l.GetEpoch() != epoch || l.GetHolder().GetId() != "gw1" {
		t.Errorf("the standby knows %v", l)
	}
}
