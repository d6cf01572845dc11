package render

import (
	"fmt"
	"io"
	"strings"

	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
)

// Publication writes what Cilium is told, and what has become of it.
func Publication(w io.Writer, p *vtepsv1.GetPublicationResponse) error {
	var b strings.Builder
	floats := p.GetMode() == vtepsv1.Mode_MODE_FLOATING
	switch {
	case floats:
		b.WriteString("Floating: Cilium is set, once, to an address that every gateway carries\n")
	case p.GetObject() == "":
		b.WriteString("Published: there is no CiliumVTEPConfig yet\n")
	case p.GetEpoch() == 0:
		fmt.Fprintf(&b, "Published: the CiliumVTEPConfig %s (%s) was not written by a gateway yet\n", printable(p.GetObject()), printable(p.GetApiVersion()))
	default:
		fmt.Fprintf(&b, "Published: the CiliumVTEPConfig %s (%s), written under epoch %d\n", printable(p.GetObject()), printable(p.GetApiVersion()), p.GetEpoch())
	}
	for _, problem := range p.GetProblems() {
		fmt.Fprintf(&b, "  ! %s\n", printable(problem))
	}
	if !floats {
		section(&b, "NODE\tENDPOINT\tCILIUM\tERROR", len(p.GetEndpoints()), "Cilium reports nothing", func(i int) string {
			e := p.GetEndpoints()[i]
			state := "not synced"
			if e.GetSynced() {
				state = "synced"
			}
			return row(e.GetNode(), e.GetEndpoint(), state, e.GetError())
		})
	} else {
		behind := p.GetNodesBehind()
		section(&b, "NODES WHOSE AGENT HAS NOT RESTARTED SINCE CILIUM-CONFIG WAS CHANGED", len(behind), "none", func(i int) string { return row(behind[i]) })
		b.WriteString("\n")
		for line := range strings.Lines(p.GetCiliumSettings()) {
			b.WriteString(printable(strings.TrimSuffix(line, "\n")) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
