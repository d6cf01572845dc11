package lease

import (
	"encoding/json"
	"math"
	"net/netip"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

const (
	// HolderAnnotation holds what a gateway that wrote the Lease says about itself, as JSON.
	// It counts only while it agrees with holderIdentity and leaseTransitions: a contender
	// that knows nothing of it leaves it behind.
	HolderAnnotation = "hybrid-gateway/holder"
	// HandoverAnnotation says, as JSON, how the Lease became vacant on purpose. It counts only
	// while the Lease is vacant at the epoch it names.
	HandoverAnnotation = "hybrid-gateway/handover"
)

// maxEpoch is the greatest epoch believed in an annotation, so that there is always a
// next one.
const maxEpoch = 1 << 62

// holder is the JSON in HolderAnnotation.
type holder struct {
	ID          string      `json:"id"`
	NodeIP      netip.Addr  `json:"nodeIP,omitzero"`
	ENI         string      `json:"eni,omitempty"`
	Zone        string      `json:"zone,omitempty"`
	VTEPMAC     netaddr.MAC `json:"vtepMAC,omitzero"`
	Epoch       uint64      `json:"epoch"`
	Incarnation string      `json:"incarnation"`
	Write       uint64      `json:"write"`
	// ConvergedEpoch is the epoch under which the VPC's routes last pointed to the holder.
	ConvergedEpoch uint64 `json:"convergedEpoch,omitempty"`
}

// handover is the JSON in HandoverAnnotation.
type handover struct {
	From        string `json:"from"`
	Epoch       uint64 `json:"epoch"`
	Traceparent string `json:"traceparent,omitempty"`
}

// decode reads whatever a Lease may hold. Absent and absurd fields count as zero, and
// annotations that make no sense as absent.
func decode(l *coordinationv1.Lease) term.Record {
	var r term.Record
	if id := l.Spec.HolderIdentity; id != nil {
		r.Holder.ID = *id
	}
	if n := l.Spec.LeaseTransitions; n != nil && *n > 0 {
		r.Epoch = uint64(*n)
	}
	if s := l.Spec.LeaseDurationSeconds; s != nil && *s > 0 {
		r.Duration = time.Duration(*s) * time.Second
	}
	if at := l.Spec.RenewTime; at != nil {
		r.Renewed = at.Time
	}
	if h := decodeHolder(l, r); h != nil {
		r.Holder = term.Gateway{ID: h.ID, NodeIP: h.NodeIP, ENI: h.ENI, Zone: h.Zone, MAC: h.VTEPMAC}
		r.Epoch, r.Incarnation, r.Write, r.Converged = h.Epoch, h.Incarnation, h.Write, h.ConvergedEpoch
	}
	var h handover
	text, ok := l.Annotations[HandoverAnnotation]
	if ok && json.Unmarshal([]byte(text), &h) == nil && h.Epoch == r.Epoch && (r.Holder.ID == "" || r.Incarnation != "") {
		r.Handover = &term.Handover{From: h.From, Traceparent: h.Traceparent}
	}
	return r
}

// decodeHolder returns nil when the annotation is not about what the Lease's own fields, in
// r, say.
func decodeHolder(l *coordinationv1.Lease, r term.Record) *holder {
	var h holder
	text, ok := l.Annotations[HolderAnnotation]
	if !ok || json.Unmarshal([]byte(text), &h) != nil {
		return nil
	}
	if h.ID != r.Holder.ID || h.Epoch > maxEpoch || uint64(transitions(h.Epoch)) != r.Epoch {
		return nil
	}
	return &h
}

// transitions is the epoch as far as leaseTransitions can hold it.
func transitions(epoch uint64) int32 {
	return int32(min(epoch, math.MaxInt32))
}

// encode puts r into l, as written at the given time.
func encode(r term.Record, l *coordinationv1.Lease, now time.Time) error {
	at := metav1.NewMicroTime(now)
	if l.Spec.AcquireTime == nil || decode(l).Epoch != r.Epoch || r.Holder.ID == "" {
		l.Spec.AcquireTime = &at
	}
	seconds := int32((r.Duration + time.Second - 1) / time.Second)
	epoch := transitions(r.Epoch)
	l.Spec.HolderIdentity = &r.Holder.ID
	l.Spec.LeaseDurationSeconds = &seconds
	l.Spec.RenewTime = &at
	l.Spec.LeaseTransitions = &epoch

	about, err := json.Marshal(holder{
		ID: r.Holder.ID, NodeIP: r.Holder.NodeIP, ENI: r.Holder.ENI, Zone: r.Holder.Zone, VTEPMAC: r.Holder.MAC,
		Epoch: r.Epoch, Incarnation: r.Incarnation, Write: r.Write, ConvergedEpoch: r.Converged,
	})
	if err != nil {
		return err
	}
	if l.Annotations == nil {
		l.Annotations = make(map[string]string)
	}
	l.Annotations[HolderAnnotation] = string(about)
	delete(l.Annotations, HandoverAnnotation)
	if r.Handover == nil {
		return nil
	}
	left, err := json.Marshal(handover{From: r.Handover.From, Epoch: r.Epoch, Traceparent: r.Handover.Traceparent})
	if err != nil {
		return err
	}
	l.Annotations[HandoverAnnotation] = string(left)
	return nil
}
