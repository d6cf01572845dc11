package config

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/cli"
)

func TestDefaults(t *testing.T) {
	c, err := Parse([]string{"--gateway-id=gw1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.LeaseNamespace != "kube-system" || c.LeaseName != "eks-hybrid-gateway" || len(c.Shards) != 1 || c.Shards[0] != (Shard{Name: "default"}) || c.HTTPListen.String() != ":9811" {
		t.Errorf("got %+v", c)
	}
	if c.LeaseDuration != 3*time.Second || c.RenewDeadline != 2*time.Second || c.RetryPeriod != 250*time.Millisecond || c.NodeIP.IsValid() ||
		c.Scheduling != Realtime {
		t.Errorf("got %+v", c)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("HYBRID_GATEWAY_LEASE_DURATION", "6s")
	t.Setenv("HYBRID_GATEWAY_NODE_IP", "10.0.0.10")
	t.Setenv("KUBECONFIG", "/etc/kubeconfig")
	c, err := Parse(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.LeaseDuration != 6*time.Second || c.NodeIP.String() != "10.0.0.10" || c.Kubeconfig != "/etc/kubeconfig" {
		t.Errorf("got %+v", c)
	}
}

// A wrong flag is told on one line that names it, its value and what is allowed.
func TestWrongFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--lease-name=Gateway_1"}, []string{"--lease-name", "Gateway_1", "eks-hybrid-gateway"}},
		{[]string{"--lease-namespace="}, []string{"--lease-namespace", `""`}},
		{[]string{"--shards=Zone A"}, []string{"--shards", "Zone A", "zone-a"}},
		{[]string{"--shards=zone-a="}, []string{"--shards", "zone-a="}},
		{[]string{"--shards=a,b=x,a=y"}, []string{"--shards", `"a"`, "twice"}},
		{[]string{"--shards=a,b,c,d,e,f,g,h,i"}, []string{"--shards", "8", "9"}},
		{[]string{"--retry-period=1ms"}, []string{"--retry-period", "1ms", "20ms"}},
		{[]string{"--retry-period=soon"}, []string{"--retry-period", "soon"}},
		{[]string{"--renew-deadline=300ms"}, []string{"--renew-deadline", "300ms", "--retry-period=250ms"}},
		{[]string{"--lease-duration=2s"}, []string{"--lease-duration", "2s", "--renew-deadline=2s"}},
		{[]string{"--lease-duration=1h"}, []string{"--lease-duration", "1h", "1m"}},
		{[]string{"--handover-timeout=-1s"}, []string{"--handover-timeout", "-1s"}},
		{[]string{"--node-ip=fe80::1"}, []string{"--node-ip", "fe80::1", "IPv4"}},
		{[]string{"--http-listen=9811"}, []string{"--http-listen", "9811"}},
		{[]string{"--scheduling=fast"}, []string{"--scheduling", "fast", "realtime"}},
		{[]string{"--no-such-flag"}, []string{"--no-such-flag"}},
	} {
		_, err := Parse(c.args, io.Discard)
		var usage *cli.UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%v: error %v, want a usage error", c.args, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v: %q, want one line with %q", c.args, err, want)
			}
		}
	}
}
