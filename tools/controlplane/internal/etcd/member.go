package etcd

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/hybridgateway/gateway/tools/controlplane/internal/config"
)

// RunMember runs a member that serves on the network until ctx ends, over whatever data
// is in its directory. It calls ready once it serves, which takes a majority of members.
func RunMember(ctx context.Context, m config.Member, ready func() error) error {
	e, err := embed.StartEtcd(networkConfig(m))
	if err != nil {
		return fmt.Errorf("start member %s in %s: %w", m.Name, m.Dir, err)
	}
	// What still listens goes with the process: see Close.
	defer e.Server.Stop()
	serving := e.Server.ReadyNotify()
	for {
		select {
		case <-serving:
			serving = nil
			if err := ready(); err != nil {
				return err
			}
		case err := <-e.Err():
			return fmt.Errorf("member %s stopped by itself: %w", m.Name, err)
		case <-ctx.Done():
			return nil
		}
	}
}

func networkConfig(m config.Member) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name = m.Name
	cfg.Dir = filepath.Join(m.Dir, "data")
	var cluster []string
	for _, p := range m.Peers {
		u := url.URL{Scheme: "https", Host: p.Address.String()}
		cluster = append(cluster, p.Name+"="+u.String())
		if p.Name == m.Name {
			cfg.ListenPeerUrls = []url.URL{u}
			cfg.AdvertisePeerUrls = []url.URL{u}
		}
	}
	cfg.InitialCluster = strings.Join(cluster, ",")
	client := url.URL{Scheme: "https", Host: m.Listen.String()}
	cfg.ListenClientUrls = []url.URL{client}
	cfg.AdvertiseClientUrls = []url.URL{client}
	cfg.ClientTLSInfo = transport.TLSInfo{CertFile: m.Cert, KeyFile: m.Key, TrustedCAFile: m.CA, ClientCertAuth: true}
	cfg.PeerTLSInfo = cfg.ClientTLSInfo
	cfg.TickMs = uint(m.HeartbeatInterval.Milliseconds())
	cfg.ElectionMs = uint(m.ElectionTimeout.Milliseconds())
	cfg.UnsafeNoFsync = true
	cfg.LogLevel = "warn"
	cfg.LogOutputs = []string{filepath.Join(m.Dir, "etcd.log")}
	return cfg
}
