// Package clip bounds what is shown of texts that come from outside.
package clip

import "strings"

// Text is s, or its first bytes and "…" when it is longer than longest, in bytes without the "…". What was
// valid UTF-8 stays so, as protobuf demands.
func Text(s string, longest int) string {
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
