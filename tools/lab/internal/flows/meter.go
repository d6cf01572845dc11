package flows

import (
	"errors"
	"fmt"

	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// Meter is a reading of the counters that tell which way packets went.
type Meter struct {
	In, Out uint64 // VXLAN packets on the WAN, from and to on-premises
	Outside uint64 // packets with a pod address that tried to cross the WAN without the tunnel; the fabric drops them
}

// Read reads the counters.
func Read(l *lab.Lab) (Meter, error) {
	t, err := l.World.Fabric.Tunnelled()
	if err != nil {
		return Meter{}, err
	}
	drops, err := l.World.Fabric.Drops()
	if err != nil {
		return Meter{}, err
	}
	return Meter{In: t.In, Out: t.Out, Outside: drops.PodAddresses}, nil
}

// Since is the difference to an earlier reading.
func (m Meter) Since(before Meter) Meter {
	return Meter{In: m.In - before.In, Out: m.Out - before.Out, Outside: m.Outside - before.Outside}
}

// Tunnelled tells why what was metered does not prove that a number of questions
// and their answers went through the tunnel: each is a packet at least.
func (m Meter) Tunnelled(questions int) error {
	switch {
	case m.Outside > 0:
		return fmt.Errorf("%d packets with pod addresses tried to cross the WAN outside of the tunnel", m.Outside)
	case questions == 0:
		return errors.New("nothing was asked")
	case m.Out < uint64(questions):
		return fmt.Errorf("%d packets left through the tunnel, for %d questions", m.Out, questions)
	case m.In < uint64(questions):
		return fmt.Errorf("%d packets came in through the tunnel, for %d questions", m.In, questions)
	}
	return nil
}

// Metered does something that asks questions, returns how many, and what the
// counters say about it. It fails when that is not a flow through the tunnel.
func Metered(l *lab.Lab, do func() (questions int, err error)) (int, Meter, error) {
	before, err := Read(l)
	if err != nil {
		return 0, Meter{}, err
	}
	questions, err := do()
	if err != nil {
		return questions, Meter{}, err
	}
	after, err := Read(l)
	if err != nil {
		return questions, Meter{}, err
	}
	m := after.Since(before)
	return questions, m, m.Tunnelled(questions)
}
