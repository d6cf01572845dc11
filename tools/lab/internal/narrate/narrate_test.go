package narrate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridgateway/gateway/tools/lab/internal/narrate"
)

func TestNarrator(t *testing.T) {
	now := time.Unix(0, 0)
	var out strings.Builder
	n := narrate.New(&out, 7, func() time.Time { return now })
	now = now.Add(2300 * time.Millisecond)
	n.Title("The lab")
	n.Step("EC2 pod to on-premises pod")
	n.Why("%s", strings.Repeat("word ", 21))
	n.Doing("asking")
	n.OK("%d answers", 3)
	n.Line("+0.001 s")
	want := `
[  2.3 s] The lab

[  2.3 s] 1/7  EC2 pod to on-premises pod
       word word word word word word word word word word word word word word word word word word
       word word word
     … asking
     ✓ 3 answers
         +0.001 s
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"a b", []string{"a b"}},
		{"aaa bbb ccc", []string{"aaa", "bbb", "ccc"}},
		{"toolongaword b", []string{"toolongaword", "b"}},
		{"→→ →→", []string{"→→ →→"}},
	} {
		if d := cmp.Diff(tt.want, narrate.Wrap(tt.text, 5)); d != "" {
			t.Errorf("Wrap(%q): %s", tt.text, d)
		}
	}
}
