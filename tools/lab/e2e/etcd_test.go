package e2e

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// The lab of this test has names that are not those of the others.
const (
	etcdTestDir    = "/run/hgw-e2e-etcd"
	etcdTestPrefix = "hgt-"
)

// TestPrivilegedEtcd keeps the leadership record in an etcd of its own: a node
// dies, and a planned hand-over follows.
func TestPrivilegedEtcd(t *testing.T) {
	s := up(t, lab.Options{Prefix: etcdTestPrefix, Dir: etcdTestDir, Backend: lab.Etcd})
	t.Run("node dies", s.testNodeDies)
	t.Run("hand-over", s.testHandOver)
	t.Run("no Lease", s.testNoLease)
}

// testNoLease expects that nothing but etcd was asked for the record.
func (s *suite) testNoLease(t *testing.T) {
	list, err := s.Cluster.Clients.CoordinationV1().Leases("kube-system").List(within(t), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, lease := range list.Items {
		if strings.HasPrefix(lease.Name, "eks-hybrid-gateway") {
			t.Errorf("there is a Lease %s, held by %v", lease.Name, lease.Spec.HolderIdentity)
		}
	}
}
