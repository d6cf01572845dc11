package term

import "time"

// lasting is what a leader does that was told to stop while no other gateway stays: it leads on until all others have left, then until
// what was written outside is removed, and only then gives the record up.
type lasting struct {
	// by is when that ends at the latest.
	by time.Duration
	// removed is true once nothing is left to remove.
	removed bool
}

// allGone tells whether there ever was another gateway, and every one has left by its own word. One that fell silent may come back, and
// a gateway that never heard another one may just be started anew; either will find what was written outside in use.
func (o *others) allGone() bool {
	for _, gone := range o.gone {
		if !gone {
			return false
		}
	}
	return len(o.gone) > 0
}

// outlasts tells whether every other gateway that was ever heard has left, or says that it was told to stop.
func (t *Term) outlasts() bool {
	for id, gone := range t.others.gone {
		if p, _ := t.others.find(id); !gone && (!p.heard() || !p.Leaving) {
			return false
		}
	}
	return len(t.others.gone) > 0
}

// last begins to lead on.
func (t *Term) last() { t.lasting = &lasting{by: t.now + t.config.HandoverTimeout} }

// removed notes that this gateway need not lead on any longer.
func (t *Term) removed() {
	if t.lasting != nil && t.published.Departure == Last {
		t.lasting.removed = true
	}
}

// endLasting begins to give the record up when there is nothing more to wait for, or somebody to give it to.
func (t *Term) endLasting() {
	l := t.lasting
	switch {
	case l == nil:
	case l.removed, t.now >= l.by, !t.outlasts(), !t.leading && t.attempt == nil && !t.offered():
		t.lasting = nil
		t.begin(handing{leaves: true, outlasted: true})
	}
}
