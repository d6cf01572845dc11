// Package config parses admin's flags.
package config

import (
	"io"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/netaddr"
)

// Config are admin's settings.
type Config struct {
	Listen   netaddr.Listen `help:"Address and port of the operators' API." default:":9443" placeholder:"ADDR:PORT"`
	TLSCert  string         `name:"tls-cert" help:"File with the server's certificate chain, PEM. Read anew for each connection." required:"" placeholder:"FILE"`
	TLSKey   string         `name:"tls-key" help:"File with the certificate's key, PEM." required:"" placeholder:"FILE"`
	ClientCA string         `name:"client-ca" help:"File with the authorities, PEM, one of which must have signed an operator's certificate." required:"" placeholder:"FILE"`

	// The default is in the manner of Kubernetes' own groups, which are organisations of certificates as well.
	Operators []string `help:"Organisations (O) of which a client's certificate must carry one to change anything; every other client may only read. Nobody may change anything when it is empty." default:"hybrid-gateway:operators" placeholder:"NAME"`

	daemon.Common
}

// Parse reads the flags and their environment variables; see cli.Parse.
func Parse(args []string, out io.Writer) (Config, error) {
	var c Config
	err := daemon.ParseFlags(daemon.Admin,
		"Tells operators, over mutual TLS, how this gateway is, and does what they ask of it.", ":9815", &c, args, out)
	return c, err
}
