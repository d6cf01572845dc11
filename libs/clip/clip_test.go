package clip_test

import (
	"testing"

	"github.com/hybridgateway/gateway/libs/clip"
)

func TestText(t *testing.T) {
	for _, c := range []struct {
		text    string
		longest int
		want    string
	}{
		{"", 3, ""},
		{"abc", 3, "abc"},
		{"abcd", 3, "abc…"},
		{"aäb", 2, "a…"}, // not half of a character
	} {
		if got := clip.Text(c.text, c.longest); got != c.want {
			t.Errorf("%q, %d: got %q, want %q", c.text, c.longest, got, c.want)
		}
	}
}
