// Package pki makes the keys and certificates of a control plane: a CA and a
// service account key that are made once and kept, and a serving and an
// administrator's certificate that are made anew at every start.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// validity of every certificate. A lab does not live that long.
const validity = 5 * 365 * 24 * time.Hour

// Files are the paths of what the API server reads, and the PEM texts that go
// into the administrator's kubeconfig.
type Files struct {
	CA                string
	ServingCert       string
	ServingKey        string
	ServiceAccountKey string

	CAPEM        []byte
	AdminCertPEM []byte
	AdminKeyPEM  []byte
}

// Config says where the files go and what the serving certificate is for.
type Config struct {
	// Dir is made if missing, readable by its owner only.
	Dir string
	// Addresses and Names are those under which clients reach the API server.
	Addresses []netip.Addr
	Names     []string
	// AdminUser and AdminGroup are whom the API server takes the
	// administrator's certificate for.
	AdminUser, AdminGroup string
}

// Ensure makes what is missing and returns where everything is.
func Ensure(c Config) (Files, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return Files{}, fmt.Errorf("make directory for keys: %w", err)
	}
	f := Files{
		CA:                filepath.Join(c.Dir, "ca.crt"),
		ServingCert:       filepath.Join(c.Dir, "serving.crt"),
		ServingKey:        filepath.Join(c.Dir, "serving.key"),
		ServiceAccountKey: filepath.Join(c.Dir, "service-account.key"),
	}
	if _, err := ensureKey(f.ServiceAccountKey); err != nil {
		return Files{}, err
	}
	ca, err := ensureAuthority(f.CA, filepath.Join(c.Dir, "ca.key"))
	if err != nil {
		return Files{}, err
	}
	f.CAPEM = encodeCert(ca.cert.Raw)

	serving := leaf("kube-apiserver", "", x509.ExtKeyUsageServerAuth)
	serving.DNSNames = c.Names
	for _, a := range c.Addresses {
		serving.IPAddresses = append(serving.IPAddresses, net.IP(a.AsSlice()))
	}
	certPEM, keyPEM, err := ca.issue(serving)
	if err != nil {
		return Files{}, err
	}
	if err := errors.Join(write(f.ServingCert, certPEM), write(f.ServingKey, keyPEM)); err != nil {
		return Files{}, err
	}
	f.AdminCertPEM, f.AdminKeyPEM, err = ca.issue(leaf(c.AdminUser, c.AdminGroup, x509.ExtKeyUsageClientAuth))
	return f, err
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func ensureAuthority(certFile, keyFile string) (authority, error) {
	key, err := ensureKey(keyFile)
	if err != nil {
		return authority{}, err
	}
	data, err := os.ReadFile(certFile)
	if err == nil {
		cert, err := decodeCert(certFile, data)
		return authority{cert: cert, key: key}, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return authority{}, fmt.Errorf("read CA: %w", err)
	}
	template := certificate("controlplane CA", "")
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, fmt.Errorf("make CA: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return authority{}, fmt.Errorf("parse new CA: %w", err)
	}
	return authority{cert: cert, key: key}, write(certFile, encodeCert(der))
}

func (a authority) issue(template *x509.Certificate) (certPEM, keyPEM []byte, err error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate for %q: %w", template.Subject.CommonName, err)
	}
	return encodeCert(der), keyPEM, nil
}

func leaf(name, organization string, usage x509.ExtKeyUsage) *x509.Certificate {
	c := certificate(name, organization)
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.ExtKeyUsage = []x509.ExtKeyUsage{usage}
	return c
}

// certificate backdates by an hour, for clocks that differ.
func certificate(name, organization string) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		BasicConstraintsValid: true,
	}
	if organization != "" {
		c.Subject.Organization = []string{organization}
	}
	return c
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// ensureKey reads the key in file, or makes one there.
func ensureKey(file string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if err == nil {
		return decodeKey(file, data)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	return key, write(file, keyPEM)
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	keyPEM, err := encodeKey(key)
	return key, keyPEM, err
}

// encodeKey uses the older of two forms, the only one in which kube-apiserver
// finds the public key too.
func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func decodeKey(file string, data []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("key file %s holds no PEM", file)
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse key file %s: %w", file, err)
	}
	return key, nil
}

func decodeCert(file string, data []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("certificate file %s holds no PEM", file)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("parse certificate file %s: %w", file, err)
	}
	return cert, nil
}

// write replaces file at once, so that a crash leaves the old or the new one.
func write(file string, data []byte) error {
	temporary := file + ".new"
	if err := os.WriteFile(temporary, data, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.Rename(temporary, file); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
