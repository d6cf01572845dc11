// Package client connects to a gateway's admin API and says in plain words what is
// wrong when that fails.
package client

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
)

// Target is where the admin API is and how the two ends prove who they are.
type Target struct {
	Address    string
	CA         string
	Cert       string
	Key        string
	ServerName string
}

// Dial makes a connection, which is opened when it is first used.
func Dial(t Target) (*grpc.ClientConn, error) {
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("read the operator's certificate --cert=%s and --key=%s: %w", t.Cert, t.Key, err)
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("read the gateway's authority --ca: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the gateway's authority --ca=%s: no PEM certificate in it", t.CA)
	}
	return grpc.NewClient("passthrough:"+t.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{cert},
			RootCAs:      authorities,
			ServerName:   t.ServerName,
		})),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 3 * time.Second},
			MinConnectTimeout: 3 * time.Second,
		}),
		// A gateway node that lost its power says no goodbye.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second}))
}

// Explain makes of a failed call one line that says what to do.
func Explain(t Target, err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	message := s.Message()
	if answered(s) {
		return fmt.Errorf("%s: %s", t.Address, message)
	}
	hint := ""
	switch {
	case strings.Contains(message, "connection refused"):
		hint = "nothing listens there: check --address and that the gateway's admin service runs"
	case strings.Contains(message, "unknown authority"), strings.Contains(message, "certificate is valid for"), strings.Contains(message, "doesn't contain any IP SANs"):
		hint = "the gateway's certificate does not fit: check --ca and --server-name"
	case strings.Contains(message, "certificate required"), strings.Contains(message, "bad certificate"), strings.Contains(message, "unknown certificate"):
		hint = "the gateway refuses this operator: --cert must be signed by the authority in its --client-ca"
	case strings.Contains(message, "broken pipe"), strings.Contains(message, "connection reset by peer"):
		// With TLS 1.3 a client learns of its refusal only after the handshake, and not why when the
		// connection is gone by then.
		hint = "the gateway closed the connection: --cert must be signed by the authority in its --client-ca"
	case s.Code() == codes.DeadlineExceeded:
		hint = "no answer in time: check --address, and that no firewall drops the port"
	case s.Code() == codes.Unimplemented:
		hint = "the gateway is of a version that does not know this command"
	case s.Code() == codes.Unavailable:
		hint = "the gateway cannot be reached"
	}
	if hint == "" {
		return fmt.Errorf("%s: %s: %s", t.Address, s.Code(), message)
	}
	return fmt.Errorf("%s: %s (%w)", t.Address, hint, errors.New(message))
}

// answered tells whether the message is the gateway's own: it refused the operator, or
// passed on what one of its services said.
func answered(s *status.Status) bool {
	return s.Code() == codes.PermissionDenied || slices.ContainsFunc(s.Details(), func(d any) bool {
		_, forwarded := d.(*adminv1.Forwarding)
		return forwarded
	})
}
