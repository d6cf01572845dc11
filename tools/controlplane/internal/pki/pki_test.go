package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func ensure(t *testing.T, dir string) Files {
	t.Helper()
	f, err := Ensure(Config{
		Dir:       dir,
		Addresses: []netip.Addr{netip.MustParseAddr("10.0.1.5")},
		Names:     []string{"kubernetes"},
		AdminUser: "someone", AdminGroup: "some group",
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCertificatesAreForWhatWasAsked(t *testing.T) {
	f := ensure(t, filepath.Join(t.TempDir(), "pki"))
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(f.CAPEM) {
		t.Fatal("no CA")
	}
	serving, err := tls.LoadX509KeyPair(f.ServingCert, f.ServingKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"10.0.1.5", "kubernetes"} {
		if _, err := serving.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
			t.Errorf("serving certificate for %s: %v", host, err)
		}
	}
	admin, err := tls.X509KeyPair(f.AdminCertPEM, f.AdminKeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("administrator's certificate: %v", err)
	}
	if s := admin.Leaf.Subject; s.CommonName != "someone" || len(s.Organization) != 1 || s.Organization[0] != "some group" {
		t.Errorf("administrator is %v", s)
	}
}

func TestSecondStartKeepsAuthorityAndTokens(t *testing.T) {
	dir := t.TempDir()
	first := ensure(t, dir)
	key, err := os.ReadFile(first.ServiceAccountKey)
	if err != nil {
		t.Fatal(err)
	}
	second := ensure(t, dir)
	if !bytes.Equal(first.CAPEM, second.CAPEM) {
		t.Error("another CA")
	}
	again, err := os.ReadFile(second.ServiceAccountKey)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(key, again) {
		t.Error("another service account key")
	}
}

func TestDamagedFilesAreReported(t *testing.T) {
	for _, name := range []string{"ca.crt", "ca.key", "service-account.key"} {
		dir := t.TempDir()
		ensure(t, dir)
		if err := os.WriteFile(filepath.Join(dir, name), []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Ensure(Config{Dir: dir}); err == nil {
			t.Errorf("damaged %s is accepted", name)
		}
	}
}

func TestKeysAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	f := ensure(t, dir)
	for file, want := range map[string]os.FileMode{dir: 0o700, f.ServingKey: 0o600, f.ServiceAccountKey: 0o600} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", file, got, want)
		}
	}
}
