package config

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/libs/cli"
)

func TestDefaults(t *testing.T) {
	c, err := Parse([]string{"--vpc-cidrs=10.0.0.0/16"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeIP.IsValid() || c.UnderlayMTU != 0 || c.VNI != 2 || c.Port != 8472 || c.HTTPListen.String() != ":9813" || c.SocketDir != "/run/hybrid-gateway" || c.GatewayID == "" || !c.Guarded() || len(c.VPCCIDRs) != 1 || c.FastPath != FastPathAuto || c.Flow() {
		t.Errorf("got %+v", c)
	}
}

func TestFlagsAndEnvironment(t *testing.T) {
	t.Setenv("HYBRID_GATEWAY_NODE_IP", "10.0.1.10")
	t.Setenv("HYBRID_GATEWAY_UNDERLAY_MTU", "9001")
	c, err := Parse([]string{"--guard=off", "--vni=7", "--port=4789"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeIP.Addr != netip.MustParseAddr("10.0.1.10") || c.UnderlayMTU != 9001 || c.VNI != 7 || c.Port != 4789 || c.Guarded() {
		t.Errorf("got %+v", c)
	}
}

func TestBadFlags(t *testing.T) {
	cases := []struct{ arg, want string }{
		{"--node-ip=fd00::1", "--node-ip"},
		{"--node-ip=10.0.1", "--node-ip"},
		{"--underlay-mtu=100", `"100": want a number from 626 to 65535, or auto`},
		{"--underlay-mtu=big", "--underlay-mtu"},
		{"--vni=0", `"0": want a number from 1 to 16777215`},
		{"--vni=16777216", "--vni"},
		{"--port=70000", `"70000": want a number from 1 to 65535`},
		{"--http-listen=nowhere", "--http-listen"},
		{"--nonsense", "nonsense"},
		{"--guard=maybe", "--guard"},
		{"--fastpath=maybe", "--fastpath"},
		{"--programming=maybe", "--programming"},
		{"--vpc-cidrs=10.0.0.1/16", "--vpc-cidrs"},
		{"--floating-vtep=198.18.0.0/24", "--floating-vtep=198.18.0.0/24: want one address"},
		{"--floating-vtep=10.0.9.9/32", "--floating-vtep=10.0.9.9/32 lies within --vpc-cidrs=10.0.0.0/16"},
		{"--floating-vtep=224.0.0.1/32", "--floating-vtep: \"224.0.0.1\" is not an address of one host"},
	}
	for _, c := range cases {
		_, err := Parse([]string{c.arg, "--vpc-cidrs=10.0.0.0/16"}, io.Discard)
		var usage *cli.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", c.arg, err, c.want)
		}
	}
}

func TestFloating(t *testing.T) {
	c, err := Parse([]string{"--node-ip=10.0.1.10", "--vpc-cidrs=10.0.0.0/16", "--floating-vtep=198.18.0.10/32"}, io.Discard)
	if err != nil || c.Local(c.NodeIP.Addr) != netip.MustParseAddr("198.18.0.10") {
		t.Errorf("got %+v, %v", c, err)
	}
	if _, err := Parse([]string{"--node-ip=198.18.0.10", "--guard=off", "--floating-vtep=198.18.0.10/32"}, io.Discard); err == nil || !strings.Contains(err.Error(), "is --node-ip as well") {
		t.Errorf("got %v", err)
	}
}

func TestFlow(t *testing.T) {
	c, err := Parse([]string{"--programming=flow", "--vpc-cidrs=10.0.0.0/16"}, io.Discard)
	if err != nil || !c.Flow() {
		t.Errorf("got %+v, %v", c, err)
	}
	for arg, want := range map[string]string{"--guard=off": "needs the guard", "--fastpath=on": "--fastpath=on is not possible"} {
		var usage *cli.UsageError
		if _, err := Parse([]string{"--programming=flow", "--vpc-cidrs=10.0.0.0/16", arg}, io.Discard); !errors.As(err, &usage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", arg, err)
		}
	}
}

func TestGuardNeedsNetworks(t *testing.T) {
	_, err := Parse(nil, io.Discard)
	var usage *cli.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "--vpc-cidrs") || !strings.Contains(err.Error(), "--guard=off") {
		t.Errorf("got %v", err)
	}
}
