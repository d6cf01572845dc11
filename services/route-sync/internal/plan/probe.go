package plan

import "time"

// Times of probes.
const (
	// probeMissing is the time between two probes of a permission that is missing.
	probeMissing = time.Minute
	// probePause is the time between two probes, so that they do not use up what EC2 allows.
	probePause = 200 * time.Millisecond
)

// Probe asks EC2 by a dry run whether the gateway's role has a permission. ProbeDone reports its end.
type Probe struct {
	Need
	Interface string
}

func (Probe) action() {}

func (p Probe) String() string { return "probe " + p.Action + " " + p.ID }

// Permission is one that the gateway's role lacks.
type Permission struct{ Action, Resource string }

// probing is which permissions are still to be asked for, or again.
type probing struct {
	busy  bool
	at    time.Duration
	queue []probed
	// missing are those that are lacking, in the order of being found.
	missing []Need
}

type probed struct {
	Need
	at time.Duration
}

// planProbes notes what is to be asked, once the tables were read.
func (s *State) planProbes(now time.Duration) {
	if s.probes.queue != nil || s.account == "" {
		return
	}
	for _, n := range Needs(s.config) {
		s.probes.queue = append(s.probes.queue, probed{n, now})
	}
}

// probeAction is the next probe, if one is due. A takeover goes first, until all that is left of it fails: most likely
// for want of a permission.
func (s *State) probeAction(now time.Duration) (Action, bool) {
	if now < s.probeWake() {
		return nil, false
	}
	p := &s.probes
	next := p.queue[0]
	p.busy = true
	s.spend(now)
	return Probe{Need: next.Need, Interface: s.config.Interface}, true
}

func (s *State) probeWake() time.Duration {
	p := &s.probes
	if p.busy || len(p.queue) == 0 || s.acting != 0 && !s.converged && !s.stalled {
		return never
	}
	return max(p.at, p.queue[0].at, s.writable(reserveOther))
}

// ProbeDone takes the end of a Probe: Done when the permission is there, Denied when it is not.
func (s *State) ProbeDone(w Probe, result Result, now time.Duration) {
	p := &s.probes
	p.busy, p.at = false, now+probePause
	head := p.queue[0]
	p.queue = p.queue[1:]
	var missing []Need
	for _, n := range p.missing {
		if n != w.Need {
			missing = append(missing, n)
		}
	}
	p.missing = missing
	switch result.Outcome {
	case Denied:
		p.missing = append(p.missing, w.Need)
		head.at = now + probeMissing
	case Throttled:
		s.budget.empty(now)
		head.at = now + probeMissing
	case Unknown:
		head.at = now + probeMissing
	default:
		// Whatever else is amiss, it was not refused.
		return
	}
	p.queue = append(p.queue, head)
}

// Missing are the permissions that the gateway's role lacks.
func (s *State) Missing() []Permission {
	var missing []Permission
	for _, n := range s.probes.missing {
		missing = append(missing, Permission{"ec2:" + n.Action, n.ARN(s.config.Region, s.account)})
	}
	return missing
}
