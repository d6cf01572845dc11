package lease

import (
	"math"
	"net/netip"
	"reflect"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

var (
	gateway1 = term.Gateway{
		ID: "gw1", NodeIP: netip.MustParseAddr("10.0.0.10"), ENI: "eni-1", Zone: "zone-a",
		MAC: netaddr.MAC{2, 0, 10, 0, 0, 10},
	}
	written = time.Date(2026, 4, 1, 12, 0, 0, 123456000, time.UTC)
)

func TestRecordsComeBackAsWritten(t *testing.T) {
	for name, r := range map[string]term.Record{
		"held":        {Holder: gateway1, Epoch: 7, Incarnation: "x", Write: 3, Duration: 3 * time.Second},
		"converged":   {Holder: gateway1, Epoch: 7, Incarnation: "x", Write: 3, Duration: 3 * time.Second, Converged: 7},
		"id only":     {Holder: term.Gateway{ID: "gw1"}, Epoch: 7, Incarnation: "x", Write: 3, Duration: 3 * time.Second},
		"given":       {Holder: term.Gateway{ID: "gw2"}, Epoch: 8, Incarnation: "x", Write: 5, Duration: 3 * time.Second, Handover: &term.Handover{From: "gw1"}},
		"handed over": {Epoch: 7, Incarnation: "x", Write: 4, Duration: 3 * time.Second, Handover: &term.Handover{From: "gw1", Traceparent: "00-1-2-01"}},
		"huge epoch":  {Holder: gateway1, Epoch: math.MaxInt32 + 5, Incarnation: "x", Write: 3, Duration: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var l coordinationv1.Lease
			if err := encode(r, &l, written); err != nil {
				t.Fatal(err)
			}
			want := r
			want.Renewed = written
			if got := decode(&l); !reflect.DeepEqual(got, want) {
				t.Errorf("wrote %+v\nread  %+v", want, got)
			}
		})
	}
}

// A sub-second part of the lease duration is rounded up, so that a stock contender waits
// no shorter than we promise.
func TestDurationIsRoundedUp(t *testing.T) {
	var l coordinationv1.Lease
	if err := encode(term.Record{Holder: gateway1, Duration: 2100 * time.Millisecond}, &l, written); err != nil {
		t.Fatal(err)
	}
	if got := *l.Spec.LeaseDurationSeconds; got != 3 {
		t.Errorf("leaseDurationSeconds is %d, want 3", got)
	}
}

func TestAcquireTimeIsThatOfTheEpoch(t *testing.T) {
	var l coordinationv1.Lease
	for _, step := range []struct {
		epoch        uint64
		at, acquired time.Time
	}{
		{1, written, written},
		{1, written.Add(time.Second), written},
		{2, written.Add(2 * time.Second), written.Add(2 * time.Second)},
	} {
		if err := encode(term.Record{Holder: gateway1, Epoch: step.epoch}, &l, step.at); err != nil {
			t.Fatal(err)
		}
		if !l.Spec.AcquireTime.Time.Equal(step.acquired) || !l.Spec.RenewTime.Time.Equal(step.at) {
			t.Errorf("epoch %d: acquired %v, renewed %v", step.epoch, l.Spec.AcquireTime, l.Spec.RenewTime)
		}
	}
}

func TestForeignAndAbsurdLeases(t *testing.T) {
	micro := metav1.NewMicroTime(written)
	spec := func(holder string, seconds, transitions int32) coordinationv1.LeaseSpec {
		return coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: &seconds, LeaseTransitions: &transitions, RenewTime: &micro,
		}
	}
	about := func(text string) map[string]string { return map[string]string{HolderAnnotation: text} }
	left := func(text string) map[string]string { return map[string]string{HandoverAnnotation: text} }
	held := term.Record{Holder: term.Gateway{ID: "gw1"}, Epoch: 7, Duration: 15 * time.Second, Renewed: written}
	vacant := term.Record{Epoch: 7, Duration: time.Second, Renewed: written}
	for name, c := range map[string]struct {
		spec        coordinationv1.LeaseSpec
		annotations map[string]string
		want        term.Record
	}{
		"empty":                      {coordinationv1.LeaseSpec{}, nil, term.Record{}},
		"stock":                      {spec("gw1", 15, 7), nil, held},
		"stock, released":            {spec("", 1, 7), nil, vacant},
		"negative":                   {spec("gw1", -15, -7), nil, term.Record{Holder: term.Gateway{ID: "gw1"}, Renewed: written}},
		"most transitions":           {spec("gw1", 15, math.MaxInt32), nil, term.Record{Holder: term.Gateway{ID: "gw1"}, Epoch: math.MaxInt32, Duration: 15 * time.Second, Renewed: written}},
		"annotation of last holder":  {spec("gw1", 15, 7), about(`{"id":"gw2","epoch":6,"incarnation":"x","convergedEpoch":6}`), held},
		"annotation of last epoch":   {spec("gw1", 15, 7), about(`{"id":"gw1","epoch":6,"incarnation":"x","convergedEpoch":6}`), held},
		"annotation of no epoch":     {spec("gw1", 15, 7), about(`{"id":"gw1"}`), held},
		"annotation with last epoch": {spec("gw1", 15, math.MaxInt32), about(`{"id":"gw1","epoch":18446744073709551615}`), term.Record{Holder: term.Gateway{ID: "gw1"}, Epoch: math.MaxInt32, Duration: 15 * time.Second, Renewed: written}},
		"annotation is no JSON":      {spec("gw1", 15, 7), about(`{"id":"gw1"`), held},
		"annotation with bad MAC":    {spec("gw1", 15, 7), about(`{"id":"gw1","epoch":7,"vtepMAC":"zz"}`), held},
		"annotation with bad IP":     {spec("gw1", 15, 7), about(`{"id":"gw1","epoch":7,"nodeIP":"10.0.0"}`), held},
		"handover of earlier epoch":  {spec("", 1, 7), left(`{"from":"gw2","epoch":5}`), vacant},
		"handover, but held":         {spec("gw1", 15, 7), left(`{"from":"gw2","epoch":7}`), held},
		"handover is no JSON":        {spec("", 1, 7), left(`7`), vacant},
	} {
		t.Run(name, func(t *testing.T) {
			l := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: c.annotations}, Spec: c.spec}
			if got := decode(&l); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// Whatever the annotations hold, nothing panics, and there is always a next epoch.
func FuzzDecode(f *testing.F) {
	f.Add("gw1", int32(7), `{"id":"gw1","epoch":7,"nodeIP":"10.0.0.10","vtepMAC":"02:00:0a:00:00:0a"}`, ``)
	f.Add("", int32(-1), `{"epoch":18446744073709551615}`, `{"from":"gw2","epoch":5}`)
	f.Fuzz(func(t *testing.T, holder string, transitions int32, about, left string) {
		l := coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{HolderAnnotation: about, HandoverAnnotation: left}},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseTransitions: &transitions},
		}
		r := decode(&l)
		if r.Holder.ID != holder {
			t.Errorf("the holder %q became %q", holder, r.Holder.ID)
		}
		if r.Epoch+1 < r.Epoch || r.Epoch > maxEpoch {
			t.Errorf("no epoch follows %d", r.Epoch)
		}
	})
}
