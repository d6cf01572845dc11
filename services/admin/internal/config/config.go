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

	daemon.Common
}

// Parse reads the flags and their environment variables; see cli.Parse.
func Parse(args []string, out io.Writer) (Config, error) {
	var c Config
	err := daemon.ParseFlags(daemon.Admin,
		"Answers operators, over mutual TLS, about the state of this gateway.", ":9815", &c, args, out)
	return c, err
}
