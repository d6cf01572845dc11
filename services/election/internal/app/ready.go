package app

import (
	"errors"
	"fmt"
	"sync"
)

// readiness is what /readyz answers: ready is a gateway that knows the record and stands
// for election or leads. It is safe for concurrent use.
type readiness struct {
	mu       sync.Mutex
	read     bool
	stopping bool
	// missing is why this gateway does not stand.
	missing error
}

func newReadiness() *readiness { return &readiness{missing: errors.New("starting")} }

// known says that the record was read.
func (r *readiness) known() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read = true
}

// stop says that the gateway is leaving.
func (r *readiness) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopping = true
}

// stand says why this gateway does not stand for election; nil when it does. It tells whether
// that is news.
func (r *readiness) stand(missing error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.missing
	r.missing = missing
	return (before == nil) != (missing == nil) || missing != nil && before.Error() != missing.Error()
}

// check is the reason why this gateway is not ready.
func (r *readiness) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.stopping:
		return errors.New("the gateway is leaving")
	case !r.read:
		return errors.New("the leadership record could not be read yet")
	case r.missing != nil:
		return fmt.Errorf("the gateway does not stand for election: %w", r.missing)
	}
	return nil
}
