// Package state keeps the VTEPs that were held last on disk, so that a gateway that starts
// while the API server is away forwards to all nodes it knew.
//
// The file is one line that names the format, its version, the length and the SHA-256 of what
// follows, and then JSON. It is replaced as a whole: written beside, flushed to the
// disk, renamed. So a reader finds the old one or the new one, whatever ends in between; and
// what a broken disk makes of it is not taken for a list of VTEPs.
package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

const (
	format  = "hybrid-gateway-vteps"
	version = 1
	// longest is what is read of a file at most: 50,000 VTEPs have some 6 MB.
	longest = 64 << 20
)

// State is what is kept.
type State struct {
	Written time.Time
	VTEPs   []registry.VTEP // admitted ones, with what they hold
}

type content struct {
	Written time.Time `json:"written"`
	VTEPs   []vtep    `json:"vteps"`
}

type vtep struct {
	Name       string   `json:"name"`
	Registered bool     `json:"registered,omitempty"`
	Address    string   `json:"address"`
	PodCIDRs   []string `json:"podCIDRs"`
}

// Encode makes the file's content.
func Encode(s State) ([]byte, error) {
	c := content{Written: s.Written, VTEPs: make([]vtep, 0, len(s.VTEPs))}
	for _, v := range s.VTEPs {
		e := vtep{Name: v.Node, Registered: v.Source == registry.Registered, Address: v.Address.String()}
		for _, p := range v.PodCIDRs {
			e.PodCIDRs = append(e.PodCIDRs, p.String())
		}
		c.VTEPs = append(c.VTEPs, e)
	}
	body, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode the state: %w", err)
	}
	sum := sha256.Sum256(body)
	return append(fmt.Appendf(nil, "%s %d %d %s\n", format, version, len(body), hex.EncodeToString(sum[:])), body...), nil
}

// Decode reads what Encode made. It takes all or nothing.
func Decode(data []byte) (State, error) {
	head, body, found := bytes.Cut(data, []byte("\n"))
	var name, sum string
	var v, length int
	if _, err := fmt.Sscanf(string(head[:min(len(head), 200)]), "%s %d %d %s", &name, &v, &length, &sum); err != nil || !found || name != format {
		return State{}, errors.New("it is no file of the state of VTEPs")
	}
	if v != version {
		return State{}, fmt.Errorf("it has version %d of the format, and %d is what this program knows", v, version)
	}
	if got := sha256.Sum256(body); len(body) != length || hex.EncodeToString(got[:]) != sum {
		return State{}, fmt.Errorf("it is damaged: its checksum does not fit its %d bytes", len(body))
	}
	var c content
	if err := json.Unmarshal(body, &c); err != nil {
		return State{}, fmt.Errorf("its content cannot be read: %w", err)
	}
	s := State{Written: c.Written, VTEPs: make([]registry.VTEP, 0, len(c.VTEPs))}
	for _, e := range c.VTEPs {
		held, err := e.parse()
		if err != nil {
			return State{}, fmt.Errorf("VTEP %q in it: %w", e.Name, err)
		}
		s.VTEPs = append(s.VTEPs, held)
	}
	return s, nil
}

func (e vtep) parse() (registry.VTEP, error) {
	v := registry.VTEP{Node: e.Name, Admitted: true}
	if e.Registered {
		v.Source = registry.Registered
	}
	if e.Name == "" {
		return v, errors.New("it has no name")
	}
	var err error
	if v.Address, err = netaddr.ParseIPv4(e.Address); err != nil {
		return v, err
	}
	v.PodCIDRs = make([]netip.Prefix, len(e.PodCIDRs))
	for i, text := range e.PodCIDRs {
		if v.PodCIDRs[i], err = netaddr.ParseIPv4Prefix(text); err != nil {
			return v, err
		}
	}
	return v, nil
}

// Load reads the file. Its absence is no error: nothing is remembered then.
func Load(path string) (State, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("open the state file: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return State{}, fmt.Errorf("read the state file %s: %w", path, err)
	}
	s, err := Decode(data)
	if err != nil {
		return State{}, fmt.Errorf("read the state file %s: %w", path, err)
	}
	return s, nil
}

// Save replaces the file and returns once it would survive a power failure. It makes the
// directory when it is missing.
func Save(path string, s State) (err error) {
	data, err := Encode(s)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the state file: %w", err)
	}
	// One name for all attempts: what a crash leaves behind is overwritten, not collected.
	beside := path + ".new"
	if err := write(beside, data); err != nil {
		return errors.Join(err, os.RemoveAll(beside))
	}
	if err := os.Rename(beside, path); err != nil {
		return fmt.Errorf("put the state file in its place: %w", err)
	}
	return flush(dir)
}

func write(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write the state file: %w", err)
	}
	defer func() {
		if closing := f.Close(); err == nil && closing != nil {
			err = fmt.Errorf("close the state file: %w", closing)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write the state file: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("flush the state file: %w", err)
	}
	return nil
}

// flush makes a rename in the directory last; see fsync(2).
func flush(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open the directory of the state file: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("flush the directory of the state file: %w", err)
	}
	return nil
}
