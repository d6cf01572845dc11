package config

import (
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/cli"
)

func parse(args ...string) (Config, error) {
	return Parse(append([]string{"--route-tables=rtb-1", "--pod-cidrs=100.64.0.0/16"}, args...), io.Discard)
}

func TestDefaults(t *testing.T) {
	c, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	if c.ENI != "" || c.Region != "" || c.Zone != "" || len(c.Gateways()) != 0 || c.ReconcileInterval != 10*time.Second ||
		c.Shard != "default" || c.HTTPListen != ":9814" {
		t.Errorf("got %+v", c)
	}
}

func TestFlagsAndEnvironment(t *testing.T) {
	t.Setenv("HYBRID_GATEWAY_ROUTE_TABLES", "rtb-0123456789abcdef0,rtb-2")
	t.Setenv("HYBRID_GATEWAY_GATEWAY_ENIS", "eni-7,eni-8")
	c, err := Parse([]string{"--pod-cidrs=100.64.0.0/16,100.65.0.0/16", "--eni=eni-1", "--region=eu-central-1", "--reconcile-interval=2s"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.Tables(), []string{"rtb-0123456789abcdef0", "rtb-2"}) ||
		!reflect.DeepEqual(c.Gateways(), []string{"eni-7", "eni-8"}) ||
		!reflect.DeepEqual(c.Destinations(), []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("100.65.0.0/16")}) ||
		c.ENI != "eni-1" || c.Region != "eu-central-1" || c.ReconcileInterval != 2*time.Second {
		t.Errorf("got %+v", c)
	}
}

func TestBadFlags(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--pod-cidrs=100.64.0.0/16", "--route-tables"},
		{"--route-tables=rtb-1", "--pod-cidrs"},
		{"--route-tables=rtb-1,vpc-2 --pod-cidrs=100.64.0.0/16", `--route-tables: "vpc-2": want the id of a route table`},
		{"--route-tables=rtb-1,rtb-1 --pod-cidrs=100.64.0.0/16", "--route-tables names rtb-1 twice"},
		{"--route-tables= --pod-cidrs=100.64.0.0/16", "--route-tables"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.1.0/16", `"100.64.1.0/16" has bits set below its mask`},
		{"--route-tables=rtb-1 --pod-cidrs=fd00::/64", "--pod-cidrs"},
		{"--route-tables=rtb-1 --pod-cidrs=0.0.0.0/0", `"0.0.0.0/0" is too wide`},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16,100.64.0.0/16", "--pod-cidrs names 100.64.0.0/16 twice"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --eni=i-1", `--eni: "i-1": want the id of a network interface`},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --gateway-enis=x", "--gateway-enis"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --reconcile-interval=1ms", "--reconcile-interval=1ms: want a duration from 1s to 5m0s"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --reconcile-interval=often", "--reconcile-interval"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --shard=", "--shard"},
	} {
		_, err := Parse(strings.Fields(c.args), io.Discard)
		var usage *cli.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", c.args, err, c.want)
		}
	}
}
