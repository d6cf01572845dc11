package cilium

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/libs/clip"
)

// eventNamespace is where Kubernetes keeps events about objects of the cluster.
const eventNamespace = metav1.NamespaceDefault

// Note is what an Event says about a CiliumNode.
type Note struct {
	Node string
	// UID and Generation are the object's; see registry.Node.
	UID        string
	Generation int64
	Warning    bool
	Reason     string // one word in UpperCamelCase, for machines
	Message    string
	Time       time.Time
	Gateway    string // who notes it
}

// longestMessage is what the API server takes of an Event's message
// (k8s.io/kubernetes/pkg/apis/core/validation, NoteLengthLimit).
const longestMessage = 1024

// WriteNote makes an Event of the note. All gateways note the same of the same object, under
// the same name: whoever comes second finds it done. An Event ends by itself, with the API
// server's --event-ttl.
func (c *Client) WriteNote(ctx context.Context, n Note) error {
	body, err := json.Marshal(n.event())
	if err != nil {
		return fmt.Errorf("encode an event on CiliumNode %s: %w", n.Node, err)
	}
	err = c.rest.Post().AbsPath("/api/v1/namespaces/" + eventNamespace + "/events").Body(body).Do(ctx).Error()
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return explain("create", "events", err)
}

// event is an Event of Kubernetes' core/v1 with what is needed of it.
type event struct {
	APIVersion     string            `json:"apiVersion"`
	Kind           string            `json:"kind"`
	Metadata       map[string]string `json:"metadata"`
	InvolvedObject map[string]string `json:"involvedObject"`
	Reason         string            `json:"reason"`
	Message        string            `json:"message"`
	Type           string            `json:"type"`
	Source         map[string]string `json:"source"`
	FirstTimestamp metav1.Time       `json:"firstTimestamp"`
	LastTimestamp  metav1.Time       `json:"lastTimestamp"`
	Count          int               `json:"count"`
	Component      string            `json:"reportingComponent"`
	Instance       string            `json:"reportingInstance"`
}

func (n Note) event() event {
	const component = "hybrid-gateway-vtep-registry"
	e := event{
		APIVersion: "v1",
		Kind:       "Event",
		Metadata:   map[string]string{"name": n.name(), "namespace": eventNamespace},
		InvolvedObject: map[string]string{
			"apiVersion": group + "/" + version, "kind": ciliumNodeKind, "name": n.Node, "uid": n.UID,
		},
		Reason:         n.Reason,
		Message:        n.Message,
		Type:           "Normal",
		Source:         map[string]string{"component": component},
		FirstTimestamp: metav1.NewTime(n.Time),
		LastTimestamp:  metav1.NewTime(n.Time),
		Count:          1,
		Component:      component,
		Instance:       n.Gateway,
	}
	if n.Warning {
		e.Type = "Warning"
	}
	if len(e.Message) > longestMessage {
		e.Message = clip.Text(e.Message, longestMessage-len("…"))
	}
	return e
}

// name is the same for the same news of the same spec of the same object. It is an object's
// name: at most 253 characters, of which the node's may be all.
func (n Note) name() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %q %q", n.UID, n.Generation, n.Reason, n.Message))
	return strings.TrimRight(n.Node[:min(len(n.Node), 200)], ".-") + "." + hex.EncodeToString(sum[:8])
}
