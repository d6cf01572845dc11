package etcdaccess

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

// Files are PEM files, for mutual TLS: the authority of the members, and a certificate of ours
// with its key.
type Files struct{ CA, Cert, Key string }

// Load reads the files. Errors name the flags that name them.
func (f Files) Load() (*tls.Config, error) {
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("load --etcd-ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load --etcd-ca: no certificate in %s", f.CA)
	}
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("load --etcd-cert=%s and --etcd-key=%s: %w", f.Cert, f.Key, err)
	}
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// fileCredentials are TLS credentials whose files are read for each connection.
type fileCredentials struct {
	credentials.TransportCredentials
	files  Files
	failed func(error)
}

// Credentials are a client's, of which the files are read for each connection, so that they
// can be renewed in place. failed is told why a connection could not be made, or broke.
func Credentials(f Files, failed func(error)) credentials.TransportCredentials {
	return &fileCredentials{credentials.NewTLS(nil), f, failed}
}

// ClientHandshake implements credentials.TransportCredentials.
func (c *fileCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := c.files.Load()
	if err != nil {
		c.failed(err)
		return nil, nil, err
	}
	conn, info, err := credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
	if err != nil {
		c.failed(err)
		return nil, nil, err
	}
	return &tlsConn{conn, c.failed}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (c *fileCredentials) Clone() credentials.TransportCredentials {
	return &fileCredentials{c.TransportCredentials.Clone(), c.files, c.failed}
}

// tlsConn tells why it broke: that a client's certificate is not accepted is only told
// after the handshake (RFC 8446, section 4.4.2.4).
type tlsConn struct {
	net.Conn
	failed func(error)
}

// Read implements io.Reader.
func (c *tlsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.failed(err)
	}
	return n, err
}
