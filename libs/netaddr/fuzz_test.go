package netaddr

import "testing"

// What is taken is written as it was read, so that two texts never mean one address.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"10.0.1.10", "10.0.0.0/16", "02:68:0a:00:01:0a", ":9811", "[::1]:9811", "127.0.0.1:0", "::ffff:10.0.0.1", "010.0.0.1", "0.0.0.0/0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := ParseIPv4(text); err == nil && (a.String() != text || !a.Is4()) {
			t.Errorf("address %q was taken as %v", text, a)
		}
		if p, err := ParseIPv4Prefix(text); err == nil && (p.String() != text || p != p.Masked()) {
			t.Errorf("network %q was taken as %v", text, p)
		}
		if m, err := ParseMAC(text); err == nil {
			if again, err := ParseMAC(m.String()); err != nil || again != m {
				t.Errorf("MAC %q is %v, which is %v, %v", text, m, again, err)
			}
		}
		if l, err := ParseListen(text); err == nil {
			if again, err := ParseListen(l.String()); err != nil || again != l {
				t.Errorf("%q is %v, which is %v, %v", text, l, again, err)
			}
		}
	})
}
