package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hybridgateway/gateway/libs/etcdtest"
	"github.com/hybridgateway/gateway/libs/pkitest"
)

// etcdClient makes a client that trusts the cluster, with the certificate given or none.
func etcdClient(t *testing.T, c *etcdtest.Cluster, endpoint string, certs ...tls.Certificate) *clientv3.Client {
	t.Helper()
	pem, err := os.ReadFile(c.Authority.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, TLS: &tls.Config{RootCAs: roots, Certificates: certs}, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func issued(t *testing.T, a *pkitest.Authority) tls.Certificate {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(a.Issue(t, "client"))
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// Three members are one cluster, which lives on when one of them dies, and which keeps
// what was written when all do.
func TestEtcdMembers(t *testing.T) {
	cluster := etcdtest.Start(t, etcdtest.Options{Members: 3})
	cert := issued(t, cluster.Authority)
	last := cluster.Members()[2]
	client := etcdClient(t, cluster, last.Endpoint(), cert)
	put := func(value string) {
		eventually(t, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			_, err := client.Put(ctx, "key", value)
			return err
		})
	}
	put("one")
	if err := cluster.Members()[0].Kill(); err != nil {
		t.Fatal(err)
	}
	put("two")
	for _, again := range []func() error{cluster.Kill, cluster.Start} {
		if err := again(); err != nil {
			t.Fatal(err)
		}
	}
	first := etcdClient(t, cluster, cluster.Members()[0].Endpoint(), cert)
	var got *clientv3.GetResponse
	eventually(t, func(ctx context.Context) (err error) { // members that stall have no leader for a while
		got, err = first.Get(ctx, "key")
		return err
	})
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "two" {
		t.Errorf("the key is %v", got.Kvs)
	}
}

func TestEtcdWantsACertificate(t *testing.T) {
	cluster := etcdtest.Start(t, etcdtest.Options{})
	for name, client := range map[string]*clientv3.Client{
		"no certificate":      etcdClient(t, cluster, cluster.Endpoints()[0]),
		"another authority's": etcdClient(t, cluster, cluster.Endpoints()[0], issued(t, pkitest.NewAuthority(t, "other"))),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := client.Get(ctx, "key"); err == nil {
			t.Errorf("%s: served", name)
		}
		cancel()
	}
}

func TestWrongMemberEndsAtOnce(t *testing.T) {
	dir := t.TempDir()
	member := []string{"etcd", "--dir=" + dir, "--listen=127.0.0.1:1", "--member=one=127.0.0.1:2", "--cacert=/none", "--cert=/none", "--key=/none"}
	rejected(t, 2, "--name", append(member, "--name=two")...)
	rejected(t, 1, "/none", append(member, "--name=one")...)
}
