package config

import (
	"io"
	"slices"
	"strings"
	"testing"
)

var needed = []string{"--tls-cert=/etc/tls.crt", "--tls-key=/etc/tls.key", "--client-ca=/etc/ca.crt"}

func TestDefaults(t *testing.T) {
	c, err := Parse(needed, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.String() != ":9443" || c.HTTPListen.String() != ":9815" || c.TLSCert != "/etc/tls.crt" || c.TLSKey != "/etc/tls.key" || c.ClientCA != "/etc/ca.crt" || !slices.Equal(c.Operators, []string{"hybrid-gateway:operators"}) {
		t.Errorf("got %+v", c)
	}
}

func TestOperators(t *testing.T) {
	for flag, want := range map[string][]string{
		"--operators=admins,on call": {"admins", "on call"},
		"--operators=":               {},
	} {
		c, err := Parse(append(needed[:3:3], flag), io.Discard)
		if err != nil || !slices.Equal(c.Operators, want) {
			t.Errorf("%s: got %q, %v, want %q", flag, c.Operators, err, want)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for flag, want := range map[string]string{
		"--listen=:70000":      `--listen: ":70000" is not an IP address and a port`,
		"--listen=gateway:443": `--listen: "gateway:443" is not an IP address and a port`,
		"--gateway-id=a b":     `--gateway-id="a b"`,
		"--tls-certificate=x":  "--tls-certificate",
	} {
		_, err := Parse(append(needed[:3:3], flag), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", flag, err, want)
		}
	}
	for i := range needed {
		flag, _, _ := strings.Cut(needed[i], "=")
		args := append(append([]string(nil), needed[:i]...), needed[i+1:]...)
		if _, err := Parse(args, io.Discard); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("without %s: %v", flag, err)
		}
	}
}
