package plan

import (
	"fmt"
	"time"
)

// recheckSelf is the time between two looks at this gateway's own interface while something is wrong with it.
const recheckSelf = time.Minute

// SourceDestCheck is whether EC2 drops what an interface sends or receives for others' addresses.
type SourceDestCheck uint8

const (
	// CheckUnknown means: nobody has looked yet.
	CheckUnknown SourceDestCheck = iota
	// CheckOff means: it does not, as it must be for a gateway.
	CheckOff
	// CheckOn means: it does.
	CheckOn
)

type (
	// Inspect reads the source/destination check of this gateway's interface. InspectDone reports its end.
	Inspect struct{ Interface string }
	// SwitchOff switches it off. SwitchOffDone reports its end.
	SwitchOff struct {
		Interface string
		Epoch     uint64
	}
)

func (Inspect) action()   {}
func (SwitchOff) action() {}

func (i Inspect) String() string { return "inspect " + i.Interface }
func (s SwitchOff) String() string {
	return fmt.Sprintf("switch off the check of %s epoch %d", s.Interface, s.Epoch)
}

// checking is what is known about the check, and when to look again.
type checking struct {
	busy     bool
	at       time.Duration
	state    SourceDestCheck
	absent   bool
	failures int
	failure  string // of the last look
	refusal  string // of the last attempt to switch it off
	refusals int
	retryAt  time.Duration
}

func (c *checking) want(at time.Duration) { c.at, c.retryAt, c.refusals = min(c.at, at), 0, 0 }

// switchAction switches the check off, if that is due.
func (s *State) switchAction(now time.Duration) (Action, bool) {
	if now < s.switchWake() {
		return nil, false
	}
	s.check.busy = true
	s.spend(now)
	return SwitchOff{Interface: s.config.Interface, Epoch: s.acting}, true
}

// switchWake is when the check is to be switched off. That is a write, so it takes an epoch.
func (s *State) switchWake() time.Duration {
	c := &s.check
	if c.busy || s.acting == 0 || s.retired || !s.config.ManageCheck || c.state != CheckOn {
		return never
	}
	return max(c.retryAt, s.writable(reserveTakeover))
}

// inspectAction looks at the check, if that is due.
func (s *State) inspectAction(now time.Duration) (Action, bool) {
	if now < s.inspectWake() {
		return nil, false
	}
	s.check.busy, s.check.at = true, never
	s.reads.spend(now)
	return Inspect{Interface: s.config.Interface}, true
}

func (s *State) inspectWake() time.Duration {
	c := &s.check
	if c.busy || c.at == never {
		return never
	}
	return max(c.at, s.reads.ready(0))
}

// InspectDone takes the end of an Inspect.
func (s *State) InspectDone(_ Inspect, exists, on bool, result Result, now time.Duration) {
	c := &s.check
	c.busy = false
	if result.Outcome != Done {
		c.failures++
		c.failure = result.Detail
		c.at = min(c.at, now+backoff{time.Second, recheckSelf}.after(c.failures))
		return
	}
	c.failures, c.failure, c.absent = 0, "", !exists
	c.state = CheckOff
	if on || !exists {
		c.state = CheckOn
		c.at = min(c.at, now+recheckSelf)
	}
	if !exists {
		c.state = CheckUnknown
	}
	if c.state == CheckOff {
		c.refusal = ""
	}
}

// SwitchOffDone takes the end of a SwitchOff.
func (s *State) SwitchOffDone(_ SwitchOff, result Result, now time.Duration) {
	c := &s.check
	c.busy = false
	if result.Outcome == Fenced {
		return
	}
	s.budget.extra(result.Hedges, now)
	switch result.Outcome {
	case Done:
		c.state, c.refusal = CheckOff, ""
	case Throttled:
		s.throttled(now, now)
	default:
		c.refusal = result.Detail
		c.refusals++
		c.retryAt = now + stubborn().after(c.refusals)
		c.at = min(c.at, c.retryAt) // somebody may have switched it off meanwhile
	}
}

// SwitchesOff tells whether the check is on, and only waits for this gateway to lead to be switched off.
func (s *State) SwitchesOff() bool {
	return s.check.state == CheckOn && s.config.ManageCheck && s.check.refusal == ""
}

// Self is what is known about this gateway's own interface: its check, and what is wrong with it and how to mend it.
func (s *State) Self() (check SourceDestCheck, problem string) {
	c := &s.check
	eni := s.config.Interface
	remedy := "run: aws ec2 modify-network-interface-attribute --region " + s.config.Region +
		" --network-interface-id " + eni + " --no-source-dest-check"
	switch {
	case c.absent:
		return CheckUnknown, "network interface " + eni + " does not exist in this account and region; correct --eni"
	case c.state == CheckOn && c.refusal != "":
		return c.state, "EC2 drops what the gateway forwards, since the source/destination check of " + eni +
			" is on and could not be switched off (" + c.refusal + "); " + remedy
	case s.SwitchesOff():
		return c.state, "the source/destination check of " + eni + " is on; it is switched off when this gateway leads"
	case c.state == CheckOn:
		return c.state, "EC2 drops what the gateway forwards, since the source/destination check of " + eni +
			" is on; " + remedy + ", or set --manage-source-dest-check"
	case c.failure != "":
		return c.state, "the source/destination check of " + eni + " cannot be read: " + c.failure
	}
	return c.state, ""
}
