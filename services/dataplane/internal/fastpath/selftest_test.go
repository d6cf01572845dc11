package fastpath

import (
	"net/netip"
	"testing"

	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/netnstest"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	local  = netip.MustParseAddr("10.0.1.10")
	device = plan.Device{Name: "hybrid_vxlan0", VNI: 2, Port: 8472, Local: local, MAC: netaddr.VTEPMAC(local)}
	vpc    = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.9.0.0/16")}
)

// TestPrivilegedSelfTest: this kernel does what the fast path needs.
func TestPrivilegedSelfTest(t *testing.T) {
	netnstest.New(t).Run(t, func() {
		f, err := Open(Config{Device: device, Node: local, VPC: vpc})
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	})
}
