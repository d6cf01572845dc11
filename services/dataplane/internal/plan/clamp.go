package plan

// Clamp is the state of the rules that bound the maximum segment size of TCP connections through the tunnel.
type Clamp uint8

// The states.
const (
	ClampAbsent Clamp = iota
	ClampSound
	ClampOdd // not as we make them
)

type (
	// SetClamp makes the rules anew, in the place of whatever is there.
	SetClamp struct{}
	// DeleteClamp removes them.
	DeleteClamp struct{}
)

func (SetClamp) kind() string    { return "clamp-set" }
func (DeleteClamp) kind() string { return "clamp-delete" }

func (SetClamp) String() string    { return "clamp set" }
func (DeleteClamp) String() string { return "clamp delete" }

// planClamp sees to the rules. Nothing else depends on them.
func (t *Target) planClamp(a Actual) []Op {
	switch {
	case t.desired.ClampMSS && a.Clamp != ClampSound:
		return []Op{SetClamp{}}
	case !t.desired.ClampMSS && a.Clamp != ClampAbsent:
		return []Op{DeleteClamp{}}
	}
	return nil
}
