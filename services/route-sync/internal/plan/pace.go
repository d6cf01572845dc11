package plan

import "time"

// never is a time that does not come.
const never = time.Duration(1<<63 - 1)

// backoff is an exponential wait.
type backoff struct{ first, most time.Duration }

// after is how long to wait after the nth failure in a row, n from 1.
func (b backoff) after(n int) time.Duration {
	wait := b.first
	for range n - 1 {
		if wait >= b.most {
			break
		}
		wait *= 2
	}
	return min(wait, b.most)
}

// transient is for failures that may be over in a moment.
func transient() backoff { return backoff{50 * time.Millisecond, 10 * time.Second} }

// stubborn is for failures that somebody has to mend.
func stubborn() backoff { return backoff{5 * time.Second, time.Minute} }

const (
	// paceFirst is the time between two writes once EC2 has throttled: its bucket gains about five
	// calls in a second.
	paceFirst = 220 * time.Millisecond
	paceMost  = 3 * time.Second
	// paceCalm is how long nothing may have been written until the pace is forgotten: about the time
	// in which the bucket is full again.
	paceCalm = 10 * time.Second
)

// pace slows writes down after EC2 has throttled one. The zero pace does not limit.
type pace struct {
	interval  time.Duration
	next      time.Duration // no write starts earlier
	changedAt time.Duration
}

// throttled notes that a write that began at startedAt was refused. Of a burst of refused writes
// only the first counts.
func (p *pace) throttled(startedAt, now time.Duration) {
	if p.interval > 0 && startedAt <= p.changedAt {
		return
	}
	p.interval = min(max(p.interval+p.interval/2, paceFirst), paceMost)
	p.changedAt = now
	p.next = now + p.interval
}

// accepted notes that a write was not refused.
func (p *pace) accepted(startedAt time.Duration) {
	if p.interval > 0 && startedAt > p.changedAt {
		p.interval = max(p.interval-p.interval/8, paceFirst)
	}
}

// started notes that a write begins.
func (p *pace) started(now time.Duration) {
	if p.interval > 0 {
		p.next = now + p.interval
	}
}

// writable is when a call that changes something may start and leave the given share of the bucket.
func (s *State) writable(reserve float64) time.Duration {
	return max(s.pace.next, s.budget.ready(reserve))
}

// spend notes that such a call starts.
func (s *State) spend(now time.Duration) {
	s.budget.spend(now)
	s.pace.started(now)
}

// throttled notes that EC2 refused such a call, which began at startedAt.
func (s *State) throttled(startedAt, now time.Duration) {
	s.budget.empty(now)
	s.pace.throttled(startedAt, now)
}

// idle notes that there is nothing to write.
func (p *pace) idle(now time.Duration) {
	if p.interval > 0 && now-max(p.changedAt, p.next) > paceCalm {
		*p = pace{}
	}
}
