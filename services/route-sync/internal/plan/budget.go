package plan

import "time"

// Bucket says how many calls may be made: Burst at once, and PerSecond in the long run. The zero
// Bucket does not limit.
type Bucket struct{ Burst, PerSecond float64 }

// EC2Writes is the bucket that EC2 gives an account in a region for calls that change something.
func EC2Writes() Bucket { return Bucket{Burst: 50, PerSecond: 5} }

// Shares of the bucket, from 0 to 1, that are left for more urgent writes.
const (
	reserveTakeover = 0.0
	reserveDrift    = 0.2
	reserveOther    = 0.5
	// reserveTakeovers is the share of reads that is left for the next takeovers, by reading less often meanwhile.
	reserveTakeovers = 0.3
)

// budget is a model of EC2's token bucket. Others in the account use the same one, so the model may
// be too hopeful; a throttled call corrects it.
type budget struct {
	Bucket
	tokens float64
	at     time.Duration
}

func newBudget(b Bucket) budget { return budget{Bucket: b, tokens: b.Burst} }

// refill brings the model up to date.
func (b *budget) refill(now time.Duration) {
	if now > b.at {
		b.tokens = min(b.Burst, b.tokens+(now-b.at).Seconds()*b.PerSecond)
		b.at = now
	}
}

// ready is when a call may be made that leaves the given share of the bucket.
func (b *budget) ready(reserve float64) time.Duration {
	need := 1 + reserve*(b.Burst-1)
	if b.Burst == 0 || b.tokens >= need-1e-9 {
		return 0
	}
	return b.at + time.Duration((need-b.tokens)/b.PerSecond*float64(time.Second)) + time.Microsecond
}

func (b *budget) spend(now time.Duration) {
	b.refill(now)
	b.tokens--
}

// extra notes calls that were made without asking.
func (b *budget) extra(calls int, now time.Duration) {
	if calls > 0 {
		b.refill(now)
		b.tokens -= float64(calls)
	}
}

// empty notes that EC2's own bucket is empty.
func (b *budget) empty(now time.Duration) {
	b.refill(now)
	b.tokens = min(b.tokens, 0)
}

// readBudget allows one read for every ten tables and ten seconds in the long run, or what the interval asks for.
func readBudget(tables int, interval time.Duration) Bucket {
	perSecond := float64((tables+9)/10) / 10
	if interval > 0 {
		perSecond = max(perSecond, 1/interval.Seconds())
	}
	return Bucket{Burst: 16, PerSecond: perSecond}
}
