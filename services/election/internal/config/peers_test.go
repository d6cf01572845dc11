package config

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/cli"
)

func TestPeerFlags(t *testing.T) {
	c, err := Parse([]string{"--gateway-id=gw1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.PeerKeyFile != "" || c.PeerListenAddr() != netip.MustParseAddrPort("0.0.0.0:9820") || c.PeerPeriod != 18*time.Millisecond || c.PeerMultiplier != 15 || c.UnhealthyGrace != 5*time.Second {
		t.Errorf("by default: %+v", c.PeerFlags)
	}
	c, err = Parse([]string{"--gateway-id=gw1", "--peer-key-file=/k", "--peer-listen=10.0.0.1:99", "--peers=10.0.0.2,10.0.0.3:7", "--peer-name=gateways.example"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:99"), netip.MustParseAddrPort("10.0.0.3:7")}
	if !slices.Equal(c.PeerAddrs(), want) || c.PeerListenAddr().String() != "10.0.0.1:99" || c.PeerName != "gateways.example" {
		t.Errorf("got %+v", c.PeerFlags)
	}
}

func TestWrongPeerFlags(t *testing.T) {
	with := func(args ...string) []string { return append(args, "--peer-key-file=/k") }
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--peers=10.0.0.2"}, []string{"--peer-key-file", "--peers"}},
		{[]string{"--peer-name=x"}, []string{"--peer-key-file", "--peer-name"}},
		{with("--peers=gw2"), []string{"--peers", "gw2", "IPv4"}},
		{with("--peers=0.0.0.0"), []string{"--peers", "0.0.0.0"}},
		{with("--peers=10.0.0.2:0"), []string{"--peers", "10.0.0.2:0", "65535"}},
		{with("--peer-listen=:0"), []string{"--peer-listen", "0"}},
		{with("--peer-listen=here"), []string{"--peer-listen", "here"}},
		{with("--peer-period=1ms"), []string{"--peer-period", "1ms", "5ms"}},
		{with("--peer-multiplier=2"), []string{"--peer-multiplier", "2", "3"}},
		{with("--peer-period=200ms"), []string{"--peer-multiplier=15", "--lease-duration=3s", "--peer-period=200ms"}},
		{with("--gateway-id=" + strings.Repeat("x", 65)), []string{"--gateway-id", "64"}},
		{[]string{"--unhealthy-grace=-1s"}, []string{"--unhealthy-grace", "-1s"}},
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
