package peers

import "log/slog"

// teller logs a lasting problem when it begins, changes and ends, instead of each time it is seen.
type teller struct {
	log      *slog.Logger
	problems map[string]string
	badKeys  uint64
}

func newTeller(log *slog.Logger) *teller {
	return &teller{log: log, problems: make(map[string]string)}
}

// problem takes a constant message and the error, or nil if all is well.
func (t *teller) problem(message string, err error) {
	last, lasting := t.problems[message]
	switch {
	case err != nil && (!lasting || last != err.Error()):
		t.problems[message] = err.Error()
		t.log.Warn(message, "error", err)
	case err == nil && lasting:
		delete(t.problems, message)
		t.log.Info("resolved: " + message)
	}
}

// dropped takes the number of heartbeats with a bad key so far. A peer that has another key is as good as dead to us, and
// the operator should know.
func (t *teller) dropped(total uint64) {
	const message = "heartbeats of a peer are signed with a key that is not known here"
	switch _, lasting := t.problems[message]; {
	case total > t.badKeys && !lasting:
		t.problems[message] = ""
		t.log.Warn(message, "dropped", total-t.badKeys)
	case total == t.badKeys && lasting:
		delete(t.problems, message)
		t.log.Info("resolved: " + message)
	}
	t.badKeys = total
}
