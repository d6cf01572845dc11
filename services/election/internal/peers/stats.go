package peers

import "sync/atomic"

// Reason why a datagram was dropped.
type Reason uint8

const (
	// BadSize, BadVersion, BadKey and BadContent: see the errors of package wire.
	BadSize Reason = iota
	BadVersion
	BadKey
	BadContent
	// UnknownSource: it did not come from the address of a peer.
	UnknownSource
	// OwnID: it carries this gateway's own ID. Either it was reflected or two gateways have the same ID.
	OwnID
	// Replayed: it is not newer than the last of its session.
	Replayed
	// Unproven: it is of a session that has not answered our challenge. A few come with each start of a peer.
	Unproven

	reasons
)

func (r Reason) String() string {
	names := [reasons]string{"bad-size", "bad-version", "bad-key", "bad-content", "unknown-source", "own-id", "replayed", "unproven"}
	if r >= reasons {
		return "invalid"
	}
	return names[r]
}

// Stats counts since the start.
type Stats struct {
	Sent uint64
	// SendFailed: the kernel did not take it, such as for want of a route.
	SendFailed uint64
	// Accepted counts the heartbeats that were taken for a sign of life.
	Accepted uint64
	// Overflowed were thrown away by the kernel because they were not read in time.
	Overflowed uint64
	// Refused counts the peers that were not watched because there are MaxPeers already.
	Refused uint64
	// Dropped has all reasons.
	Dropped map[Reason]uint64
}

type counters struct {
	sent, sendFailed, accepted, overflowed, refused atomic.Uint64
	dropped                                         [reasons]atomic.Uint64
}

func (c *counters) read() Stats {
	s := Stats{
		Sent: c.sent.Load(), SendFailed: c.sendFailed.Load(), Accepted: c.accepted.Load(),
		Overflowed: c.overflowed.Load(), Refused: c.refused.Load(), Dropped: make(map[Reason]uint64, reasons),
	}
	for r := range reasons {
		s.Dropped[r] = c.dropped[r].Load()
	}
	return s
}
