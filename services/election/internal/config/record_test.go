package config

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/libs/cli"
)

// etcdArgs choose etcd completely; args come behind them.
func etcdArgs(args ...string) []string {
	return append([]string{
		"--gateway-id=gw1", "--backend=etcd", "--etcd-endpoints=https://10.0.0.5:2379,https://etcd-2.example:2379",
		"--etcd-ca=/etcd/ca.crt", "--etcd-cert=/etcd/tls.crt", "--etcd-key=/etcd/tls.key",
	}, args...)
}

func TestRecordFlags(t *testing.T) {
	c, err := Parse([]string{"--gateway-id=gw1"}, io.Discard)
	if err != nil || c.Backend != Lease {
		t.Errorf("the default backend is %q (%v)", c.Backend, err)
	}
	if c, err = Parse(etcdArgs(), io.Discard); err != nil {
		t.Fatal(err)
	}
	if c.Backend != Etcd || c.EtcdCA != "/etcd/ca.crt" || c.EtcdCert != "/etcd/tls.crt" || c.EtcdKey != "/etcd/tls.key" || c.EtcdPrefix != "/hybrid-gateway" {
		t.Errorf("got %+v", c.RecordFlags)
	}
	if want := []string{"https://10.0.0.5:2379", "https://etcd-2.example:2379"}; !slices.Equal(c.EtcdEndpoints, want) {
		t.Errorf("the endpoints are %q, want %q", c.EtcdEndpoints, want)
	}
	t.Setenv("HYBRID_GATEWAY_ETCD_PREFIX", "/clusters/one")
	if c, err = Parse(etcdArgs(), io.Discard); err != nil || c.EtcdPrefix != "/clusters/one" {
		t.Errorf("the prefix is %q (%v)", c.EtcdPrefix, err)
	}
}

func TestWrongRecordFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--backend=zookeeper"}, []string{"--backend", "zookeeper", "lease", "etcd"}},
		{[]string{"--backend=etcd"}, []string{"--backend=etcd", "--etcd-endpoints", "https://"}},
		{[]string{"--etcd-endpoints=https://10.0.0.5:2379"}, []string{"--etcd-endpoints=https://10.0.0.5:2379", "--backend=etcd", "lease"}},
		{[]string{"--etcd-key=/k"}, []string{"--etcd-key=/k", "--backend=etcd", "lease"}},
		{etcdArgs("--etcd-ca="), []string{"--etcd-ca", "PEM"}},
		{etcdArgs("--etcd-cert="), []string{"--etcd-cert", "PEM"}},
		{etcdArgs("--etcd-key="), []string{"--etcd-key", "PEM"}},
		{etcdArgs("--etcd-endpoints=http://10.0.0.5:2379"), []string{"--etcd-endpoints=http://10.0.0.5:2379", "https://"}},
		{etcdArgs("--etcd-endpoints=10.0.0.5:2379"), []string{"--etcd-endpoints=10.0.0.5:2379", "https://"}},
		{etcdArgs("--etcd-endpoints=https://10.0.0.5"), []string{"https://10.0.0.5:", "HOST:PORT"}},
		{etcdArgs("--etcd-endpoints=https://10.0.0.5:2379/v3"), []string{"/v3", "HOST:PORT"}},
		{etcdArgs("--etcd-endpoints=https://10.0.0.5:2379"), []string{"https://10.0.0.5:2379", "twice"}},
		{etcdArgs("--etcd-prefix="), []string{"--etcd-prefix", "/hybrid-gateway"}},
		{etcdArgs("--etcd-prefix=/"), []string{"--etcd-prefix", "/hybrid-gateway"}},
		{etcdArgs("--etcd-prefix=hybrid-gateway/"), []string{"--etcd-prefix", "/hybrid-gateway"}},
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
