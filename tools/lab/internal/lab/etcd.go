package lab

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/hybridgateway/gateway/tools/lab/internal/cluster"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
)

// Ports of the etcd that holds the record. The API server's own has others.
const (
	etcdPort      = 12379
	etcdPeersPort = 12380
)

// etcdCert is the base name of the certificate of etcd.
const etcdCert = "etcd"

// startEtcd starts the etcd that holds the record, beside the control plane.
func (l *Lab) startEtcd(ctx context.Context) error {
	m, err := l.World.Machine(controlPlaneHost)
	if err != nil {
		return err
	}
	h, err := l.Host(controlPlaneHost)
	if err != nil {
		return err
	}
	member, err := l.CA.Member(etcdCert, m.IP)
	if err != nil {
		return err
	}
	if err := member.Write(l.PKIDir(), etcdCert); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	l.etcd, err = cluster.StartEtcd(ctx, cluster.EtcdConfig{
		Host: h, Listen: netip.AddrPortFrom(m.IP, etcdPort), ListenPeers: netip.AddrPortFrom(m.IP, etcdPeersPort),
		Dir: filepath.Join(l.Options.Dir, "etcd"), Log: filepath.Join(l.LogDir(), "etcd.log"), BinDir: l.Options.BinDir,
		CA: l.CAFile(), Cert: filepath.Join(l.PKIDir(), etcdCert+".crt"), Key: filepath.Join(l.PKIDir(), etcdCert+".key"),
	})
	return err
}

// registryArgs are vtep-registry's flags about registered VTEPs: they are where the record
// is.
func (l *Lab) registryArgs() ([]string, error) {
	if l.Options.Backend != Etcd {
		return nil, nil
	}
	return l.etcdArgs(gateway.VtepRegistry)
}

// etcdArgs are a service's flags about etcd, for which it gets a certificate of its own.
func (l *Lab) etcdArgs(service string) ([]string, error) {
	client, err := l.CA.Client(service)
	if err != nil {
		return nil, err
	}
	name := "etcd-" + service
	if err := client.Write(l.PKIDir(), name); err != nil {
		return nil, err
	}
	return []string{
		"--etcd-endpoints=" + l.etcd.Endpoint(), "--etcd-ca=" + l.CAFile(),
		"--etcd-cert=" + filepath.Join(l.PKIDir(), name+".crt"), "--etcd-key=" + filepath.Join(l.PKIDir(), name+".key"),
	}, nil
}

// recordArgs are election's flags about the record, and the certificate that they
// name. The kubeconfig is given in any case.
func (l *Lab) recordArgs() ([]string, error) {
	switch l.Options.Backend {
	case Lease:
		return []string{"--backend=" + string(Lease)}, nil
	case Etcd:
		args, err := l.etcdArgs(gateway.Election)
		return append([]string{"--backend=" + string(Etcd)}, args...), err
	default:
		return nil, fmt.Errorf("the record cannot be in %q, only in %s or %s", l.Options.Backend, Lease, Etcd)
	}
}
