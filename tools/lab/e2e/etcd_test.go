package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// The lab of this test has names that are not those of the others.
const (
	etcdTestDir    = "/run/hgw-e2e-etcd"
	etcdTestPrefix = "hgt-"
)

// TestPrivilegedEtcd keeps the leadership record in an etcd of its own: a node
// dies, a planned hand-over follows, and other changes of leaders.
func TestPrivilegedEtcd(t *testing.T) {
	s := up(t, lab.Options{Prefix: etcdTestPrefix, Dir: etcdTestDir, Backend: lab.Etcd})
	t.Run("node dies", s.testNodeDies)
	t.Run("hand-over", s.testHandOver)
	t.Run("a VTEP is registered", s.testRegister)
	t.Run("no Lease", s.testNoLease)
	t.Run("leadership moves", s.testMoves)
	t.Run("history of the record", s.testHistory)
}

// testRegister registers a VTEP at one gateway, and expects it in the kernels of both.
func (s *suite) testRegister(t *testing.T) {
	h := s.healthy(t)
	before := s.entries(t)
	if out, err := s.hgctl(within(t), h.Standby, "vteps", "register", "printer", "--ip=192.168.1.99", "--cidr=100.64.99.0/24"); err != nil || out != "registered/printer is admitted\n" {
		t.Fatalf("%q, %v", out, err)
	}
	for _, g := range s.Gateways {
		err := lab.Poll(within(t), g.Name+" to send to it", func(context.Context) error {
			entries, err := g.KernelEntries()
			if text := strings.Join(entries, " "); err != nil || !strings.Contains(text, "100.64.99.0/24") || !strings.Contains(text, "192.168.1.99") {
				return fmt.Errorf("it holds %v, %w", entries, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Cluster.Clients.CoreV1().ConfigMaps("kube-system").Get(within(t), "hybrid-gateway-vteps", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("there is a ConfigMap, or %v", err)
	}
	if _, err := s.hgctl(within(t), h.Active, "vteps", "deregister", "printer"); err != nil {
		t.Error(err)
	}
	for _, g := range s.Gateways {
		if err := demo.WaitEntries(within(t), g, before[g.Name]); err != nil {
			t.Error(err)
		}
	}
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
