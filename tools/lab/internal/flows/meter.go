package flows

import (
	"errors"
	"fmt"

	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// Meter is a reading of the counters that tell which way packets went.
type Meter struct {
	In, Out uint64 // through the gateways' tunnel devices: from and to on-premises
	Outside uint64 // packets with a pod address that tried to cross the WAN without the tunnel; the fabric drops them
}

// Read reads the counters.
func Read(l *lab.Lab) (Meter, error) {
	var m Meter
	for _, g := range l.Gateways {
		t, err := g.Tunnelled()
		if err != nil {
			return Meter{}, err
		}
		m.In += t.In
		m.Out += t.Out
	}
	drops, err := l.World.Fabric.Drops()
	if err != nil {
		return Meter{}, err
	}
	m.Outside = drops.PodAddresses
	return m, nil
}

// Since is the difference to an earlier reading.
func (m Meter) Since(before Meter) Meter {
	return Meter{In: m.In - before.In, Out: m.Out - before.Out, Outside: m.Outside - before.Outside}
}

// Tunnelled tells why what was metered does not prove a flow through the tunnel
// in both directions.
func (m Meter) Tunnelled() error {
	switch {
	case m.Outside > 0:
		return fmt.Errorf("%d packets with pod addresses tried to cross the WAN outside of the tunnel", m.Outside)
	case m.Out == 0:
		return errors.New("no packet left through hybrid_vxlan0")
	case m.In == 0:
		return errors.New("no packet came in through hybrid_vxlan0")
	}
	return nil
}

// Metered does something, and returns what the counters say about it. It fails
// when that is not a flow through the tunnel.
func Metered(l *lab.Lab, do func() error) (Meter, error) {
	before, err := Read(l)
	if err != nil {
		return Meter{}, err
	}
	if err := do(); err != nil {
		return Meter{}, err
	}
	after, err := Read(l)
	if err != nil {
		return Meter{}, err
	}
	m := after.Since(before)
	return m, m.Tunnelled()
}
