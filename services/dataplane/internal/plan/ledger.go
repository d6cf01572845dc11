package plan

import (
	"net/netip"
	"slices"
)

// Ledger keeps a target and a picture of the kernel together, so that the plan after a change of few VTEPs looks at what these VTEPs
// have, and not at all the rest. It is not safe for concurrent use.
type Ledger struct {
	target   *Target
	actual   Actual
	underlay []netip.Prefix // of actual

	retired bool // see Retire

	all   bool                     // the next plan compares everything
	due   *scope                   // else what it compares
	found map[netip.Prefix]Finding // by pod network: what the last plan that compared it found
	// What is wanted and there.
	doneAddrs  map[netip.Addr]struct{}
	doneRoutes map[netip.Prefix]struct{}
}

// NewLedger makes a ledger for a kernel that has not been seen yet.
func NewLedger(d Desired) *Ledger {
	l := &Ledger{target: Compile(d)}
	l.See(Actual{})
	return l
}

// Actual is the picture of the kernel. The caller does not change it.
func (l *Ledger) Actual() Actual { return l.actual }

// See takes what was read from the kernel for the picture.
func (l *Ledger) See(a Actual) {
	l.actual, l.underlay = a, underlayNetworks(a)
	l.compareAll()
	l.recount()
}

func (l *Ledger) compareAll() { l.all, l.due, l.found = true, newScope(), map[netip.Prefix]Finding{} }

// Replace makes vteps all that is desired; of several of one node the last counts.
func (l *Ledger) Replace(vteps []VTEP) {
	l.target.replace(vteps)
	l.compareAll()
	l.recount()
}

// Put adds a VTEP, or changes the one of that node.
func (l *Ledger) Put(v VTEP) { l.target.put(v, l.due) }

// Drop removes the VTEP of a node, if there is one.
func (l *Ledger) Drop(node string) { l.target.drop(node, l.due) }

// SetComplete tells whether the VTEPs are the whole truth; see [Desired].
func (l *Ledger) SetComplete(complete bool) {
	if l.target.desired.Complete != complete {
		l.target.desired.Complete = complete
		l.compareAll()
	}
}

// Plan returns what [Target.Plan] returns, but compares only what has changed since the last plan, where that is enough. The caller
// carries out the operations and then calls Applied, or See when not all of them succeeded.
func (l *Ledger) Plan() Result {
	if l.retired {
		return Result{Ops: planRetired(l.actual)}
	}
	t := l.target
	r := Result{Findings: append(t.findings(), t.blocking(l.actual)...)}
	if r.Blocked() != nil {
		l.compareAll()
		return r
	}
	r.Findings = append(r.Findings, t.warnings(l.actual)...)
	if f, waits := t.waiting(l.actual); waits {
		r.Findings = append(r.Findings, f)
		r.Ops, _ = t.planGuard(l.actual)
		l.compareAll()
		return r
	}
	device := t.planDevice(l.actual)
	if l.all || len(device) > 0 || !t.guardFits(l.actual, l.due) {
		l.compareAll()
		return t.planAll(l.actual, l.underlay, device, r, l.found)
	}
	r.Ops = t.planPart(l.actual, l.underlay, l.due, l.found)
	r.Findings = append(r.Findings, sortedFindings(l.found)...)
	return r
}

// Applied tells that the operations of the last plan have been carried out.
func (l *Ledger) Applied(ops []Op) {
	for _, op := range ops {
		l.actual.Apply(op)
	}
	if l.all {
		l.recount()
	} else {
		l.count(l.due)
	}
	l.all, l.due = false, newScope()
}

// Programmed counts the VTEPs and the pod networks of the target that the kernel has.
func (l *Ledger) Programmed() (vteps, routes int) { return len(l.doneAddrs), len(l.doneRoutes) }

func (l *Ledger) recount() {
	l.doneAddrs, l.doneRoutes = make(map[netip.Addr]struct{}, len(l.target.neighbours)), make(map[netip.Prefix]struct{}, len(l.target.routes))
	for addr := range l.target.neighbours {
		l.countAddr(addr)
	}
	for network := range l.target.routes {
		l.countRoute(network)
	}
}

func (l *Ledger) count(s *scope) {
	for addr := range s.addrs {
		l.countAddr(addr)
	}
	for network := range s.networks {
		l.countRoute(network)
	}
}

func (l *Ledger) countAddr(addr netip.Addr) {
	mac, wanted := l.target.neighbours[addr]
	setMember(l.doneAddrs, addr, wanted && l.actual.Neighbours[addr].MAC == mac && (l.target.desired.Device.Flow || len(l.actual.FDB[mac]) > 0))
}

func (l *Ledger) countRoute(network netip.Prefix) {
	own, wanted := l.target.routes[network]
	setMember(l.doneRoutes, network, wanted && slices.Contains(l.actual.Routes[network], l.target.route(network, own.via, l.actual.Host)))
}

func setMember[K comparable](set map[K]struct{}, k K, member bool) {
	if member {
		set[k] = struct{}{}
	} else {
		delete(set, k)
	}
}

// Explains is [Target.Explains] for the picture.
func (l *Ledger) Explains(c Change) bool { return l.target.Explains(l.actual, c) }
