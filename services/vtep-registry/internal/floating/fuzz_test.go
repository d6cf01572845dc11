package floating

import (
	"net/netip"
	"testing"
	"unicode/utf8"
)

// Whatever cilium-config says, it is either right or there is something to say, in bounded
// lines; and just what is wanted is right.
func FuzzCheck(f *testing.F) {
	w, err := For(netip.MustParseAddr("198.18.0.10"), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.1.0.0/16")})
	if err != nil {
		f.Fatal(err)
	}
	s := w.Settings()
	f.Add(s["enable-vtep"], s["vtep-endpoint"], s["vtep-cidr"], s["vtep-mask"], s["vtep-mac"])
	f.Add("true", "198.18.0.10", "10.0.0.0/16, 10.1.0.0/16", "255.255.0.0", "02:68:C6:12:00:0A")
	f.Add("", "", "", "", "")
	f.Fuzz(func(t *testing.T, enable, endpoint, cidr, mask, mac string) {
		problems := w.Check(map[string]string{"enable-vtep": enable, "vtep-endpoint": endpoint, "vtep-cidr": cidr, "vtep-mask": mask, "vtep-mac": mac})
		if enable+endpoint+cidr+mask+mac == "" && len(problems) == 0 {
			t.Error("nothing is set, and nothing is said")
		}
		if len(problems) > 10 {
			t.Errorf("%d problems", len(problems))
		}
		for _, p := range problems {
			if len(p) > 1000 || !utf8.ValidString(p) {
				t.Errorf("a problem that is not bounded: %.1000q", p)
			}
		}
	})
}

// Networks of any lengths become pieces of one length that cover just these, or are refused.
func FuzzFor(f *testing.F) {
	f.Add(uint32(10<<24), 16, uint32(10<<24|1<<16), 18)
	f.Add(uint32(255<<24), 8, uint32(0), 0)
	f.Fuzz(func(t *testing.T, a uint32, aBits int, b uint32, bBits int) {
		prefix := func(n uint32, bits int) netip.Prefix {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}), bits&63%33).Masked()
		}
		vpc := []netip.Prefix{prefix(a, aBits), prefix(b, bBits)}
		w, err := For(netip.MustParseAddr("198.18.0.10"), vpc)
		if err != nil {
			return
		}
		if len(w.Networks) == 0 || len(w.Networks) > MaxEndpoints {
			t.Fatalf("%d networks", len(w.Networks))
		}
		var addresses, want uint64
		for _, p := range w.Networks {
			if p.Bits() != w.Networks[0].Bits() || !vpc[0].Overlaps(p) && !vpc[1].Overlaps(p) {
				t.Errorf("%v of %v", p, vpc)
			}
			addresses += uint64(1) << (32 - p.Bits())
		}
		for _, p := range vpc {
			want += uint64(1) << (32 - p.Bits())
		}
		if addresses != want {
			t.Errorf("%v has %d addresses, %v %d", w.Networks, addresses, vpc, want)
		}
		if problems := w.Check(w.Settings()); !vpc[0].Overlaps(vpc[1]) && len(problems) > 0 {
			t.Errorf("what is wanted is not right: %v", problems)
		}
	})
}
