package plan

// Changed returns the status of the routes of which it changed since the last call.
func (s *State) Changed() []Status {
	routes := s.changed
	if s.allChanged {
		routes = s.routes
	}
	statuses := make([]Status, 0, len(routes))
	for _, k := range s.gone {
		if s.byKey[k] == nil {
			statuses = append(statuses, Status{Key: k, Gone: true})
		}
	}
	s.gone = nil
	for _, r := range routes {
		if !r.dropped {
			statuses = append(statuses, s.status(r))
		}
	}
	for _, r := range s.changed {
		r.changed = false
	}
	s.changed, s.allChanged = s.changed[:0], false
	return statuses
}

func (s *State) status(r *route) Status {
	st := Status{Key: r.key, Target: r.seen.Target, Epoch: r.epoch}
	class, reason := s.judge(r)
	switch {
	case s.acting == 0:
		st.Condition = Unowned
	case s.missing[r.key.Table]:
		st.Condition, st.Detail = Errored, "route table "+r.key.Table+" does not exist in this account and region; correct --route-tables"
	case r.known && !r.placed && class == foreign:
		st.Condition, st.Detail = Conflict, reason
	case r.failure != "":
		st.Condition, st.Detail = Errored, r.failure
	case !r.known && !r.placed && s.read.failure != "":
		st.Condition, st.Detail = Errored, s.read.failure
	case s.retired && r.known && r.seen.Kind == Absent:
		st.Condition, st.Detail = Unowned, "removed, since the gateways leave"
	case r.placed && r.wanted && !s.retired:
		st.Condition = InSync
	case r.known && class == unclear && s.lookup.failure != "":
		st.Condition, st.Detail = Errored, s.lookup.failure
	case !r.wanted && r.here(s.config.Interface) && !s.retired:
		st.Condition, st.Detail = InSync, "left over from another configuration; it is removed once other routes carry all of its traffic"
	default:
		st.Condition = Pending
	}
	return st
}

// Left names what could not be removed so far although this gateway is retired and leads, with the reason. It is nil
// while something may still turn out well.
func (s *State) Left() []string {
	var left []string
	for _, r := range s.routes {
		next := s.step(r)
		var why string
		switch {
		case !next.open:
			continue
		case r.failures >= lost:
			why = r.failure
		case !next.due && s.lookup.failures >= lost:
			why = s.lookup.failure
		case !next.due && s.read.failures >= lost:
			why = s.read.failure
		default:
			return nil
		}
		left = append(left, r.key.String()+": "+why)
	}
	if s.lists.failures >= lost {
		left = append(left, "prefix lists: "+s.lists.failure)
	}
	if s.lists.readFailures >= lost {
		left = append(left, "prefix lists: "+s.lists.readFailure)
	}
	return left
}

// lost is after how many failures in a row something is reported as left behind. It is tried further.
const lost = 3
