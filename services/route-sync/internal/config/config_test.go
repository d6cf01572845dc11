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
	if c.ENI != "" || c.Region != "" || c.Zone != "" || len(c.Plan().Gateways) != 0 || c.ReconcileInterval != 10*time.Second ||
		c.Shard != "default" || c.HTTPListen.String() != ":9814" {
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
	if !reflect.DeepEqual(c.Plan().Tables, []string{"rtb-0123456789abcdef0", "rtb-2"}) ||
		!reflect.DeepEqual(c.Plan().Gateways, []string{"eni-7", "eni-8"}) ||
		!reflect.DeepEqual(c.Plan().Destinations, []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("100.65.0.0/16")}) ||
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
		{"--route-tables=rtb-1 --pod-cidrs=fd00::1/64", "has bits set below its mask"},
		{"--route-tables=rtb-1 --pod-cidrs=fd::x/64", "is not an IPv6 CIDR"},
		{"--route-tables=rtb-1 --pod-cidrs=2000::/3", "is too wide"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --prefix-list=vpc-1", `--prefix-list: "vpc-1": want the id of a managed prefix list`},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --prefix-list=pl-1,pl-1", "--prefix-list names pl-1 twice"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --prefix-list=pl-1 --manage-prefix-list", "exclude each other"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --prefix-list-name=x", "want both or none"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --floating-vtep=198.18.0.0/24", "want one address"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --floating-vtep=100.64.0.9/32", "outside of the pod networks"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --floating-vtep-route-tables=rtb-2", "want both or none"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --on-last-exit=burn", "--on-last-exit"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --write-burst=-1", "--write-burst=-1"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --write-rate=0", "--write-rate=0"},
		{"--route-tables=rtb-1 --pod-cidrs=0.0.0.0/0", `"0.0.0.0/0" is too wide`},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16,100.64.0.0/16", "--pod-cidrs names 100.64.0.0/16 twice"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --eni=i-1", `--eni: "i-1": want the id of a network interface`},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --gateway-enis=x", "--gateway-enis"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --reconcile-interval=1ms", "--reconcile-interval=1ms: want a duration from 1s to 5m0s"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --reconcile-interval=often", "--reconcile-interval"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --shard=", "--shard"},
		{"--route-tables=rtb-1 --pod-cidrs=100.64.0.0/16 --shard=Zone", `--shard="Zone": want a name`},
		{"--route-tables=Zone=rtb-1 --pod-cidrs=100.64.0.0/16", `"Zone=rtb-1": want a shard`},
		{"--route-tables=a=vpc-1 --pod-cidrs=100.64.0.0/16", `"vpc-1": want the id of a route table`},
		{"--route-tables=a=rtb-1,b=rtb-1 --pod-cidrs=100.64.0.0/16", "--route-tables names rtb-1 twice"},
		{"--route-tables=a=rtb-1 --pod-cidrs=100.64.0.0/16 --floating-vtep=198.18.0.10/32 --floating-vtep-route-tables=b=rtb-2", `names shard "b"`},
		{"--route-tables=a=rtb-1,b=rtb-2 --pod-cidrs=100.64.0.0/16 --manage-prefix-list --prefix-list-name=x", "--prefix-list-name names one list"},
	} {
		_, err := Parse(strings.Fields(c.args), io.Discard)
		var usage *cli.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", c.args, err, c.want)
		}
	}
}

func TestPlan(t *testing.T) {
	c, err := parse("--manage-prefix-list", "--floating-vtep=198.18.0.10/32", "--adopt-routes", "--on-last-exit=keep", "--manage-source-dest-check")
	if err != nil {
		t.Fatal(err)
	}
	p := c.Plan()
	if p.Lists.Managed != "eks-hybrid-gateway-default-d7911c31" || p.Floating.String() != "198.18.0.10/32" || !reflect.DeepEqual(p.FloatingTables, []string{"rtb-1"}) ||
		!p.Adopt || p.RemoveLast || !p.ManageCheck || p.Bucket.Burst != 50 || p.Bucket.PerSecond != 5 {
		t.Errorf("got %+v", p)
	}
	c, err = parse("--prefix-list=pl-1,pl-2", "--floating-vtep=198.18.0.10/32", "--floating-vtep-route-tables=rtb-9", "--pod-cidrs=fd00:10::/56", "--write-burst=0")
	if err != nil {
		t.Fatal(err)
	}
	p = c.Plan()
	if !reflect.DeepEqual(p.Lists.IDs, []string{"pl-1", "pl-2"}) || p.Lists.Managed != "" || !reflect.DeepEqual(p.FloatingTables, []string{"rtb-9"}) ||
		!p.RemoveLast || p.Bucket.Burst != 0 || len(p.Destinations) != 2 {
		t.Errorf("got %+v", p)
	}
}

func TestPlansOfShards(t *testing.T) {
	c, err := Parse([]string{"--pod-cidrs=100.64.0.0/16", "--route-tables=zone-a=rtb-1,rtb-2,zone-b=rtb-3,zone-a=rtb-4", "--shard=main", "--write-burst=30",
		"--write-rate=6", "--manage-prefix-list", "--floating-vtep=198.18.0.10/32", "--floating-vtep-route-tables=zone-b=rtb-9"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for i, want := range []struct {
		shard            string
		tables, floating []string
	}{
		{"zone-a", []string{"rtb-1", "rtb-4"}, nil},
		{"main", []string{"rtb-2"}, nil},
		{"zone-b", []string{"rtb-3"}, []string{"rtb-9"}},
	} {
		p := c.Plans()[i]
		if p.Shard != want.shard || !reflect.DeepEqual(p.Tables, want.tables) || !reflect.DeepEqual(p.FloatingTables, want.floating) ||
			p.Floating.IsValid() != (want.floating != nil) || p.Bucket.Burst != 10 || p.Bucket.PerSecond != 2 {
			t.Errorf("got %+v, want %+v", p, want)
		}
		names[p.Lists.Managed] = true
	}
	if len(c.Plans()) != 3 || len(names) != 3 {
		t.Errorf("%d plans with the lists %v", len(c.Plans()), names)
	}
	if whole := c.Plan(); len(whole.AllTables()) != 5 {
		t.Errorf("all tables are %v", whole.AllTables())
	}
}

// However small the bucket is, each shard can make a call.
func TestSmallBucketOfShards(t *testing.T) {
	for burst, want := range map[string]float64{"0": 0, "1": 1, "3": 1.5} {
		c, err := Parse([]string{"--pod-cidrs=100.64.0.0/16", "--route-tables=zone-a=rtb-1,zone-b=rtb-2", "--write-burst=" + burst}, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Plans() {
			if p.Bucket.Burst != want {
				t.Errorf("--write-burst=%s: %s has a burst of %g, want %g", burst, p.Shard, p.Bucket.Burst, want)
			}
		}
	}
}
