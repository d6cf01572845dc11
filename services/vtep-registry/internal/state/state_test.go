package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

func sample(n int) State {
	s := State{Written: time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)}
	for i := range n {
		s.VTEPs = append(s.VTEPs, registry.VTEP{
			Node: fmt.Sprintf("node-%d", i), Admitted: true, Source: registry.Source(i % 2),
			Address:  netip.AddrFrom4([4]byte{192, 168, byte(i / 250), byte(1 + i%250)}),
			PodCIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(64 + i/250), byte(i % 250), 0}), 24)},
		})
	}
	return s
}

func equal(t *testing.T, want, got State) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "made", "for", "it", "vteps")
	if s, err := Load(path); err != nil || len(s.VTEPs) != 0 {
		t.Fatalf("an absent file: %v, %v", s, err)
	}
	for _, n := range []int{3, 0, 1, 10000} {
		want := sample(n)
		if err := Save(path, want); err != nil {
			t.Fatal(err)
		}
		got, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, want, got)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left beside the file: %v, %v", entries, err)
	}
}

// A crash may leave the new file half written: the old one stands, and the next write is as
// good as any.
func TestCrashWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vteps")
	if err := Save(path, sample(3)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, sample(3), got)
	if err := Save(path, sample(4)); err != nil {
		t.Fatal(err)
	}
	if got, err = Load(path); err != nil {
		t.Fatal(err)
	}
	equal(t, sample(4), got)
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "vteps")
	if err := Save(path, sample(3)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path+".new", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, sample(4)); err == nil {
		t.Error("no error")
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, sample(3), got)
	if err := Save(filepath.Join(path, "a file is no directory"), sample(1)); err == nil {
		t.Error("no error")
	}
	if _, err := Load(dir); err == nil {
		t.Error("a directory was read")
	}
}

func framed(body string) []byte {
	sum := sha256.Sum256([]byte(body))
	return fmt.Appendf(nil, "hybrid-gateway-vteps 1 %d %s\n%s", len(body), hex.EncodeToString(sum[:]), body)
}

func TestDamage(t *testing.T) {
	good, err := Encode(sample(20))
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		changed := bytes.Clone(good)
		changed[i] ^= 0x01
		if s, err := Decode(changed); err == nil {
			t.Fatalf("with byte %d changed: %v", i, s)
		}
		if s, err := Decode(good[:i]); err == nil {
			t.Fatalf("with %d bytes: %v", i, s)
		}
	}
	for what, data := range map[string][]byte{
		"no file of the state":                []byte("PK\x03\x04"),
		"version 2 of the format":             bytes.Replace(good, []byte("vteps 1 "), []byte("vteps 2 "), 1),
		"its checksum does not fit":           append(bytes.Clone(good), '\n'),
		"content cannot be read":              framed("[]"),
		"it has no name":                      framed(`{"vteps":[{"address":"192.168.1.1"}]}`),
		`VTEP "a" in it: "192.168.1"`:         framed(`{"vteps":[{"name":"a","address":"192.168.1"}]}`),
		`VTEP "b" in it: "100.64.1.5/24" has`: framed(`{"vteps":[{"name":"b","address":"192.168.1.1","podCIDRs":["100.64.1.5/24"]}]}`),
	} {
		if _, err := Decode(data); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want %s", err, what)
		}
	}
}

// FuzzDecode: no content of the file stops the service, and what is taken can be written
// and read again.
func FuzzDecode(f *testing.F) {
	good, err := Encode(sample(2))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("hybrid-gateway-vteps 1 0 \n"))
	f.Add([]byte(`{"vteps":[{"name":"a","address":"192.168.1.1","podCIDRs":["100.64.1.0/24"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range [][]byte{data, framed(string(data))} {
			s, err := Decode(d)
			if err != nil {
				continue
			}
			again, err := Encode(s)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Decode(again); err != nil {
				t.Fatal(err)
			}
		}
	})
}
