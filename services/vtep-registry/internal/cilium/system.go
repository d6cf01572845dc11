package cilium

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// What is read of the namespace kube-system in the floating mode.
const (
	ciliumConfig = "cilium-config"
	configMaps   = "configmaps"
	pods         = "pods"
	// agentLabels select the agents' pods, by the labels that Cilium's Helm chart gives them.
	agentLabels = "k8s-app=cilium"
	agent       = "cilium-agent"
)

// Settings are the keys of the ConfigMap cilium-config.
type Settings struct {
	Data map[string]string
	// Changed is when somebody last wrote one of the settings about VTEPs, or another one
	// together with them; see parseSettings.
	Changed time.Time
}

// Agent is a pod of Cilium's agent.
type Agent struct {
	Pod, Node string
	// Started is when the agent's container was started last; zero while it does not run.
	Started time.Time
}

// WatchSettings tells of the ConfigMap cilium-config until ctx ends.
func (c *Client) WatchSettings(ctx context.Context, w Watch[Settings]) error {
	return run(ctx, c, source{resource: configMaps, path: "/api/v1/namespaces/" + namespace + "/" + configMaps, name: ciliumConfig}, parseSettings, w)
}

// WatchAgents tells of the pods of Cilium's agents until ctx ends.
func (c *Client) WatchAgents(ctx context.Context, w Watch[Agent]) error {
	return run(ctx, c, source{resource: pods, path: "/api/v1/namespaces/" + namespace + "/" + pods, labels: agentLabels}, parseAgent, w)
}

// parseSettings takes as the time of the last change the latest at which a writer of our
// settings wrote anything: Kubernetes keeps one time for all that one writer owns. So it may be
// too late, and an agent be named that has read our settings; it is never too early.
func parseSettings(o *object) Settings {
	s := Settings{Data: parseData(o), Changed: o.CreationTimestamp.Time}
	for _, m := range o.ManagedFields {
		if m.Time == nil || m.FieldsV1 == nil {
			continue
		}
		if fields := m.FieldsV1.GetRawString(); (strings.Contains(fields, `"f:vtep-`) || strings.Contains(fields, `"f:enable-vtep"`)) && m.Time.After(s.Changed) {
			s.Changed = m.Time.Time
		}
	}
	return s
}

// parseData is a ConfigMap's content. Values that are no text are left out.
func parseData(o *object) map[string]string {
	var raw map[string]any
	if len(o.Data) == 0 || json.Unmarshal(o.Data, &raw) != nil {
		return nil
	}
	data := make(map[string]string, len(raw))
	for k, v := range raw {
		if text, ok := v.(string); ok {
			data[k] = text
		}
	}
	return data
}

func parseAgent(o *object) Agent {
	a := Agent{Pod: o.Name}
	var spec struct {
		NodeName string `json:"nodeName"`
	}
	var status struct {
		ContainerStatuses []struct {
			Name  string `json:"name"`
			State struct {
				Running struct {
					StartedAt time.Time `json:"startedAt"`
				} `json:"running"`
			} `json:"state"`
		} `json:"containerStatuses"`
	}
	if json.Unmarshal(o.Spec, &spec) != nil || len(o.Status) > 0 && json.Unmarshal(o.Status, &status) != nil {
		return a
	}
	a.Node = spec.NodeName
	for _, c := range status.ContainerStatuses {
		if c.Name == agent {
			a.Started = c.State.Running.StartedAt
		}
	}
	return a
}
