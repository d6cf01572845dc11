package floating

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

var vtep = netip.MustParseAddr("198.18.0.10")

func TestSettings(t *testing.T) {
	for _, c := range []struct {
		vpc        []netip.Prefix
		cidr, mask string
		err        string
	}{
		{prefixes("10.0.0.0/16"), "10.0.0.0/16", "255.255.0.0", ""},
		{prefixes("10.0.0.0/16", "10.1.0.0/16"), "10.0.0.0/16 10.1.0.0/16", "255.255.0.0", ""},
		{prefixes("10.0.0.0/16", "10.1.0.0/18"), "10.0.0.0/18 10.0.64.0/18 10.0.128.0/18 10.0.192.0/18 10.1.0.0/18", "255.255.192.0", ""},
		{prefixes("255.255.255.254/31", "255.255.255.253/32"), "255.255.255.254/32 255.255.255.255/32 255.255.255.253/32", "255.255.255.255", ""},
		{prefixes("0.0.0.0/0"), "0.0.0.0/0", "0.0.0.0", ""},
		{prefixes("10.0.0.0/16", "10.1.0.0/24"), "", "", "with one of length /24, 10.0.0.0/16 is more than the 8 networks that an agent takes"},
		{prefixes("0.0.0.0/0", "10.1.0.0/32"), "", "", "more than the 8"},
	} {
		w, err := For(vtep, c.vpc)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v: %v", c.vpc, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s := w.Settings()
		if s["vtep-cidr"] != c.cidr || s["vtep-mask"] != c.mask {
			t.Errorf("%v: %v", c.vpc, s)
		}
		n := len(strings.Fields(c.cidr))
		if s["vtep-endpoint"] != strings.TrimSpace(strings.Repeat("198.18.0.10 ", n)) || s["vtep-mac"] != strings.TrimSpace(strings.Repeat("02:68:c6:12:00:0a ", n)) {
			t.Errorf("%v: %v", c.vpc, s)
		}
		if problems := w.Check(s); problems != nil {
			t.Errorf("what is wanted is refused: %v", problems)
		}
		for _, v := range s {
			if strings.Count(w.Text(), `"`+v+`"`) < 1 {
				t.Errorf("the text does not say %q:\n%s", v, w.Text())
			}
		}
	}
}

func TestCheck(t *testing.T) {
	w, err := For(vtep, prefixes("10.0.0.0/16", "10.1.0.0/16"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change map[string]string
		want   []string
	}{
		{nil, nil},
		{map[string]string{"tunnel-protocol": "vxlan", "tunnel-port": "8472", "enable-l7-proxy": "true"}, nil},
		{map[string]string{"vtep-cidr": "172.30.0.0/16 10.1.0.0/16,10.0.0.0/16", "vtep-endpoint": "192.0.2.1 198.18.0.10 198.18.0.10", "vtep-mac": "02:00:00:00:00:01 02:68:C6:12:00:0A 02:68:c6:12:00:0a"}, nil},
		{map[string]string{"enable-vtep": "false"}, []string{`enable-vtep is "false": set it to "true"`}},
		{map[string]string{"vtep-mask": "255.255.255.0"}, []string{`vtep-mask is "255.255.255.0": set it to "255.255.0.0"`}},
		{map[string]string{"vtep-cidr": "10.0.0.0/16 10.2.0.0/16"}, []string{"vtep-cidr does not name 10.1.0.0/16"}},
		{map[string]string{"vtep-endpoint": "10.0.1.10 198.18.0.10"}, []string{`vtep-endpoint of 10.0.0.0/16 is "10.0.1.10": set it to "198.18.0.10"`}},
		{map[string]string{"vtep-mac": "02:68:c6:12:00:0a 02:00:00:00:00:01"}, []string{`vtep-mac of 10.1.0.0/16 is "02:00:00:00:00:01": set it to "02:68:c6:12:00:0a"`}},
		{map[string]string{"vtep-mac": ""}, []string{"vtep-endpoint, vtep-cidr and vtep-mac have 2, 2 and 0 entries: they need as many each"}},
		{map[string]string{"tunnel-protocol": "geneve", "tunnel-port": "6081"}, []string{`tunnel-port is "6081": set it to "8472"`, `tunnel-protocol is "geneve": set it to "vxlan"`}},
	} {
		data := w.Settings()
		maps.Copy(data, c.change)
		if diff := cmp.Diff(c.want, w.Check(data)); diff != "" {
			t.Errorf("%v: %s", c.change, diff)
		}
	}
	if got := w.Check(nil); len(got) != 4 {
		t.Errorf("an empty cilium-config: %v", got)
	}
}

func TestBehind(t *testing.T) {
	changed := time.Unix(1000, 0)
	got := Behind(changed, map[string]time.Time{"b": time.Unix(999, 0), "a": time.Unix(1, 0), "same": changed, "later": time.Unix(1001, 0)})
	if !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
}
