package netaddr

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseIPv4(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.1.10":       "",
		"":                "not an IPv4 address",
		"10.0.1":          "not an IPv4 address",
		"2001:db8::1":     "not an IPv4 address",
		"::ffff:10.0.1.1": "not an IPv4 address",
		"0.0.0.0":         "not an address of one host",
		"127.0.0.1":       "not an address of one host",
		"224.0.0.1":       "not an address of one host",
		"255.255.255.255": "not an address of one host",
	} {
		a, err := ParseIPv4(in)
		checkError(t, in, err, want)
		if want == "" && a != netip.MustParseAddr(in) {
			t.Errorf("ParseIPv4(%q) = %v", in, a)
		}
	}
}

func TestParseIPv4Prefix(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/16":   "",
		"0.0.0.0/0":     "",
		"10.0.1.5/16":   "write 10.0.0.0/16",
		"10.0.0.0":      "not an IPv4 CIDR",
		"10.0.0.0/33":   "not an IPv4 CIDR",
		"2001:db8::/32": "not an IPv4 CIDR",
	} {
		p, err := ParseIPv4Prefix(in)
		checkError(t, in, err, want)
		if want == "" && p != netip.MustParsePrefix(in) {
			t.Errorf("ParseIPv4Prefix(%q) = %v", in, p)
		}
	}
}

func TestParseMAC(t *testing.T) {
	m, err := ParseMAC("02:00:0A:00:01:0a")
	if err != nil || m.String() != "02:00:0a:00:01:0a" || m.IsZero() {
		t.Errorf("got %v, %v", m, err)
	}
	var read MAC
	if text, err := m.MarshalText(); err != nil || string(text) != m.String() || read.UnmarshalText(text) != nil || read != m {
		t.Errorf("%v becomes %s, %v, and that %v", m, text, err, read)
	}
	for _, in := range []string{"", "02:00", "02:00:0a:00:01:0a:00:00"} {
		if _, err := ParseMAC(in); err == nil {
			t.Errorf("ParseMAC(%q) succeeded", in)
		}
	}
}

func TestParseListen(t *testing.T) {
	for in, want := range map[string]Listen{
		":9811":          {Port: 9811},
		":0":             {},
		"127.0.0.1:9811": {netip.MustParseAddr("127.0.0.1"), 9811},
		"[::1]:65535":    {netip.MustParseAddr("::1"), 65535},
	} {
		if got, err := ParseListen(in); err != nil || got != want || got.String() != in {
			t.Errorf("ParseListen(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "9811", ":", ":99999", ":-1", ":+1", ":abc", "localhost:80", "127.0.0.1", "[::1]"} {
		if got, err := ParseListen(in); err == nil {
			t.Errorf("ParseListen(%q) = %v", in, got)
		}
	}
}

func TestContains(t *testing.T) {
	outer := netip.MustParsePrefix("10.0.0.0/16")
	for in, want := range map[string]bool{"10.0.0.0/16": true, "10.0.3.0/24": true, "10.0.0.0/15": false, "10.1.0.0/24": false} {
		if got := Contains(outer, netip.MustParsePrefix(in)); got != want {
			t.Errorf("Contains(%v, %v) = %v", outer, in, got)
		}
	}
}

func checkError(t *testing.T, in string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("parsing %q: error %v, want %q", in, err, want)
	}
}
