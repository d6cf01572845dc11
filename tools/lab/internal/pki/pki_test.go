package pki_test

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"

	"github.com/hybridgateway/gateway/tools/lab/internal/pki"
)

func TestMutualTLS(t *testing.T) {
	ours, err := pki.NewAuthority("lab")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := pki.NewAuthority("stranger")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ours.Server("gw1", netip.MustParseAddr("10.0.1.10"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		signer *pki.Authority
		server string
		ok     bool
	}{
		{"operator by address", ours, "10.0.1.10", true},
		{"operator by name", ours, "gw1", true},
		{"another server", ours, "10.0.2.10", false},
		{"a stranger's client", theirs, "gw1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, err := tt.signer.Client("operator")
			if err != nil {
				t.Fatal(err)
			}
			if err := handshake(t, ours, server, client, tt.server); (err == nil) != tt.ok {
				t.Errorf("handshake: %v, want success %v", err, tt.ok)
			}
		})
	}
}

// A member of etcd shows one certificate to its clients and to other members.
func TestMember(t *testing.T) {
	ca, err := pki.NewAuthority("lab")
	if err != nil {
		t.Fatal(err)
	}
	member, err := ca.Member("etcd", netip.MustParseAddr("10.0.1.5"))
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, ca, member, member, "10.0.1.5"); err != nil {
		t.Error(err)
	}
	server, err := ca.Server("gw1", netip.MustParseAddr("10.0.1.10"))
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, ca, member, server, "10.0.1.5"); err == nil {
		t.Error("a server's certificate passes for a client's")
	}
}

func handshake(t *testing.T, ca *pki.Authority, server, client pki.Pair, name string) error {
	t.Helper()
	sc, err := server.TLS()
	if err != nil {
		t.Fatal(err)
	}
	cc, err := client.TLS()
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{sc}, ClientCAs: ca.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
			err = c.(*tls.Conn).Handshake()
		}
		done <- err
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client13 := tls.Client(c, &tls.Config{Certificates: []tls.Certificate{cc}, RootCAs: ca.Pool(), ServerName: name, MinVersion: tls.VersionTLS13})
	if err := client13.Handshake(); err != nil {
		c.Close()
		<-done
		return err
	}
	return <-done
}
