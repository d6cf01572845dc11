package plan

import (
	"fmt"
	"strings"
)

// The oldest kernel that the dataplane is meant for. What it needs of a kernel came with 4.20 (checked dumps of neighbours and routes, the
// "don't fragment" setting of VXLAN devices); 5.4 is the first after it that is maintained for long.
const (
	oldestMajor = 5
	oldestMinor = 4
)

// tooOld says, of a kernel's release as uname tells it, what is wrong with it; it is empty when nothing is, or when the release says
// nothing.
func tooOld(release string) string {
	var major, minor int
	if n, _ := fmt.Sscanf(strings.Replace(release, "-", " ", 1), "%d.%d", &major, &minor); n < 2 {
		return ""
	}
	if major > oldestMajor || major == oldestMajor && minor >= oldestMinor {
		return ""
	}
	return fmt.Sprintf("kernel %s is too old: run the gateway on a node with %d.%d or newer", release, oldestMajor, oldestMinor)
}
