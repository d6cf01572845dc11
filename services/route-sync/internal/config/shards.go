package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridgateway/gateway/libs/shard"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// RouteTable is the id of a route table, after the name of its shard and a '=' when it does not belong
// to that of --shard.
type RouteTable string

// UnmarshalText implements encoding.TextUnmarshaler.
func (t *RouteTable) UnmarshalText(text []byte) error {
	*t = RouteTable(text)
	if name, _, given := t.cut(); given && !shard.IsName(name) {
		return fmt.Errorf("%q: want a shard of at most 32 characters of a-z, 0-9 and '-' before '=', such as zone-a", text)
	}
	return checkID("rtb-", "the id of a route table such as rtb-0123456789abcdef0, or SHARD=ID", []byte(t.id()))
}

func (t RouteTable) cut() (shardName, id string, given bool) {
	shardName, id, given = strings.Cut(string(t), "=")
	if !given {
		return "", string(t), false
	}
	return shardName, id, true
}

func (t RouteTable) id() string {
	_, id, _ := t.cut()
	return id
}

// shardOf is the shard that a table belongs to.
func (c *Config) shardOf(t RouteTable) string {
	if name, _, given := t.cut(); given {
		return name
	}
	return c.Shard
}

// shards are the names of all shards, in the order in which the tables name them.
func (c *Config) shards() []string {
	var names []string
	for _, t := range c.RouteTables {
		if name := c.shardOf(t); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (c *Config) validateShards() error {
	if !shard.IsName(c.Shard) {
		return fmt.Errorf("--shard=%q: want a name of at most 32 characters of a-z, 0-9 and '-', such as default", c.Shard)
	}
	names := c.shards()
	for _, t := range c.FloatingTables {
		if name := c.shardOf(t); !slices.Contains(names, name) {
			return fmt.Errorf("--floating-vtep-route-tables names shard %q, to which no table of --route-tables belongs", name)
		}
	}
	if len(names) > 1 && c.PrefixListName != "" {
		return errors.New("--prefix-list-name names one list, and each shard has one of its own: want none")
	}
	return nil
}

// Plans are what the plans of the shards need to know, in a fixed order, but for what is found out about
// this gateway. They share the bucket in equal parts.
func (c *Config) Plans() []plan.Config {
	var plans []plan.Config
	names := c.shards()
	for _, name := range names {
		own := *c
		own.Shard = name
		others := func(t RouteTable) bool { return c.shardOf(t) != name }
		own.RouteTables = slices.DeleteFunc(slices.Clone(c.RouteTables), others)
		own.FloatingTables = slices.DeleteFunc(slices.Clone(c.FloatingTables), others)
		if len(c.FloatingTables) > 0 && len(own.FloatingTables) == 0 {
			own.FloatingVTEP = Floating{}
		}
		p := own.Plan()
		if p.Bucket.Burst > 0 {
			p.Bucket.Burst = max(1, p.Bucket.Burst/float64(len(names))) // less would never be a call
		}
		p.Bucket.PerSecond /= float64(len(names))
		plans = append(plans, p)
	}
	return plans
}

func ids(tables []RouteTable) []string {
	list := make([]string, len(tables))
	for i, t := range tables {
		list[i] = t.id()
	}
	return list
}
