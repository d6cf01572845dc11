package config

import (
	"fmt"
	"strings"

	"github.com/hybridgateway/gateway/libs/shard"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// DefaultShard is the name of the only shard when there is one.
const DefaultShard = "default"

// Shard is a part of the leadership: of each shard one gateway is active.
type Shard struct {
	Name string
	// Preferred is the id, network interface or availability zone of the gateway that shall lead it
	// whenever it can; empty for none.
	Preferred string
}

// UnmarshalText reads NAME or NAME=GATEWAY.
func (s *Shard) UnmarshalText(text []byte) error {
	var given bool
	s.Name, s.Preferred, given = strings.Cut(string(text), "=")
	if !shard.IsName(s.Name) {
		return fmt.Errorf("%q: want a name of at most 32 characters of a-z, 0-9 and '-', such as default or zone-a", s.Name)
	}
	if given && s.Preferred == "" {
		return fmt.Errorf("%q: want the id, network interface or zone of a gateway after '='", text)
	}
	return nil
}

func validateShards(shards []Shard) error {
	if len(shards) == 0 || len(shards) > wire.MaxShards { // more than a heartbeat tells of
		return fmt.Errorf("--shards: want 1 to %d shards, not %d", wire.MaxShards, len(shards))
	}
	seen := make(map[string]bool)
	for _, s := range shards {
		if seen[s.Name] {
			return fmt.Errorf("--shards: shard %q is given twice", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// LeaseOf is the name of the Lease that is a shard's record.
func (c *Config) LeaseOf(name string) string {
	if name == DefaultShard {
		return c.LeaseName
	}
	return c.LeaseName + "-" + name
}
