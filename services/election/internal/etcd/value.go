package etcd

import (
	"encoding/json"
	"net/netip"
	"time"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// maxEpoch is the greatest epoch believed, so that there is always a next one.
const maxEpoch = 1 << 62

// value is the JSON in the key.
type value struct {
	Holder      *holder `json:"holder,omitempty"`
	Epoch       uint64  `json:"epoch"`
	Incarnation string  `json:"incarnation,omitempty"`
	Write       uint64  `json:"write"`
	// LeaseDuration is in milliseconds.
	LeaseDuration int64     `json:"leaseDurationMilliseconds"`
	RenewTime     time.Time `json:"renewTime"`
	// ConvergedEpoch is the epoch under which the VPC's routes last pointed to the holder.
	ConvergedEpoch uint64    `json:"convergedEpoch,omitempty"`
	Handover       *handover `json:"handover,omitempty"`
}

type holder struct {
	ID      string      `json:"id"`
	NodeIP  netip.Addr  `json:"nodeIP,omitzero"`
	ENI     string      `json:"eni,omitempty"`
	Zone    string      `json:"zone,omitempty"`
	VTEPMAC netaddr.MAC `json:"vtepMAC,omitzero"`
}

type handover struct {
	From        string `json:"from"`
	Traceparent string `json:"traceparent,omitempty"`
}

// encode is r as written at the given time.
func encode(r term.Record, now time.Time) ([]byte, error) {
	v := value{
		Epoch: r.Epoch, Incarnation: r.Incarnation, Write: r.Write, ConvergedEpoch: r.Converged,
		LeaseDuration: r.Duration.Milliseconds(), RenewTime: now.UTC(),
	}
	if g := r.Holder; g.ID != "" {
		v.Holder = &holder{ID: g.ID, NodeIP: g.NodeIP, ENI: g.ENI, Zone: g.Zone, VTEPMAC: g.MAC}
	}
	if h := r.Handover; h != nil {
		v.Handover = &handover{From: h.From, Traceparent: h.Traceparent}
	}
	return json.Marshal(v)
}

// decode reads whatever a key may hold; ok is false when it makes no sense.
func decode(text []byte) (r term.Record, ok bool) {
	var v value
	if json.Unmarshal(text, &v) != nil || v.Epoch == 0 || v.Epoch > maxEpoch {
		return term.Record{}, false
	}
	r = term.Record{
		Epoch: v.Epoch, Incarnation: v.Incarnation, Write: v.Write, Converged: v.ConvergedEpoch, Renewed: v.RenewTime,
	}
	const most = int64(time.Hour / time.Millisecond) // more than the term believes
	r.Duration = time.Duration(max(0, min(v.LeaseDuration, most))) * time.Millisecond
	if h := v.Holder; h != nil {
		r.Holder = term.Gateway{ID: h.ID, NodeIP: h.NodeIP, ENI: h.ENI, Zone: h.Zone, MAC: h.VTEPMAC}
	}
	if h := v.Handover; h != nil {
		r.Handover = &term.Handover{From: h.From, Traceparent: h.Traceparent}
	}
	return r, true
}
