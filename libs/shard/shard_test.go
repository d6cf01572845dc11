package shard_test

import (
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/libs/shard"
)

func TestIsName(t *testing.T) {
	for name, want := range map[string]bool{
		"default": true, "zone-a": true, "7": true, strings.Repeat("a", 32): true,
		"": false, "-a": false, "a-": false, "Zone": false, "a.b": false, "a/b": false, "a\n": false, strings.Repeat("a", 33): false,
	} {
		if shard.IsName(name) != want {
			t.Errorf("%q: got %t", name, !want)
		}
	}
}
