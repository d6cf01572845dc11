package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/processes"
)

// EtcdConfig says where the one member of an etcd cluster runs. It serves with
// mutual TLS only.
type EtcdConfig struct {
	Host        *netns.Host
	Listen      netip.AddrPort // for clients
	ListenPeers netip.AddrPort // for members, of which there is no other
	Dir         string         // for its data and log; made if missing
	Log         string         // file for what it prints
	BinDir      string

	CA, Cert, Key string // PEM files; the authority signs clients' certificates too
}

// Etcd is an etcd of its own, beside the one that the API server has.
type Etcd struct {
	config  EtcdConfig
	process *processes.Process
}

// StartEtcd starts etcd and returns when it serves.
func StartEtcd(ctx context.Context, c EtcdConfig) (*Etcd, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make etcd's directory: %w", err)
	}
	const name = "etcd-1"
	said := newLines()
	e := &Etcd{config: c, process: processes.New(processes.Spec{
		Name: "etcd", Host: c.Host, Path: filepath.Join(c.BinDir, Binary),
		Args: []string{
			"etcd", "--dir=" + c.Dir, "--name=" + name, "--listen=" + c.Listen.String(), "--member=" + name + "=" + c.ListenPeers.String(),
			"--cacert=" + c.CA, "--cert=" + c.Cert, "--key=" + c.Key,
		},
		Env: []string{"PATH=/usr/bin:/bin"}, Log: c.Log, Stdout: said,
	})}
	if err := e.process.Start(); err != nil {
		return nil, err
	}
	if err := awaitReady(ctx, e.process, said); err != nil {
		return nil, errors.Join(err, e.process.Kill())
	}
	return e, nil
}

// Endpoint is the URL for clients.
func (e *Etcd) Endpoint() string { return "https://" + e.config.Listen.String() }

// Kill ends etcd at once.
func (e *Etcd) Kill() error { return e.process.Kill() }
