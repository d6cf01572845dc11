package registered_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// What is encoded is read; a change keeps the time of the first registration, and nothing
// else of what was there, whatever that was.
func FuzzEncode(f *testing.F) {
	f.Add("192.168.7.1", "100.64.7.0/24", `{"since":"2026-01-01T00:00:00Z"}`)
	f.Add("", "\xff", `{"since":0}`)
	f.Fuzz(func(t *testing.T, ip, cidr, old string) {
		since := time.Unix(1000, 0).UTC()
		text, err := registered.Encode(registered.Entry{IP: ip, PodCIDRs: []string{cidr}, Since: since}, old)
		if err != nil {
			t.Skip() // a time that JSON cannot tell
		}
		nodes := registered.Parse(map[string]string{"x": text}, time.Time{}, "here")
		if len(nodes) != 1 || nodes[0].Name != "registered/x" || nodes[0].Source != registry.Registered {
			t.Fatalf("got %+v", nodes)
		}
		var before registered.Entry
		if json.Unmarshal([]byte(old), &before) == nil && !before.Since.IsZero() {
			since = before.Since
		}
		if !nodes[0].Created.Equal(since) {
			t.Errorf("registered at %v, want %v", nodes[0].Created, since)
		}
	})
}

// Whatever stands in an entry is one VTEP, and what is said about it is bounded.
func FuzzParse(f *testing.F) {
	f.Add("printer", `{"ip":"192.168.7.1","podCIDRs":["100.64.7.0/24"],"since":"2026-01-01T00:00:00Z"}`)
	f.Add("other", `{`)
	f.Add("", `{"podCIDRs":[1]}`)
	f.Add(strings.Repeat("x", 300), `{"ip":"`+strings.Repeat("1", 300)+`","podCIDRs":["::/0","10.0.0.1/8"]}`)
	f.Fuzz(func(t *testing.T, name, text string) {
		nodes := registered.Parse(map[string]string{name: text}, time.Unix(1, 0), "here")
		if len(nodes) != 1 || len(nodes[0].Name) > 200 || len(nodes[0].PodCIDRs) > registry.MaxCIDRs {
			t.Fatalf("got %.500v", nodes)
		}
		for _, flaw := range nodes[0].Flaws {
			if len(flaw.Detail) > 1000 || utf8.ValidString(text) && !utf8.ValidString(flaw.Detail) {
				t.Errorf("a flaw that is not bounded: %.1000q", flaw)
			}
		}
		if n := nodes[0]; !n.Address.IsValid() && len(n.Flaws) == 0 {
			t.Errorf("no address, and nobody says why: %+v", n)
		}
	})
}
