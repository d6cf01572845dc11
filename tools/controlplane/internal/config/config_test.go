package config

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	got, err := Parse([]string{
		"--dir=/d", "--listen=10.0.1.5:6443", "--manifests=/a,b", "--manifests=/c.yaml",
		"--service-account-kubeconfig=kube-system/x=/d/x,y", "--die-with-parent",
	}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Dir:             "/d",
		EtcdDir:         "/d/etcd",
		Listen:          netip.MustParseAddrPort("10.0.1.5:6443"),
		Advertise:       netip.MustParseAddr("10.0.1.5"),
		Manifests:       []string{"/a,b", "/c.yaml"},
		ServiceAccounts: []ServiceAccountKubeconfig{{Namespace: "kube-system", Name: "x", File: "/d/x,y"}},
		DieWithParent:   true,
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

func TestParseDefaults(t *testing.T) {
	got, err := Parse([]string{"--dir=/d", "--etcd-dir=/e", "--listen=0.0.0.0:1", "--advertise=10.0.0.1"}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if got.EtcdDir != "/e" || got.Advertise != netip.MustParseAddr("10.0.0.1") || got.DieWithParent {
		t.Errorf("config %+v", got)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want []string // parts of the error
	}{
		{nil, []string{"--dir"}},
		{[]string{"--dir="}, []string{"--dir"}},
		{[]string{"--dir=/d", "--listen=localhost:1"}, []string{"--listen", `"localhost:1"`, "IP address and a port"}},
		{[]string{"--dir=/d", "--listen=10.0.0.1"}, []string{"--listen", `"10.0.0.1"`}},
		{[]string{"--dir=/d", "--listen=0.0.0.0:1"}, []string{"--advertise", "needed with --listen 0.0.0.0:1"}},
		{[]string{"--dir=/d", "--advertise=::"}, []string{"--advertise", `"::"`}},
		{[]string{"--dir=/d", "--service-account-kubeconfig=x=/f"}, []string{"--service-account-kubeconfig", `"x=/f"`, "NAMESPACE/NAME=FILE"}},
		{[]string{"--dir=/d", "--service-account-kubeconfig=a/b"}, []string{"--service-account-kubeconfig", "NAMESPACE/NAME=FILE"}},
		{[]string{"--dir=/d", "--service-account-kubeconfig=a/b/c=/f"}, []string{"NAMESPACE/NAME=FILE"}},
		{[]string{"--dir=/d", "--nope"}, []string{"--nope"}},
		{[]string{"--dir=/d", "more"}, []string{"more"}},
	} {
		_, err := Parse(tt.args, &bytes.Buffer{})
		if err == nil {
			t.Errorf("%q is accepted", tt.args)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: error %q lacks %q", tt.args, err, part)
			}
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %q has several lines", tt.args, err)
		}
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var out bytes.Buffer
	if _, err := Parse([]string{"--help"}, &out); !errors.Is(err, ErrHelp) {
		t.Fatalf("error %v", err)
	}
	for _, flag := range []string{"--dir", "--listen", "--advertise", "--etcd-dir", "--manifests", "--service-account-kubeconfig", "--die-with-parent"} {
		if !strings.Contains(out.String(), flag) {
			t.Errorf("help lacks %s:\n%s", flag, out.String())
		}
	}
}
