package etcd

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/registertest"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

func TestRecordsComeBackAsWritten(t *testing.T) {
	written := time.Date(2026, 4, 1, 12, 0, 0, 123456789, time.UTC)
	for name, r := range map[string]term.Record{
		"held":        registertest.Record(registertest.Gateway1(), 7, 3),
		"converged":   {Holder: registertest.Gateway1(), Epoch: 7, Incarnation: "x", Write: 3, Duration: 3 * time.Second, Converged: 7},
		"id only":     {Holder: term.Gateway{ID: "gw1"}, Epoch: 7, Incarnation: "x", Write: 3, Duration: 2100 * time.Millisecond},
		"given up":    {Epoch: 7, Incarnation: "x", Write: 4, Duration: time.Second, Handover: &term.Handover{From: "gw1", Traceparent: "00-1-2-01"}},
		"given to":    {Holder: registertest.Gateway1(), Epoch: 8, Incarnation: "x", Write: 4, Duration: time.Second, Handover: &term.Handover{From: "gw2"}},
		"great epoch": {Holder: registertest.Gateway1(), Epoch: maxEpoch, Incarnation: "x", Write: math.MaxUint64},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := encode(r, written)
			if err != nil {
				t.Fatal(err)
			}
			want := r
			want.Renewed = written
			if got, ok := decode(text); !ok || !reflect.DeepEqual(got, want) {
				t.Errorf("wrote %+v\nread  %+v, %v", want, got, ok)
			}
		})
	}
}

// What somebody else put into the key is no record, or one that the term can bear.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `7`, `{}`, `{"epoch":-1}`, `{"epoch":18446744073709551615}`,
		`{"epoch":7,"holder":{"id":"gw1","nodeIP":"10.0.0.10","vtepMAC":"02:00:0a:00:00:0a"}}`,
		`{"epoch":7,"leaseDurationMilliseconds":9223372036854775807}`, `{"epoch":7,"leaseDurationMilliseconds":-5}`,
		`{"epoch":7,"renewTime":"soon"}`, `{"epoch":7,"holder":{"vtepMAC":"zz"}}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := decode([]byte(text))
		if !ok && !reflect.DeepEqual(r, term.Record{}) {
			t.Errorf("%q is no record, yet read as %+v", text, r)
		}
		if ok && (r.Epoch == 0 || r.Epoch+1 > maxEpoch+1 || r.Duration < 0) {
			t.Errorf("%q: %+v", text, r)
		}
	})
}
