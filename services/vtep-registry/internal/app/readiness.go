package app

import (
	"errors"
	"log/slog"
	"sync"

	"github.com/hybridgateway/gateway/libs/telemetry"
)

// What has to be listed once before the service is ready.
const (
	nodes   = "ciliumnodes"
	configs = "ciliumvtepconfigs"
	// registrations are VTEPs that are no nodes.
	registrations = "registered VTEPs"
	// definitions tell how configs are spelled; nodeReports is what agents say of them.
	definitions = "customresourcedefinitions"
	nodeReports = "ciliumvtepnodeconfigs"
	settings    = "cilium-config"
	agents      = "agents of Cilium"
)

// readiness knows what is still missing and what goes wrong. A service that is ready
// stays ready: it keeps what it knows while the API server is away.
type readiness struct {
	log     *slog.Logger
	metrics *metrics
	serving func(bool)

	mu sync.Mutex
	// memory is true while what is remembered is served.
	memory  bool
	missing map[string]error  // by resource: why it was not listed yet
	failing map[string]string // by resource: the error logged last
}

// newReadiness is of the mode in which configs are needed, or of the other.
func newReadiness(log *slog.Logger, m *metrics, serving func(bool), floating bool) *readiness {
	missing := map[string]error{nodes: errStarting, registrations: errUnread}
	if !floating {
		missing[configs], missing[definitions] = errStarting, nil
	}
	return &readiness{
		log:     log,
		metrics: m,
		serving: serving,
		missing: missing,
		failing: make(map[string]string),
	}
}

// check is nil when the service is ready.
func (r *readiness) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.memory {
		return nil
	}
	return errors.Join(r.missing[nodes], r.missing[registrations], r.missing[definitions], r.missing[configs])
}

// synced says that the resource was listed.
func (r *readiness) synced(resource string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.missing, resource)
	if resource == configs {
		delete(r.missing, definitions)
	}
	if len(r.missing) == 0 {
		r.serving(true)
	}
}

// remembering says that what an earlier life held is served: this gateway forwards to all
// nodes it knew, which is as good as any can while the API server is away.
func (r *readiness) remembering() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory = true
	r.serving(true)
}

// reporter takes the outcome of each call for the resource. Each trouble is logged once,
// and so is its end.
func (r *readiness) reporter(resource string) func(error) {
	return func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if err == nil {
			if r.failing[resource] != "" {
				delete(r.failing, resource)
				r.log.Info("it can be read again", "resource", resource)
			}
			return
		}
		r.metrics.failed(resource)
		if _, waiting := r.missing[resource]; waiting {
			r.missing[resource] = err
		}
		if r.failing[resource] != err.Error() {
			r.failing[resource] = err.Error()
			r.log.Warn("it cannot be read; what is known stays, trying again", "resource", resource, telemetry.KeyError, err)
		}
	}
}
