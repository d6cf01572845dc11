package config

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// RecordFlags say where the leadership record is.
type RecordFlags struct {
	Backend       Backend  `help:"Where the leadership record is: lease (a Kubernetes Lease) or etcd." enum:"lease,etcd" default:"lease" placeholder:"NAME"`
	EtcdEndpoints []string `help:"With --backend=etcd: the members of the cluster, with commas between them." placeholder:"https://HOST:PORT"`
	EtcdCA        string   `name:"etcd-ca" help:"PEM file with the authority of the members' certificates." placeholder:"FILE"`
	EtcdCert      string   `help:"PEM file with this gateway's certificate for etcd." placeholder:"FILE"`
	EtcdKey       string   `help:"PEM file with the certificate's key." placeholder:"FILE"`
	EtcdPrefix    string   `help:"What the record's key begins with; /SHARD/leader follows." default:"/hybrid-gateway" placeholder:"/PATH"`
}

// Backend is where the leadership record is.
type Backend string

const (
	// Lease is a Lease of the Kubernetes API server.
	Lease Backend = "lease"
	// Etcd is a key of etcd.
	Etcd Backend = "etcd"
)

func (f *RecordFlags) validate() error {
	files := []struct{ flag, value, what string }{
		{"--etcd-ca", f.EtcdCA, "the authority that signed the members' certificates"},
		{"--etcd-cert", f.EtcdCert, "this gateway's certificate"},
		{"--etcd-key", f.EtcdKey, "the key of --etcd-cert"},
	}
	if f.Backend != Etcd {
		if len(f.EtcdEndpoints) > 0 {
			return fmt.Errorf("--etcd-endpoints=%s: is only for --backend=etcd, and --backend is %s", strings.Join(f.EtcdEndpoints, ","), f.Backend)
		}
		for _, file := range files {
			if file.value != "" {
				return fmt.Errorf("%s=%s: is only for --backend=etcd, and --backend is %s", file.flag, file.value, f.Backend)
			}
		}
		return nil
	}
	if len(f.EtcdEndpoints) == 0 {
		return fmt.Errorf("--backend=etcd: want --etcd-endpoints too, such as https://10.0.0.5:2379")
	}
	for i, e := range f.EtcdEndpoints {
		if !isEndpoint(e) {
			return fmt.Errorf("--etcd-endpoints=%s: want https://HOST:PORT, such as https://10.0.0.5:2379", e)
		}
		if slices.Contains(f.EtcdEndpoints[:i], e) {
			return fmt.Errorf("--etcd-endpoints=%s: is given twice", e)
		}
	}
	for _, file := range files {
		if file.value == "" {
			return fmt.Errorf("--backend=etcd: want %s too, a PEM file with %s", file.flag, file.what)
		}
	}
	if !prefix().MatchString(f.EtcdPrefix) {
		return fmt.Errorf("--etcd-prefix=%q: want a path without a slash at its end, such as /hybrid-gateway", f.EtcdPrefix)
	}
	return nil
}

// isEndpoint tells whether s is a URL with a host, a port and nothing else. etcd is only
// spoken to with TLS: whoever may write the record decides where the VPC's traffic goes.
func isEndpoint(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.Port() != "" && s == "https://"+u.Host
}

func prefix() *regexp.Regexp { return regexp.MustCompile(`^(/[-A-Za-z0-9._]+)+$`) }
