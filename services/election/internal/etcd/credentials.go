package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
)

// certificates are PEM files.
type certificates struct{ ca, cert, key string }

// load reads the files.
func (c certificates) load() (*tls.Config, error) {
	pem, err := os.ReadFile(c.ca)
	if err != nil {
		return nil, fmt.Errorf("load --etcd-ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load --etcd-ca: no certificate in %s", c.ca)
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("load --etcd-cert=%s and --etcd-key=%s: %w", c.cert, c.key, err)
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// fileCredentials are TLS credentials whose files are read for each connection, and which
// tell the member why one failed.
type fileCredentials struct {
	credentials.TransportCredentials
	files  certificates
	member *member
}

func newCredentials(files certificates, m *member) credentials.TransportCredentials {
	return &fileCredentials{credentials.NewTLS(nil), files, m}
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *fileCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := c.files.load()
	if err != nil {
		c.member.fail(err)
		return nil, nil, err
	}
	conn, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
	if err != nil {
		c.member.fail(err)
		return nil, nil, err
	}
	return &tlsConn{conn, c.member}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (c *fileCredentials) Clone() credentials.TransportCredentials {
	return &fileCredentials{c.TransportCredentials.Clone(), c.files, c.member}
}

// tlsConn tells why it broke: that a client's certificate is not accepted is only told
// after the handshake (RFC 8446, section 4.4.2.4).
type tlsConn struct {
	net.Conn
	member *member
}

// Read implements io.Reader.
func (c *tlsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.member.fail(err)
	}
	return n, err
}
