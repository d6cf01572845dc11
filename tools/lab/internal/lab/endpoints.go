package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/pki"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// Ports of AWS's host.
const (
	ec2Port  = 80
	otlpPort = 4317
)

// endpoints are what AWS serves, and the receiver of traces beside it.
type endpoints struct {
	ec2, otlp string // URLs, reachable in the VPC
	servers   []*http.Server
}

func (e *endpoints) close() {
	for _, s := range e.servers {
		_ = s.Close() // nothing is left to be done about an error
	}
}

// startEndpoints serves the EC2 API and the trace receiver on AWS's host, and
// the metadata service on every gateway's.
func (l *Lab) startEndpoints() error {
	aws, err := l.World.Machine(awsHost)
	if err != nil {
		return err
	}
	ec2 := netip.AddrPortFrom(aws.IP, ec2Port)
	if err := l.serveHTTP(awsHost, ec2, l.EC2); err != nil {
		return err
	}
	l.endpoints.ec2 = "http://" + ec2.String()
	for _, m := range l.World.Gateways() {
		if err := l.serveHTTP(m.Name, netip.AddrPortFrom(world.IMDSAddress, 80), l.EC2.IMDS(m.Instance)); err != nil {
			return err
		}
	}
	otlp := netip.AddrPortFrom(aws.IP, otlpPort)
	listener, err := l.listen(awsHost, otlp)
	if err != nil {
		return err
	}
	l.endpoints.otlp = "http://" + otlp.String()
	l.running.Go(func() {
		if err := l.Traces.Serve(l.ctx, listener); err != nil {
			l.Options.Log.Error("trace receiver failed", "error", err)
		}
	})
	return nil
}

func (l *Lab) listen(host string, addr netip.AddrPort) (net.Listener, error) {
	h, err := l.Host(host)
	if err != nil {
		return nil, err
	}
	return h.Listen(l.ctx, "tcp4", addr.String())
}

func (l *Lab) serveHTTP(host string, addr netip.AddrPort, handler http.Handler) error {
	listener, err := l.listen(host, addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return l.ctx },
	}
	l.endpoints.servers = append(l.endpoints.servers, server)
	l.running.Go(func() {
		if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			l.Options.Log.Error("endpoint failed", "host", host, "address", addr, "error", err)
		}
	})
	return nil
}

// CAFile is the certificate of the lab's authority.
func (l *Lab) CAFile() string { return filepath.Join(l.PKIDir(), "ca.crt") }

// operatorName is what the operator's certificate files are called.
const operatorName = "operator"

// startPKI makes the authority, a certificate for each gateway's admin, and the
// operator's.
func (l *Lab) startPKI() error {
	if err := os.MkdirAll(l.PKIDir(), 0o755); err != nil {
		return fmt.Errorf("make the directory of certificates: %w", err)
	}
	var err error
	if l.CA, err = pki.NewAuthority("hybrid gateway lab"); err != nil {
		return err
	}
	if err := os.WriteFile(l.CAFile(), l.CA.PEM, 0o644); err != nil {
		return fmt.Errorf("write the authority's certificate: %w", err)
	}
	for _, m := range l.World.Gateways() {
		addrs := []netip.Addr{m.IP}
		if m.Management.IsValid() {
			addrs = append(addrs, m.Management)
		}
		pair, err := l.CA.Server(m.Name, addrs...)
		if err != nil {
			return err
		}
		if err := pair.Write(l.PKIDir(), m.Name); err != nil {
			return err
		}
	}
	pair, err := l.CA.Client(operatorName, "hybrid-gateway:operators")
	if err != nil {
		return err
	}
	if err := pair.Write(l.PKIDir(), operatorName); err != nil {
		return err
	}
	cert, err := pair.TLS()
	if err != nil {
		return err
	}
	seat, err := l.Host(controlPlaneHost)
	if err != nil {
		return err
	}
	l.Operator = gateway.Operator{Seat: seat, Cert: cert, CA: l.CA.Pool()}
	return nil
}

// operatorFile holds what hgctl needs to speak to a gateway, as environment
// variables, one a line.
func operatorFile(dir, gateway string) string { return filepath.Join(dir, "pki", gateway+".env") }

func (l *Lab) writeOperatorFile(g *gateway.Gateway) error {
	env := "HGCTL_ADDRESS=" + g.AdminAddress() +
		"\nHGCTL_CA=" + l.CAFile() +
		"\nHGCTL_CERT=" + filepath.Join(l.PKIDir(), operatorName+".crt") +
		"\nHGCTL_KEY=" + filepath.Join(l.PKIDir(), operatorName+".key") + "\n"
	if err := os.WriteFile(operatorFile(l.Options.Dir, g.Name), []byte(env), 0o644); err != nil {
		return fmt.Errorf("write the operator's settings: %w", err)
	}
	return nil
}

// OperatorEnv is what hgctl needs to speak to a gateway of the lab that is up
// in a directory; nothing when there is no such gateway.
func OperatorEnv(dir, gateway string) []string {
	data, err := os.ReadFile(operatorFile(dir, gateway))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data))
}
