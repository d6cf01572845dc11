package config

import (
	"strings"
	"testing"
)

// The texts of flags that are lists: what is taken is what AWS could have given, or a network
// without bits below its mask.
func FuzzFlags(f *testing.F) {
	for _, text := range []string{"rtb-0123456789abcdef0", "zone-a=rtb-1", "eni-1", "pl-1", "100.64.0.0/16", "fd00:10::/56", "::ffff:10.0.0.0/104", "198.18.0.10/32", "=", "rtb-1\nrtb-2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		plain := strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789-=") == ""
		var table RouteTable
		if err := table.UnmarshalText([]byte(text)); err == nil && (!plain || !strings.HasPrefix(table.id(), "rtb-")) {
			t.Errorf("table %q was taken", text)
		}
		var eni Interface
		if err := eni.UnmarshalText([]byte(text)); err == nil && (!plain || !strings.HasPrefix(text, "eni-")) {
			t.Errorf("interface %q was taken", text)
		}
		var list PrefixList
		if err := list.UnmarshalText([]byte(text)); err == nil && (!plain || !strings.HasPrefix(text, "pl-")) {
			t.Errorf("prefix list %q was taken", text)
		}
		var pods PodCIDR
		if err := pods.UnmarshalText([]byte(text)); err == nil && (!pods.IsValid() || pods.Prefix != pods.Masked() || pods.Addr().Is4In6() || pods.Addr().Zone() != "") {
			t.Errorf("pod network %q was taken as %v", text, pods)
		}
		var vtep Floating
		if err := vtep.UnmarshalText([]byte(text)); err == nil && (!vtep.IsSingleIP() || !vtep.Addr().Is4()) {
			t.Errorf("floating VTEP %q was taken as %v", text, vtep)
		}
	})
}
