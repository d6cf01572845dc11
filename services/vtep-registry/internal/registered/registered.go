// Package registered knows how VTEPs that operators register are written down, wherever that
// is: a text for each name. It is pure.
package registered

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// Prefix begins the names of registered VTEPs among all. No node has a name like it.
const Prefix = "registered/"

// Entry is a VTEP that an operator registers.
type Entry struct {
	IP       string    `json:"ip"`
	PodCIDRs []string  `json:"podCIDRs"`
	Since    time.Time `json:"since"`
}

// All are all that are registered, as of one moment.
type All struct {
	Nodes []registry.Node
	// Version is a number that grows with every change; empty when nothing was ever
	// written.
	Version string
}

// Errors of a store, beside those of where it writes.
var (
	ErrNotRegistered = errors.New("no VTEP of that name is registered")
	ErrFull          = errors.New("no more VTEPs can be registered")
)

// Encode makes the text of an entry. In the place of one that is there, whose text is old, it
// keeps the time since when that is registered.
func Encode(e Entry, old string) (string, error) {
	var before Entry
	if json.Unmarshal([]byte(old), &before) == nil && !before.Since.IsZero() {
		e.Since = before.Since
	}
	text, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encode the registration of %s: %w", e.IP, err)
	}
	return string(text), nil
}

// Parse reads texts by name. What cannot be used becomes a flaw of that VTEP. created is that
// of entries that do not tell since when they are there, and where is the place for messages.
func Parse(texts map[string]string, created time.Time, where string) []registry.Node {
	nodes := make([]registry.Node, 0, len(texts))
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		n := registry.Node{Name: Prefix + registry.Clip(key), Source: registry.Registered, Created: created}
		var e Entry
		if err := json.Unmarshal([]byte(texts[key]), &e); err != nil {
			n.Flaw(registry.Malformed, "its entry in %s cannot be read: %s", where, registry.Clip(err.Error()))
		} else {
			if !e.Since.IsZero() {
				n.Created = e.Since
			}
			n.ReadAddress("ip", []string{e.IP})
			n.ReadPodCIDRs(e.PodCIDRs)
		}
		nodes = append(nodes, n)
	}
	return nodes
}
