// Package daemon is the body that all services share: flags, signals, tasks, and
// the doors: a gRPC server on a unix socket and an HTTP port for metrics and health.
package daemon

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"

	"github.com/hybridgateway/gateway/libs/cli"
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

// Common are the flags that all services have. A service's Config embeds it.
type Common struct {
	GatewayID    string           `help:"Name of this gateway, unique among the gateways. Default: the host name." placeholder:"NAME"`
	SocketDir    string           `help:"Directory of the services' unix sockets." default:"/run/hybrid-gateway" placeholder:"DIR"`
	HTTPListen   string           `name:"http-listen" help:"Address and port of /metrics, /healthz and /readyz." default:"${http_listen}" placeholder:"ADDR:PORT"`
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
	if _, _, err := net.SplitHostPort(c.HTTPListen); err != nil {
		return fmt.Errorf("--http-listen=%q: want an address and a port such as :9811 or 127.0.0.1:9811", c.HTTPListen)
	}
	if err := telemetry.CheckEndpoint(c.OTLPEndpoint); err != nil {
		return fmt.Errorf("--otlp-endpoint=%q: %w", c.OTLPEndpoint, err)
	}
	return nil
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
