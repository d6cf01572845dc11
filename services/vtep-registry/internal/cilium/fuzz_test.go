package cilium

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
)

// definitionSpecs are of the CustomResourceDefinitions that the control plane of the tests has.
func definitionSpecs(f *testing.F) [][]byte {
	f.Helper()
	var specs [][]byte
	for _, name := range []string{"ciliumvtepconfigs.yaml", "dialects/plain.yaml", "dialects/per-node.yaml", "dialects/upgraded.yaml"} {
		text, err := os.ReadFile("../../../../tools/controlplane/crds/" + name)
		if err != nil {
			f.Fatal(err)
		}
		for document := range strings.SplitSeq(string(text), "\n---\n") {
			var crd struct {
				Spec any `json:"spec"`
			}
			if err := yaml.Unmarshal([]byte(document), &crd); err != nil {
				f.Fatal(err)
			}
			spec, err := json.Marshal(crd.Spec)
			if err != nil {
				f.Fatal(err)
			}
			specs = append(specs, spec)
		}
	}
	return specs
}

// Whatever a definition says, either a dialect is found that can be written, or an error of one
// line says what is served.
func FuzzDetect(f *testing.F) {
	for _, spec := range definitionSpecs(f) {
		f.Add(spec)
	}
	f.Add([]byte(`{"versions":[{"served":true,"name":"v2"}]}`))
	f.Fuzz(func(t *testing.T, spec []byte) {
		d, err := detect(spec)
		if (err == nil) != d.Known() {
			t.Errorf("found %+v, %v", d, err)
		}
		if err != nil && len(err.Error()) > 4096 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

// Whatever a CiliumVTEPConfig says, in any dialect: reading and judging end, and what Cilium
// reports in it is bounded.
func FuzzParseConfig(f *testing.F) {
	for _, spec := range []string{
		`{"endpoints":[{"name":"vpc-gateway","tunnelEndpoint":"10.0.1.10","cidr":"10.0.0.0/16","mac":"02:68:0a:00:01:0a"}]}`,
		`{"vtepEndpoints":[{"ip":"10.0.1.10","cidr":"10.0.0.0/16","mac":"02:68:0a:00:01:0a"}],"vni":2,"port":8472,"mtu":1450}`,
		`{"vtepEndpoints":[{"cidr":"::/0"}]}`, `{"endpoints":{}}`, `null`, ``,
	} {
		for _, status := range []string{
			``, `{"endpointStatuses":[{"name":"vpc-gateway","synced":true,"lastSyncTime":"2026-01-01T00:00:00Z","error":"none"}]}`,
			`{"active":true,"lastReconciledAt":"2026-01-01T00:00:00Z"}`,
		} {
			f.Add([]byte(spec), []byte(status), "7")
		}
	}
	ours := publish.Leadership{Epoch: 7, Active: true}
	f.Fuzz(func(t *testing.T, spec, status []byte, epoch string) {
		for _, form := range []Form{Plain, PerNode, Named} {
			o := &object{
				ObjectMeta: metav1.ObjectMeta{Name: "hybrid-gateway", ResourceVersion: "1", Annotations: map[string]string{epochAnnotation: epoch}},
				Spec:       spec, Status: status,
			}
			c := Dialect{Version: "v2", Form: form, Namespaced: form == Plain}.parseConfig(o)
			publish.Decide(ours, nil, &c)
			publish.Conflicts("other", nil, []publish.Object{c})
			if form != Plain && len(c.Reports) > publish.MaxEndpoints {
				t.Errorf("%d reports", len(c.Reports))
			}
			for _, r := range c.Reports {
				if len(r.Error) > 200 || !utf8.ValidString(r.Error) || form != Plain && len(r.Endpoint) > 200 {
					t.Errorf("a report that is not bounded: %+v", r)
				}
			}
		}
	})
}

// Whatever is in a ConfigMap, or is said of a pod.
func FuzzParseSystem(f *testing.F) {
	f.Add([]byte(`{"enable-vtep":"true","vtep-mask":"255.255.0.0"}`), []byte(`{"nodeName":"node1"}`),
		[]byte(`{"containerStatuses":[{"name":"cilium-agent","state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}}}]}`), "f:vtep-mac")
	f.Add([]byte(`{"a":1,"b":null,"c":"x"}`), []byte(`[]`), []byte(`{"containerStatuses":[{"name":"cilium-agent","state":{"running":{"startedAt":"never"}}}]}`), "")
	f.Add([]byte(`{"printer":"{\"ip\":\"192.168.7.1\",\"podCIDRs\":[\"100.64.7.0/24\"]}"}`), []byte(``), []byte(``), "x")
	f.Fuzz(func(t *testing.T, data, spec, status []byte, fields string) {
		now := metav1.NewTime(time.Unix(1000, 0))
		o := &object{ObjectMeta: metav1.ObjectMeta{Name: "x", ManagedFields: []metav1.ManagedFieldsEntry{{Time: &now, FieldsV1: metav1.NewFieldsV1(fields)}}}, Data: data, Spec: spec, Status: status}
		if s := parseSettings(o); !s.Changed.IsZero() && !s.Changed.Equal(now.Time) {
			t.Errorf("changed at %v", s.Changed)
		}
		if all := parseRegistered(o); len(all.Nodes) != len(parseData(o)) {
			t.Errorf("%d VTEPs of %d keys", len(all.Nodes), len(parseData(o)))
		}
		if a := parseAgent(o); a.Pod != "x" {
			t.Errorf("the pod is %q", a.Pod)
		}
	})
}
