package app

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hybridgateway/gateway/tools/lab/internal/config"
)

func TestExecEnvLeadsIntoTheLab(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "pki"), 0o755); err != nil {
		t.Fatal(err)
	}
	for gw, address := range map[string]string{"gw1": "10.0.1.10:9443", "gw2": "10.0.2.10:9443"} {
		if err := os.WriteFile(filepath.Join(dir, "pki", gw+".env"), []byte("HGCTL_ADDRESS="+address+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	caller := []string{"HOME=/root", "PATH=/usr/bin", "KUBECONFIG=/root/.kube/production", "HGCTL_ADDRESS=192.0.2.1:9443", "HGCTL_TOKEN=x", "TERM=xterm"}
	for _, tt := range []struct {
		host   string
		caller []string
		want   []string
	}{
		{"gw2", caller, []string{"HOME=/root", "TERM=xterm", "PATH=/b:/usr/bin", "KUBECONFIG=" + dir + "/controlplane/kubeconfig", "HGCTL_ADDRESS=10.0.2.10:9443"}},
		{"ec2-1", caller[:2], []string{"HOME=/root", "PATH=/b:/usr/bin", "KUBECONFIG=" + dir + "/controlplane/kubeconfig", "HGCTL_ADDRESS=10.0.1.10:9443"}},
		{"ec2-1", []string{"PATH="}, []string{"PATH=/b", "KUBECONFIG=" + dir + "/controlplane/kubeconfig", "HGCTL_ADDRESS=10.0.1.10:9443"}},
	} {
		if got := execEnv(tt.caller, config.Config{Host: tt.host, Dir: dir, BinDir: "/b"}); !slices.Equal(got, tt.want) {
			t.Errorf("on %s:\n%q, want\n%q", tt.host, got, tt.want)
		}
	}
}
