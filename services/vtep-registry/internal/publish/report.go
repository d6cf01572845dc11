package publish

// Report is what Cilium says about one endpoint.
type Report struct {
	Endpoint string
	Synced   bool
	// Time is when Cilium last synchronised it, as it is written there; seconds at the finest.
	Time  string
	Error string
}

// State is what has become of an endpoint on one node, or on all of them where Cilium does
// not report per node.
type State uint8

// The states.
const (
	Pending State = iota // Cilium has not said yet that it uses what was written last
	Synced
	Failed // Cilium says that it cannot use it
	states
)

func (s State) String() string { return [...]string{"pending", "synced", "failed"}[s] }

// Standing is the state of one endpoint on one node.
type Standing struct {
	Node     string // empty where Cilium does not report per node
	Endpoint string
	State    State
	Error    string // of a failed one
}

// Progress follows, from one write to the next, who has taken what was written. Cilium does
// not say which version of the object a report is about; so a report counts from the moment
// on when its time differs from what it was when the write was decided on.
type Progress struct {
	reports map[string][]Report // by node
	counts  [states]int
	// before are the times of the reports when the write began; nil when none was made yet.
	before map[place]string
	taken  map[place]bool
}

type place struct{ node, endpoint string }

// NewProgress knows of no report.
func NewProgress() *Progress {
	return &Progress{reports: make(map[string][]Report)}
}

// Begin says that a write is decided on.
func (p *Progress) Begin() {
	p.before, p.taken = make(map[place]string), make(map[place]bool)
	p.counts = [states]int{}
	for node, reports := range p.reports {
		for _, r := range reports {
			p.before[place{node, r.Endpoint}] = r.Time
			p.counts[p.state(node, r)]++
		}
	}
}

// Say takes all reports of a node, and returns the endpoints that it has now taken, or can
// not take, and had not before.
func (p *Progress) Say(node string, reports []Report) []Standing {
	for _, r := range p.reports[node] {
		p.counts[p.state(node, r)]--
	}
	var news []Standing
	for _, r := range reports {
		was := Pending
		for _, old := range p.reports[node] {
			if old.Endpoint == r.Endpoint {
				was = p.state(node, old)
			}
		}
		where := place{node, r.Endpoint}
		if before, reported := p.before[where]; p.taken != nil && r.Synced && (!reported || r.Time != before) {
			p.taken[where] = true
		}
		now := p.state(node, r)
		p.counts[now]++
		if now != was && now != Pending {
			news = append(news, Standing{node, r.Endpoint, now, r.Error})
		}
	}
	if len(reports) == 0 {
		delete(p.reports, node)
	} else {
		p.reports[node] = reports
	}
	return news
}

func (p *Progress) state(node string, r Report) State {
	switch {
	case !r.Synced && r.Error != "":
		return Failed
	case r.Synced && (p.taken == nil || p.taken[place{node, r.Endpoint}]):
		return Synced
	}
	return Pending
}

// Count is the number of endpoints in the state, over all nodes.
func (p *Progress) Count(s State) int { return p.counts[s] }

// All are the standings, in no order.
func (p *Progress) All() []Standing {
	var all []Standing
	for node, reports := range p.reports {
		for _, r := range reports {
			all = append(all, Standing{node, r.Endpoint, p.state(node, r), r.Error})
		}
	}
	return all
}
