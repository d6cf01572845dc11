package etcdaccess

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
)

// CheckEndpoints tells what is wrong with the value of --etcd-endpoints. etcd is only spoken
// to with TLS: whoever may write into it decides where traffic goes.
func CheckEndpoints(endpoints []string) error {
	for i, e := range endpoints {
		u, err := url.Parse(e)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || e != "https://"+u.Host {
			return fmt.Errorf("--etcd-endpoints=%s: want https://HOST:PORT, such as https://10.0.0.5:2379", e)
		}
		if slices.Contains(endpoints[:i], e) {
			return fmt.Errorf("--etcd-endpoints=%s: is given twice", e)
		}
	}
	return nil
}

// CheckPrefix tells what is wrong with the value of --etcd-prefix.
func CheckPrefix(prefix string) error {
	if !regexp.MustCompile(`^(/[-A-Za-z0-9._]+)+$`).MatchString(prefix) {
		return fmt.Errorf("--etcd-prefix=%q: want a path without a slash at its end, such as /hybrid-gateway", prefix)
	}
	return nil
}

// A FileFlag is a flag that names a file, and what should be in the file.
type FileFlag struct{ Flag, Value, What string }

// Flags are the files with the flags that name them.
func (f Files) Flags() []FileFlag {
	return []FileFlag{
		{"--etcd-ca", f.CA, "the authority that signed the members' certificates"},
		{"--etcd-cert", f.Cert, "this gateway's certificate"},
		{"--etcd-key", f.Key, "the key of --etcd-cert"},
	}
}
