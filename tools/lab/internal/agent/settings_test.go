package agent

import (
	"maps"
	"strings"
	"testing"
)

func TestParseSettings(t *testing.T) {
	good := map[string]string{
		"enable-vtep": "true", "vtep-endpoint": "198.18.0.10 198.18.0.10", "vtep-cidr": "10.0.0.0/16 10.1.0.0/16",
		"vtep-mask": "255.255.0.0", "vtep-mac": "02:68:c6:12:00:0a 02:68:c6:12:00:0a",
	}
	list, err := parseSettings(good)
	if err != nil || len(list) != 2 || list[1].CIDR.String() != "10.1.0.0/16" || list[1].TunnelEndpoint.String() != "198.18.0.10" || list[1].MAC.String() != "02:68:c6:12:00:0a" {
		t.Errorf("got %v, %v", list, err)
	}
	// One mask counts for all networks.
	wide := maps.Clone(good)
	wide["vtep-mask"] = "255.0.0.0"
	if list, err := parseSettings(wide); err != nil || list[0].CIDR.Bits() != 8 {
		t.Errorf("got %v, %v", list, err)
	}
	for key, bad := range map[string]string{
		"enable-vtep": "false", "vtep-endpoint": "198.18.0.10", "vtep-cidr": "10.0.0.0/16 nowhere", "vtep-mask": "16", "vtep-mac": "x y",
	} {
		data := maps.Clone(good)
		data[key] = bad
		if list, err := parseSettings(data); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(key, "vtep-")) {
			t.Errorf("%s=%q: got %v, %v", key, bad, list, err)
		}
	}
}
