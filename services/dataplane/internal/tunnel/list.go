package tunnel

import (
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// list is what the registry has told.
type list struct {
	items map[string]Item
	stale int // of items
	trust trust
}

// trust says what the list is good for.
//
// A list that the registry remembers from before its start may lack nodes that came since, and that an earlier dataplane has
// programmed. Nothing is removed for its sake until the API server has confirmed it. The registry then tells what the API server says
// in one go, but in an order of its own: so the list is given a while to settle after the last item has been confirmed or has gone.
type trust uint8

const (
	unheard    trust = iota // there is no list yet
	remembered              // some of it is only what the registry remembers: it is programmed, and nothing is removed
	settling                // all of it is confirmed, but what is missing may still come
	whole                   // it is the whole truth
)

// take makes u part of the list, and of what the ledger wants, and tells whether that changed anything.
func (l *list) take(u feed.Update[Item], ledger *plan.Ledger) (changed bool) {
	switch {
	case u.Snapshot != nil:
		l.items, l.stale = u.Snapshot, 0
		for _, i := range l.items {
			l.count(i, +1)
		}
		if l.trust == unheard {
			l.trust = whole
		}
		ledger.Replace(l.vteps())
	case u.Change != nil:
		l.count(l.items[u.Change.Key], -1)
		delete(l.items, u.Change.Key)
		if u.Change.Kind == feed.Upsert {
			l.items[u.Change.Key] = u.Change.Value
			l.count(u.Change.Value, +1)
		}
		if i, there := l.items[u.Change.Key]; there && i.Admitted {
			ledger.Put(i.VTEP)
		} else {
			ledger.Drop(u.Change.Key)
		}
	default:
		return false
	}
	return true
}

func (l *list) count(i Item, by int) {
	if i.Stale {
		l.stale += by
	}
}

// judge settles the trust after updates; settles tells that settled is due in a while.
func (l *list) judge() (settles bool) {
	switch {
	case l.stale > 0:
		l.trust = remembered
	case l.trust == remembered:
		l.trust = settling
		return true
	}
	return false
}

// settled makes a list that settles the whole truth, and tells whether it did.
func (l *list) settled() bool {
	if l.trust != settling {
		return false
	}
	l.trust = whole
	return true
}

func (l *list) vteps() []plan.VTEP {
	vteps := make([]plan.VTEP, 0, len(l.items))
	for _, i := range l.items {
		if i.Admitted {
			vteps = append(vteps, i.VTEP)
		}
	}
	return vteps
}

// finding is what is to be told of the list, if anything.
func (l *list) finding() (f plan.Finding, ok bool) {
	return plan.Finding{Kind: plan.Warning, Reason: "the list of VTEPs is what vtep-registry remembers from before its start: " +
		"all of it is programmed, and nothing is removed until the API server answers"}, l.trust == remembered
}
