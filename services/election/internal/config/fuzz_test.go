package config

import (
	"net/netip"
	"strings"
	"testing"
)

// The texts of flags that are lists: what is taken is an address of a host, and the name of a
// Kubernetes object.
func FuzzFlags(f *testing.F) {
	f.Add("10.0.1.10:7946")
	f.Add("zone-a=gw1")
	f.Add("::1")
	f.Add("a=")
	f.Add("10.0.1.10:0")
	f.Fuzz(func(t *testing.T, text string) {
		var p Peer
		if err := p.UnmarshalText([]byte(text)); err == nil {
			a := netip.AddrPort(p)
			if !a.Addr().Is4() || a.Addr().IsUnspecified() || a.Addr().IsMulticast() {
				t.Errorf("peer %q was taken as %v", text, a)
			}
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %q", err)
		}
		var s Shard
		if err := s.UnmarshalText([]byte(text)); err == nil && (s.Name == "" || len(s.Name) > 32 || strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "") {
			t.Errorf("shard %q was taken as %+v", text, s)
		}
	})
}
