// Package daemon is the body that all services share: flags, signals, tasks, and
// the doors: a gRPC server on a unix socket and an HTTP port for metrics and health.
package daemon

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/hybridgateway/gateway/libs/cli"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/telemetry"
)

// The services, by the names of their sockets.
const (
	Election     = "election"
	VtepRegistry = "vtep-registry"
	Dataplane    = "dataplane"
	RouteSync    = "route-sync"
	Admin        = "admin"
)

const (
	// longestGatewayID is that of the names which the DNS, and so Kubernetes, has for
	// nodes and pods (RFC 1123).
	longestGatewayID = 253
	// longestSocketPath is what sockaddr_un holds before its final zero; see unix(7).
	longestSocketPath = 107
)

// Common are the flags that all services have. A service's Config embeds it.
type Common struct {
	GatewayID    string           `help:"Name of this gateway, unique among the gateways. Default: the host name." placeholder:"NAME"`
	SocketDir    string           `help:"Directory of the services' unix sockets." default:"/run/hybrid-gateway" placeholder:"DIR"`
	HTTPListen   netaddr.Listen   `name:"http-listen" help:"Address and port of /metrics, /healthz and /readyz." default:"${http_listen}" placeholder:"ADDR:PORT"`
	LogLevel     string           `help:"Least severe log level written: ${enum}." enum:"debug,info,warn,error" default:"info"`
	OTLPEndpoint string           `name:"otlp-endpoint" help:"OTLP/gRPC endpoint for traces, for example http://tempo:4317. No traces are sent when it is empty." env:"OTEL_EXPORTER_OTLP_ENDPOINT" placeholder:"URL"`
	Version      kong.VersionFlag `help:"Print the version and exit." env:"-"`
}

// ParseFlags fills config, a pointer to a struct that embeds Common; see cli.Parse.
// httpListen is the service's default for --http-listen.
func ParseFlags(name, summary, httpListen string, config any, args []string, out io.Writer) error {
	_, err := cli.Parse(cli.Program{
		Name:    name,
		Summary: summary,
		Env:     cli.ServiceEnv,
		Vars:    kong.Vars{"http_listen": httpListen},
	}, config, args, out)
	return err
}

// AfterApply is called by kong when the flags have their values. It fills in the
// host name and checks what all services have in common.
func (c *Common) AfterApply() error {
	if c.GatewayID == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("--gateway-id is empty and the host name cannot be read: %w", err)
		}
		c.GatewayID = host
	}
	if len(c.GatewayID) > longestGatewayID || strings.ContainsFunc(c.GatewayID, notOfName) {
		return fmt.Errorf("--gateway-id=%q: want at most %d characters of a-z, A-Z, 0-9, '.', '_' and '-'", c.GatewayID, longestGatewayID)
	}
	if longest := c.Socket(VtepRegistry); len(longest) > longestSocketPath {
		return fmt.Errorf("--socket-dir=%q: want a shorter path, for %s has more than the %d bytes that a unix socket's path may have", c.SocketDir, longest, longestSocketPath)
	}
	if err := telemetry.CheckEndpoint(c.OTLPEndpoint); err != nil {
		return fmt.Errorf("--otlp-endpoint=%q: %w", c.OTLPEndpoint, err)
	}
	return nil
}

// notOfName tells whether a character is none that host names, pods and instances are
// named with; such a gateway id would be quoted wrongly by somebody.
func notOfName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', strings.ContainsRune("._-", r):
		return false
	}
	return true
}

// Socket is the path of the named service's socket.
func (c *Common) Socket(service string) string {
	return filepath.Join(c.SocketDir, service+".sock")
}

// Telemetry starts the service's logs, traces and metrics; see telemetry.Start.
func (c *Common) Telemetry(ctx context.Context, service string) (*telemetry.Telemetry, error) {
	return telemetry.Start(ctx, telemetry.Config{
		Service:      service,
		Version:      cli.Version(),
		Gateway:      c.GatewayID,
		LogLevel:     c.LogLevel,
		Logs:         os.Stderr,
		OTLPEndpoint: c.OTLPEndpoint,
	})
}
