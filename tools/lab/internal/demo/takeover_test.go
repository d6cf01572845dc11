package demo

import (
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

func TestFirst(t *testing.T) {
	at := func(s int64) timeline.Span { return timeline.Span{End: time.Unix(s, 0)} }
	if got := first([]timeline.Span{at(3), at(1), at(2)}); got.End.Unix() != 1 {
		t.Errorf("first is the one that ended at %v", got.End)
	}
}

func TestSuspected(t *testing.T) {
	root := func(cause string) timeline.Span {
		return timeline.Span{Gateway: "gw2", Attributes: map[string]string{"cause": cause, "previous_holder": "gw1"}}
	}
	if err := suspected(root("suspected")); err != nil {
		t.Error(err)
	}
	for _, cause := range []string{"expired", "vacant", "handover", ""} {
		if err := suspected(root(cause)); err == nil || !strings.Contains(err.Error(), "cause \""+cause+"\"") {
			t.Errorf("a takeover with cause %q: %v", cause, err)
		}
	}
}
