// Package config turns the command line into a validated Config. It reads no
// file and no environment.
package config

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
)

// ErrHelp is returned by Parse when help was asked for and has been printed.
var ErrHelp = errors.New("help was asked for")

// Config says what to run. Parse returns only complete ones.
type Config struct {
	// Dir holds everything that outlives the process; absolute.
	Dir string
	// EtcdDir holds etcd's data; absolute.
	EtcdDir string
	// Listen is where the API server serves TLS; port 0 takes a free one.
	Listen netip.AddrPort
	// Advertise is the address written into kubeconfigs and certificates.
	Advertise netip.Addr
	// Manifests are YAML files, or directories of them, to apply at the start.
	Manifests []string
	// ServiceAccounts are those to write kubeconfigs for.
	ServiceAccounts []ServiceAccountKubeconfig
	// DieWithParent ends the process when the one that started it is gone.
	DieWithParent bool
}

// ServiceAccountKubeconfig asks for a kubeconfig in File with a token of one
// ServiceAccount.
type ServiceAccountKubeconfig struct {
	Namespace, Name, File string
}

type flags struct {
	Dir           string   `help:"Directory for keys, etcd's data, logs and the kubeconfig; made if missing." required:"" placeholder:"DIR"`
	Listen        string   `help:"IP address and port to serve the Kubernetes API on; port 0 takes a free one." default:"127.0.0.1:0" placeholder:"IP:PORT"`
	Advertise     string   `help:"IP address clients use; needed when --listen is 0.0.0.0 or ::. Default: the one of --listen." placeholder:"IP"`
	EtcdDir       string   `help:"Directory for etcd's data. Default: DIR/etcd." placeholder:"DIR"`
	Manifests     []string `help:"YAML file or directory of YAML files to apply at the start; repeatable." placeholder:"PATH" sep:"none"`
	Accounts      []string `name:"service-account-kubeconfig" help:"Write a kubeconfig with a token of this ServiceAccount; repeatable." placeholder:"NAMESPACE/NAME=FILE" sep:"none"`
	DieWithParent bool     `help:"Stop when the process that started this one is gone."`
}

// Parse reads the arguments (without the program's name). Help goes to out. An
// error is one line that names the flag, the value and what is allowed.
func Parse(args []string, out io.Writer) (Config, error) {
	var f flags
	err := parse(&f, args, out,
		kong.Name("controlplane"),
		kong.Description("A Kubernetes control plane for the lab and for tests: etcd and kube-apiserver in one process. `controlplane etcd --help` tells how to run a member of etcd alone."))
	if err != nil {
		return Config{}, err
	}
	return f.config()
}

// parse fills the flags in to. It returns ErrHelp when help was printed instead.
func parse(to any, args []string, out io.Writer, options ...kong.Option) error {
	helped := false
	parser, err := kong.New(to, append(options, kong.Writers(out, out), kong.Exit(func(int) { helped = true }))...)
	if err != nil {
		return fmt.Errorf("set up flags: %w", err)
	}
	_, err = parser.Parse(args)
	if helped {
		return ErrHelp
	}
	return err
}

func (f flags) config() (Config, error) {
	c := Config{DieWithParent: f.DieWithParent}
	var err error
	if c.Dir, err = absolute("--dir", f.Dir); err != nil {
		return Config{}, err
	}
	c.EtcdDir = filepath.Join(c.Dir, "etcd")
	if f.EtcdDir != "" {
		if c.EtcdDir, err = absolute("--etcd-dir", f.EtcdDir); err != nil {
			return Config{}, err
		}
	}
	if c.Listen, err = netip.ParseAddrPort(f.Listen); err != nil {
		return Config{}, invalid("--listen", f.Listen, "an IP address and a port, such as 10.0.1.5:6443")
	}
	if c.Advertise, err = advertised(f.Advertise, c.Listen); err != nil {
		return Config{}, err
	}
	for _, m := range f.Manifests {
		path, err := absolute("--manifests", m)
		if err != nil {
			return Config{}, err
		}
		c.Manifests = append(c.Manifests, path)
	}
	for _, s := range f.Accounts {
		account, err := parseAccount(s)
		if err != nil {
			return Config{}, err
		}
		c.ServiceAccounts = append(c.ServiceAccounts, account)
	}
	return c, nil
}

func advertised(flag string, listen netip.AddrPort) (netip.Addr, error) {
	if flag == "" {
		if listen.Addr().IsUnspecified() {
			return netip.Addr{}, invalid("--advertise", flag, "an IP address, needed with --listen "+listen.String())
		}
		return listen.Addr(), nil
	}
	addr, err := netip.ParseAddr(flag)
	if err != nil || addr.IsUnspecified() {
		return netip.Addr{}, invalid("--advertise", flag, "the IP address of an interface")
	}
	return addr, nil
}

func parseAccount(s string) (ServiceAccountKubeconfig, error) {
	const allowed = "NAMESPACE/NAME=FILE"
	account, file, ok := strings.Cut(s, "=")
	namespace, name, ok2 := strings.Cut(account, "/")
	if !ok || !ok2 || namespace == "" || name == "" || file == "" || strings.Contains(name, "/") {
		return ServiceAccountKubeconfig{}, invalid("--service-account-kubeconfig", s, allowed)
	}
	path, err := absolute("--service-account-kubeconfig", file)
	if err != nil {
		return ServiceAccountKubeconfig{}, err
	}
	return ServiceAccountKubeconfig{Namespace: namespace, Name: name, File: path}, nil
}

func absolute(flag, path string) (string, error) {
	if path == "" {
		return "", invalid(flag, path, "a path")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%s %q: %w", flag, path, err)
	}
	return abs, nil
}

func invalid(flag, value, allowed string) error {
	return fmt.Errorf("%s %q: must be %s", flag, value, allowed)
}
