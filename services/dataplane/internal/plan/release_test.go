package plan

import "testing"

func TestTooOld(t *testing.T) {
	for release, want := range map[string]bool{
		"2.6.32-754.el6.x86_64": true, "4.19.0-27-amd64": true, "5.3.18": true, "5.4.0": false, "5.10.245-241.amzn2.x86_64": false,
		"6.1.0": false, "6.18.44-fc-v782": false, "10.0": false, "": false, "unknown": false,
	} {
		if got := tooOld(release); (got != "") != want {
			t.Errorf("%q: %q", release, got)
		}
	}
}
