package plan

import "testing"

// What is taken for a destination is written as it was read, so that two names never mean one
// route.
func FuzzParseDestination(f *testing.F) {
	for _, text := range []string{"100.64.0.0/16", "fd00:10::/56", "pl-0123456789abcdef0", "10.0.0.1/8", "::ffff:10.0.0.0/104", ""} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDestination(text)
		if err != nil {
			return
		}
		again, err := ParseDestination(d.String())
		if err != nil || again != d {
			t.Errorf("%q is %v, which is %v, %v", text, d, again, err)
		}
	})
}
