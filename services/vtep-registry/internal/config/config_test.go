package config_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/libs/cli"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/app"
)

var needed = []string{"--vpc-cidrs=10.0.0.0/16,10.1.0.0/16", "--pod-cidrs=100.64.0.0/10", "--node-cidrs=192.168.0.0/16"}

func TestEtcd(t *testing.T) {
	base := []string{"--vpc-cidrs=10.0.0.0/16", "--pod-cidrs=100.64.0.0/10", "--node-cidrs=192.168.0.0/16"}
	all := []string{"--etcd-endpoints=https://10.0.0.5:2379,https://10.0.0.6:2379", "--etcd-ca=ca", "--etcd-cert=cert", "--etcd-key=key"}
	c, err := app.Parse(slices.Concat(base, all), io.Discard)
	if err != nil || len(c.EtcdEndpoints) != 2 || c.EtcdPrefix != "/hybrid-gateway" || c.EtcdFiles().Key != "key" {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, bad := range []struct {
		args []string
		want string
	}{
		{all[:3], "want --etcd-key too"},
		{all[1:2], "--etcd-ca=ca: is only of use with --etcd-endpoints"},
		{[]string{"--etcd-endpoints=http://10.0.0.5:2379"}, "want https://HOST:PORT"},
		{append(slices.Clone(all), "--etcd-prefix=a/"), "--etcd-prefix"},
	} {
		if _, err := app.Parse(slices.Concat(base, bad.args), io.Discard); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%v: got %v", bad.args, err)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Setenv("HYBRID_GATEWAY_NODE_SELECTOR", "")
	t.Setenv("KUBECONFIG", "/etc/kubeconfig")
	c, err := app.Parse(needed, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.VPCCIDRs, c.PodCIDRs, c.NodeCIDRs); got != "[10.0.0.0/16 10.1.0.0/16] [100.64.0.0/10] [192.168.0.0/16]" {
		t.Error(got)
	}
	if c.Kubeconfig != "/etc/kubeconfig" || c.VTEPConfigName != "" || c.Shard != "default" || c.HTTPListen.String() != ":9812" {
		t.Errorf("got %+v", c)
	}
	if c.NodeSelector != "" {
		t.Errorf("an empty selector must select all, got %q", c.NodeSelector)
	}
}

func TestPrintCiliumConfig(t *testing.T) {
	var out strings.Builder
	_, err := app.Parse(append(needed, "--vtep-mode=floating", "--floating-vtep=198.18.0.10/32", "--print-cilium-config"), &out)
	if !errors.Is(err, cli.ErrHelp) {
		t.Fatal(err)
	}
	if want := `cidr: "10.0.0.0/16 10.1.0.0/16"`; !strings.Contains(out.String(), want) {
		t.Errorf("got %s", out.String())
	}
}

func TestWrongFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--vpc-cidrs=10.0.0.0/16 --pod-cidrs=10.0.4.0/22 --node-cidrs=192.168.0.0/16":                                                                                                   "--pod-cidrs=10.0.4.0/22 overlaps --vpc-cidrs=10.0.0.0/16",
		"--vpc-cidrs=10.0.0.0/16 --pod-cidrs=100.64.0.0/10 --node-cidrs=100.64.0.0/16":                                                                                                  "--node-cidrs=100.64.0.0/16 overlaps --pod-cidrs=100.64.0.0/10",
		"--vpc-cidrs=10.0.0.0/16,10.0.0.0/8 --pod-cidrs=100.64.0.0/10 --node-cidrs=192.168.0.0/16":                                                                                      "--vpc-cidrs=10.0.0.0/8 overlaps --vpc-cidrs=10.0.0.0/16",
		"--vpc-cidrs=10.0.0.1/16 --pod-cidrs=100.64.0.0/10 --node-cidrs=192.168.0.0/16":                                                                                                 `"10.0.0.1/16" has bits set below its mask: write 10.0.0.0/16`,
		"--vpc-cidrs=fd00::/8 --pod-cidrs=100.64.0.0/10 --node-cidrs=192.168.0.0/16":                                                                                                    `"fd00::/8" is not an IPv4 CIDR`,
		"--vpc-cidrs=10.0.0.0/16 --pod-cidrs= --node-cidrs=192.168.0.0/16":                                                                                                              "--pod-cidrs",
		"--vpc-cidrs=10.0.0.0/16 --node-cidrs=192.168.0.0/16":                                                                                                                           "--pod-cidrs",
		"--vpc-cidrs=10.0.0.0/24,10.0.1.0/24,10.0.2.0/24,10.0.3.0/24,10.0.4.0/24,10.0.5.0/24,10.0.6.0/24,10.0.7.0/24,10.0.8.0/24 --pod-cidrs=100.64.0.0/10 --node-cidrs=192.168.0.0/16": "--vpc-cidrs has 9 networks: Cilium takes at most 8",
		strings.Join(needed, " ") + " --service-cidrs=100.64.0.0/10":                                                                                                                    "--service-cidrs=100.64.0.0/10 leaves nothing of --pod-cidrs=100.64.0.0/10",
		strings.Join(needed, " ") + " --underlay-cidrs=100.0.0.0/8":                                                                                                                     "--underlay-cidrs=100.0.0.0/8 leaves nothing of --pod-cidrs=100.64.0.0/10",
		strings.Join(needed, " ") + " --vtep-config-name=Hybrid":                                                                                                                        `--vtep-config-name="Hybrid"`,
		strings.Join(needed, " ") + " --node-selector=a=b=c":                                                                                                                            `--node-selector="a=b=c": want a label selector such as key=value`,
		strings.Join(needed, " ") + " --floating-vtep=198.18.0.10/32":                                                                                                                   "--floating-vtep=198.18.0.10/32 is of no use with --vtep-mode=published",
		strings.Join(needed, " ") + " --vtep-mode=floating":                                                                                                                             `--floating-vtep="": want one address, such as 198.18.0.10/32`,
		strings.Join(needed, " ") + " --vtep-mode=floating --floating-vtep=198.18.0.0/24":                                                                                               `--floating-vtep="198.18.0.0/24": want one address`,
		strings.Join(needed, " ") + " --vtep-mode=floating --floating-vtep=10.0.0.1/32":                                                                                                 "--floating-vtep=10.0.0.1/32 lies within --vpc-cidrs=10.0.0.0/16",
		strings.Join(needed, " ") + " --vtep-mode=floating --floating-vtep=198.18.0.10/32 --vpc-cidrs=10.2.0.0/24":                                                                      "--vpc-cidrs: cilium-config has one mask for all networks",
		strings.Join(needed, " ") + " --vtep-mode=magic":                                                                                                                                "--vtep-mode",
		strings.Join(needed, " ") + " --print-cilium-config":                                                                                                                            "--print-cilium-config has nothing to print with --vtep-mode=published",
		strings.Join(needed, " ") + " --shard=":                                                                                                                                         `--shard=""`,
		strings.Join(needed, " ") + " --http-listen=9812":                                                                                                                               `--http-listen: "9812"`,
	} {
		_, err := app.Parse(strings.Fields(args), io.Discard)
		var usage *cli.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s:\n got %v\nwant %s", args, err, want)
		}
	}
}
