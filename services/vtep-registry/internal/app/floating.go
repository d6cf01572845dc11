package app

import (
	"log/slog"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/floating"
)

// watcher looks, in the floating mode, whether Cilium is set up for it. It belongs to the
// loop. Nothing of what it finds stops anything: packets flow through nodes that are right.
type watcher struct {
	want     floating.Want
	read     bool // cilium-config was read, or is known to be absent
	settings cilium.Settings
	agents   map[string]cilium.Agent // by pod

	log     *slog.Logger
	metrics *metrics
	// told and toldBehind are what was logged last, so that each is logged once.
	told, toldBehind string
}

func (w *watcher) set(e cilium.Event[cilium.Settings]) {
	w.read = true
	switch {
	case e.Deleted, e.Whole && len(e.Snapshot) == 0:
		w.settings = cilium.Settings{}
	case e.Whole:
		w.settings = e.Snapshot[0]
	default:
		w.settings = e.Value
	}
	w.compare()
}

func (w *watcher) run(e cilium.Event[cilium.Agent]) {
	switch {
	case e.Whole:
		w.agents = make(map[string]cilium.Agent, len(e.Snapshot))
		for _, a := range e.Snapshot {
			w.agents[a.Pod] = a
		}
	case e.Deleted:
		delete(w.agents, e.Name)
	default:
		if w.agents == nil {
			w.agents = make(map[string]cilium.Agent)
		}
		w.agents[e.Name] = e.Value
	}
	w.compare()
}

// problems are what is wrong in cilium-config.
func (w *watcher) problems() []string {
	if !w.read {
		return nil
	}
	return w.want.Check(w.settings.Data)
}

// behind are the nodes whose agent has not read cilium-config since it was changed.
func (w *watcher) behind() []string {
	if !w.read || w.settings.Changed.IsZero() {
		return nil
	}
	started := make(map[string]time.Time, len(w.agents))
	for _, a := range w.agents {
		// An agent that is starting reads what is there now. Of two on a node the newer one counts.
		if !a.Started.IsZero() && a.Started.After(started[a.Node]) {
			started[a.Node] = a.Started
		}
	}
	return floating.Behind(w.settings.Changed, started)
}

// compare tells what has changed of it.
func (w *watcher) compare() {
	problems, behind := w.problems(), w.behind()
	w.metrics.setUp(len(problems), len(behind))
	switch text := strings.Join(problems, "; "); {
	case text == w.told || !w.read:
	case text == "":
		w.told = text
		w.log.Info("cilium-config is set for the floating mode")
	default:
		w.told = text
		w.log.Error("cilium-config is not set for the floating mode: see vtep-registry --print-cilium-config", telemetry.KeyReason, text)
	}
	if text := strings.Join(behind, ", "); text != w.toldBehind {
		if w.toldBehind = text; text != "" {
			w.log.Warn("agents of Cilium run since before cilium-config was changed: restart them", "nodes", text)
		}
	}
}
