package config_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/cli"
	"github.com/hybridgateway/gateway/tools/lab/internal/config"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

func TestParse(t *testing.T) {
	c, err := config.Parse([]string{"demo", "--bin-dir=/x/bin", "--ec2-latency=20ms"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.Command != config.Demo || c.BinDir != "/x/bin" || c.Manifests != "/x/deploy/rbac" || c.EC2Latency != 20*time.Millisecond || c.Nodes != 3 {
		t.Errorf("parsed %+v", c)
	}
	for _, args := range [][]string{
		{"exec", "gw1", "--", "hgctl", "status", "--watch"},
		{"exec", "gw1", "hgctl", "status", "--watch"},
	} {
		c, err := config.Parse(args, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if c.Command != config.Exec || c.Host != "gw1" || !slices.Equal(c.Args, []string{"hgctl", "status", "--watch"}) {
			t.Errorf("%v: parsed %+v", args, c)
		}
	}
}

func TestParseBackend(t *testing.T) {
	for _, command := range []string{config.Demo, config.Up, config.Hold} {
		for arg, want := range map[string]lab.Backend{"": lab.Lease, "--backend=etcd": lab.Etcd} {
			c, err := config.Parse(strings.Fields(command+" "+arg), io.Discard)
			if err != nil || c.Backend != want {
				t.Errorf("%s %s: backend %q, %v, want %q", command, arg, c.Backend, err, want)
			}
		}
	}
	c, err := config.Parse([]string{config.BenchElection}, io.Discard)
	if err != nil || c.Rounds != 20 || !slices.Equal(c.Backends, []lab.Backend{lab.Lease, lab.Etcd}) {
		t.Errorf("parsed %+v, %v", c, err)
	}
}

func TestParseVTEPMode(t *testing.T) {
	for _, command := range []string{config.Demo, config.Up, config.Hold} {
		for arg, want := range map[string]lab.VTEPMode{"": lab.Published, "--vtep-mode=floating": lab.Floating} {
			c, err := config.Parse(strings.Fields(command+" "+arg), io.Discard)
			if err != nil || c.VTEPMode != want {
				t.Errorf("%s %s: mode %q, %v, want %q", command, arg, c.VTEPMode, err, want)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"bench-election --rounds=0", "--rounds=0: want 1 to 1000"},
		{"bench-election --backends=paper", "paper"},
		{"up --backend=paper", "paper"},
		{"up --vtep-mode=sinking", "sinking"},
		{"demo --nodes=0", "--nodes=0: want 1 to 200"},
		{"demo --ec2-latency=2h", "--ec2-latency=2h0m0s: want 0s to 1m"},
		{"demo --ec2-latency=fast", "--ec2-latency"},
		{"up --prefix=Lab", `--prefix="Lab": want`},
		{"up --prefix=much-too-long-", "1 to 8 characters"},
		{"up --dir=/", `--dir="/": want`},
		{"down --grace=-1s", "--grace=-1s: want 0s to 1h"},
		{"exec", "<host>"},
		{"dance", "dance"},
		{"", "demo"},
	} {
		_, err := config.Parse(strings.Fields(tt.args), io.Discard)
		var usage *cli.UsageError
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v, want one line with %q", tt.args, err, tt.want)
		}
	}
}

func TestHelp(t *testing.T) {
	var out strings.Builder
	if _, err := config.Parse([]string{"--help"}, &out); !errors.Is(err, cli.ErrHelp) {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"--ec2-latency", "$HYBRID_GATEWAY_LAB_EC2_LATENCY", "down", "exec"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help has no %s: %s", want, out.String())
		}
	}
}
