package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/hybridgateway/gateway/libs/telemetry"
)

// Files are the PEM files of the server's identity and of the operators' authorities.
type Files struct {
	Cert, Key, ClientCA string
}

// Credentials are mutual TLS 1.3 credentials. The files are read anew for each
// connection, so that rotated certificates need no restart; when they cannot be read
// the last good ones stay in use. It fails when there are no good ones to begin with.
func Credentials(files Files, log *slog.Logger) (credentials.TransportCredentials, error) {
	good, err := load(files)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			mu.Lock()
			defer mu.Unlock()
			if fresh, err := load(files); err != nil {
				log.Warn("the last good TLS files stay in use", telemetry.KeyError, err)
			} else {
				good = fresh
			}
			return good, nil
		},
	}), nil
}

func load(files Files) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, fmt.Errorf("read --tls-cert=%s and --tls-key=%s: %w", files.Cert, files.Key, err)
	}
	pem, err := os.ReadFile(files.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read --client-ca=%s: %w", files.ClientCA, err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read --client-ca=%s: no PEM certificate in it", files.ClientCA)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    authorities,
		NextProtos:   []string{"h2"},
	}, nil
}
