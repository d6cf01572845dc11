package etcd_test

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/hybridgateway/gateway/libs/etcdaccess"
	"github.com/hybridgateway/gateway/libs/etcdtest"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/etcd"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered/registeredtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func files(t *testing.T, c *etcdtest.Cluster) etcdaccess.Files {
	t.Helper()
	cert, key := c.Authority.Issue(t, "registry")
	return etcdaccess.Files{CA: c.Authority.File, Cert: cert, Key: key}
}

func open(t *testing.T, c *etcdtest.Cluster) *etcd.Store {
	t.Helper()
	s, err := etcd.Open(etcd.Config{Endpoints: c.Endpoints(), Files: files(t, c), Prefix: "/hybrid-gateway", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// operator is a client of somebody else.
func operator(t *testing.T, c *etcdtest.Cluster) *clientv3.Client {
	t.Helper()
	config, err := files(t, c).Load()
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), TLS: config, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestContract(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Options{})
	client := operator(t, c)
	registeredtest.Run(t, registeredtest.Backend{
		Open: func(t *testing.T) registeredtest.Store { return open(t, c) },
		Write: func(t *testing.T, name, text string) {
			t.Helper()
			if _, err := client.Put(t.Context(), "/hybrid-gateway/vteps/"+name, text); err != nil {
				t.Fatal(err)
			}
		},
		Stop: c.Kill, Start: c.Start,
	})
}

// Where the watch was may be compacted while etcd is away: all is read anew.
func TestCompaction(t *testing.T) {
	c := etcdtest.Start(t, etcdtest.Options{})
	s, client := open(t, c), operator(t, c)
	tell := make(chan registered.All)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, tell, func(error) {}) }()
	defer func() { cancel(); <-done }()
	<-tell
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	var revision int64
	for range 3 {
		put, err := client.Put(t.Context(), "/hybrid-gateway/vteps/a", `{"ip":"192.168.7.1"}`)
		if err != nil {
			t.Fatal(err)
		}
		revision = put.Header.Revision
	}
	if _, err := client.Compact(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	timeout := time.After(30 * time.Second)
	for {
		select {
		case all := <-tell:
			if len(all.Nodes) == 1 {
				return
			}
		case <-timeout:
			t.Fatal("the watch does not tell")
		}
	}
}

// A stranger is refused, and files that cannot be read are named.
func TestCertificates(t *testing.T) {
	if _, err := etcd.Open(etcd.Config{Endpoints: []string{"https://127.0.0.1:1"}, Files: etcdaccess.Files{CA: "/none"}}); err == nil || !strings.Contains(err.Error(), "--etcd-ca") {
		t.Errorf("got %v", err)
	}
	c := etcdtest.Start(t, etcdtest.Options{})
	strangers := etcdtest.Start(t, etcdtest.Options{})
	f := files(t, strangers)
	f.CA = c.Authority.File
	if _, err := tls.LoadX509KeyPair(f.Cert, f.Key); err != nil {
		t.Fatal(err)
	}
	s, err := etcd.Open(etcd.Config{Endpoints: c.Endpoints(), Files: f, Prefix: "/hybrid-gateway", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if all, err := s.Register(ctx, "printer", registered.Entry{IP: "192.168.7.1"}); err == nil {
		t.Errorf("a stranger registered: %v", all)
	}
}
