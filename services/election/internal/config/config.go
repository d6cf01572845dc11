// Package config is election's command line, parsed into typed values.
package config

import (
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/netaddr"
)

// Config is what election is told.
type Config struct {
	daemon.Common
	RecordFlags
	Kubeconfig      string        `help:"Kubeconfig file for the API server. When not given: the pod's service account." env:"KUBECONFIG" placeholder:"FILE"`
	LeaseNamespace  string        `help:"Namespace of the Lease that is the leadership record." default:"kube-system" placeholder:"NAME"`
	LeaseName       string        `help:"Name of the Lease." default:"eks-hybrid-gateway" placeholder:"NAME"`
	Shards          []Shard       `help:"Shards of the leadership, of each of which one gateway is active; with the id, network interface or zone of the gateway that shall lead it whenever it can." default:"default" sep:"," placeholder:"NAME[=GATEWAY]"`
	LeaseDuration   time.Duration `help:"How long others leave the record alone after they last saw it change." default:"3s" placeholder:"DURATION"`
	RenewDeadline   time.Duration `help:"How long the leader may act after the start of its last successful renewal." default:"2s" placeholder:"DURATION"`
	RetryPeriod     time.Duration `help:"Time between renewals, and between tries." default:"250ms" placeholder:"DURATION"`
	HandoverTimeout time.Duration `help:"How long a leader that was told to stop waits for its successor's routes to be in place." default:"10s" placeholder:"DURATION"`
	UnhealthyGrace  time.Duration `help:"How long a leader whose dataplane, route-sync or vtep-registry does not serve keeps leading although another gateway could." default:"5s" placeholder:"DURATION"`
	NodeIP          netaddr.IPv4  `name:"node-ip" help:"IPv4 address of this node in the VPC. When not given: the address of the tunnel, as dataplane tells it." placeholder:"ADDR"`
	Scheduling      string        `help:"How the kernel schedules this process: ${enum}. realtime is before all processes that share the processors fairly; it takes the capability SYS_NICE, without which it is normal." enum:"realtime,normal" default:"realtime" placeholder:"CLASS"`
	PeerFlags
}

// Realtime is a value of --scheduling.
const Realtime = "realtime"

const (
	// leastRetryPeriod keeps a mistyped value from flooding the API server.
	leastRetryPeriod = 20 * time.Millisecond
	// longestLease keeps a mistyped value from stopping failover.
	longestLease = time.Minute
	// longestName leaves room for the name of a shard in what Kubernetes takes for a name.
	longestName = 253 - 33
)

// Parse reads the command line and the environment; see daemon.ParseFlags.
func Parse(args []string, out io.Writer) (Config, error) {
	var c Config
	err := daemon.ParseFlags(daemon.Election, "Decides, with the other gateways, which one is active.", ":9811", &c, args, out)
	return c, err
}

// Validate is called by kong once all flags have their values.
func (c *Config) Validate() error {
	for _, name := range []struct{ flag, value string }{
		{"--lease-namespace", c.LeaseNamespace}, {"--lease-name", c.LeaseName},
	} {
		if len(name.value) > longestName || len(validation.IsDNS1123Subdomain(name.value)) > 0 {
			return fmt.Errorf("%s=%q: want the name of a Kubernetes object, such as eks-hybrid-gateway", name.flag, name.value)
		}
	}
	if err := c.RecordFlags.validate(); err != nil {
		return err
	}
	if err := validateShards(c.Shards); err != nil {
		return err
	}
	switch {
	case c.RetryPeriod < leastRetryPeriod:
		return fmt.Errorf("--retry-period=%v: want at least %v", c.RetryPeriod, leastRetryPeriod)
	case c.RenewDeadline < 2*c.RetryPeriod:
		return fmt.Errorf("--renew-deadline=%v: want at least twice --retry-period=%v", c.RenewDeadline, c.RetryPeriod)
	case c.LeaseDuration <= c.RenewDeadline:
		return fmt.Errorf("--lease-duration=%v: want more than --renew-deadline=%v, so that the old leader stops before the next begins", c.LeaseDuration, c.RenewDeadline)
	case c.LeaseDuration > longestLease:
		return fmt.Errorf("--lease-duration=%v: want at most %v", c.LeaseDuration, longestLease)
	case c.HandoverTimeout <= 0:
		return fmt.Errorf("--handover-timeout=%v: want more than 0", c.HandoverTimeout)
	case c.UnhealthyGrace < 0:
		return fmt.Errorf("--unhealthy-grace=%v: want 0 or more", c.UnhealthyGrace)
	}
	return c.PeerFlags.validate(c.GatewayID, c.LeaseDuration)
}
