// Package render turns a gateway's status into what an operator reads.
package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
)

// Table writes the status as text, the most urgent first.
func Table(w io.Writer, s *adminv1.Status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Gateway %s  %s  %s\n", s.GetGatewayId(), version(s), s.GetTime().AsTime().Format(time.RFC3339))
	for _, problem := range problems(s) {
		fmt.Fprintf(&b, "  ! %s\n", problem)
	}
	section(&b, "SHARD\tROLE\tEPOCH\tHOLDER\tNODE IP\tENI\tZONE\tVALID FOR\tCONVERGED", len(s.GetShards()), "no leadership known", func(i int) string {
		return shard(s.GetShards()[i])
	})
	section(&b, "STREAM\tSTATE\tSINCE\tREVISION\tERROR", len(s.GetServices()), "none", func(i int) string {
		return service(s.GetServices()[i])
	})
	section(&b, "TUNNEL\tREADY\tVTEP IP\tMAC\tMTU\tVTEPS\tROUTES\tRX PACKETS\tTX PACKETS\tREASON", len(s.GetTunnels()), "no tunnel known", func(i int) string {
		return tunnel(s.GetTunnels()[i])
	})
	section(&b, "VTEP\tIP\tPOD CIDRS\tSTATE\tREASON", len(s.GetVteps()), "no hybrid node known", func(i int) string {
		v := s.GetVteps()[i]
		return row(v.GetNode(), v.GetIp(), strings.Join(v.GetPodCidrs(), ","), enum(v.GetState().String(), "STATE_"), v.GetReason())
	})
	section(&b, "TABLE\tDESTINATION\tTARGET\tSTATE\tEPOCH\tDETAIL", len(s.GetRoutes()), "no route known", func(i int) string {
		r := s.GetRoutes()[i]
		return row(r.GetTableId(), r.GetDestination(), r.GetTarget(), enum(r.GetState().String(), "STATE_"), number(r.GetEpoch()), r.GetDetail())
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// problems are the lines that an operator must not overlook.
func problems(s *adminv1.Status) []string {
	var lines []string
	for _, st := range s.GetServices() {
		if !st.GetConnected() {
			lines = append(lines, fmt.Sprintf("%s does not answer: what is shown of it is the last that was known", st.GetName()))
		}
	}
	if !slices.ContainsFunc(s.GetShards(), func(sh *adminv1.ShardStatus) bool { return sh.GetLeadership().GetHolder() != nil }) {
		lines = append(lines, "no gateway leads")
	}
	for _, t := range s.GetTunnels() {
		if !t.GetReady() {
			lines = append(lines, fmt.Sprintf("tunnel %s is not ready: %s", t.GetDevice(), t.GetReason()))
		}
		for _, p := range t.GetProblems() {
			lines = append(lines, fmt.Sprintf("tunnel %s: %s", t.GetDevice(), p))
		}
	}
	if n := count(s.GetVteps(), func(v *vtepsv1.Vtep) bool { return v.GetState() == vtepsv1.State_STATE_QUARANTINED }); n > 0 {
		lines = append(lines, fmt.Sprintf("%s quarantined", plural(n, "VTEP is", "VTEPs are")))
	}
	if n := count(s.GetRoutes(), func(r *routesv1.Route) bool {
		return r.GetState() == routesv1.State_STATE_CONFLICT || r.GetState() == routesv1.State_STATE_ERROR
	}); n > 0 {
		lines = append(lines, fmt.Sprintf("%s in conflict or error", plural(n, "route is", "routes are")))
	}
	return lines
}

func shard(s *adminv1.ShardStatus) string {
	l := s.GetLeadership()
	valid, converged := "-", "no"
	if l.GetRole() == leadershipv1.Role_ROLE_ACTIVE {
		valid = s.GetValidFor().AsDuration().Round(10 * time.Millisecond).String()
	}
	if l.GetHolderConverged() {
		converged = "yes"
	}
	h := l.GetHolder()
	return row(l.GetShard(), enum(l.GetRole().String(), "ROLE_"), number(l.GetEpoch()),
		h.GetId(), h.GetNodeIp(), h.GetEniId(), h.GetZone(), valid, converged)
}

func service(s *adminv1.ServiceStatus) string {
	state := "lost"
	if s.GetConnected() {
		state = "up"
	}
	return row(s.GetName(), state, s.GetSince().AsTime().Format(time.TimeOnly), fmt.Sprint(s.GetRevision()), s.GetError())
}

func tunnel(t *tunnelv1.Tunnel) string {
	ready := "no"
	if t.GetReady() {
		ready = "yes"
	}
	return row(t.GetDevice(), ready, t.GetVtepIp(), t.GetMac(), fmt.Sprint(t.GetMtu()), fmt.Sprint(t.GetVteps()), fmt.Sprint(t.GetRoutes()),
		fmt.Sprint(t.GetCounters().GetRxPackets()), fmt.Sprint(t.GetCounters().GetTxPackets()), t.GetReason())
}

func section(b *strings.Builder, header string, rows int, none string, line func(int) string) {
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, header)
	if rows == 0 {
		fmt.Fprintf(w, "(%s)\n", none)
	}
	for i := range rows {
		fmt.Fprintln(w, line(i))
	}
	_ = w.Flush() // into memory, where nothing fails
	b.WriteString("\n")
	for l := range strings.Lines(table.String()) {
		b.WriteString(strings.TrimRight(l, " \n") + "\n")
	}
}

// row joins cells; what came from outside must not break the table or the terminal.
func row(cells ...string) string {
	for i, c := range cells {
		c = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f {
				return ' '
			}
			return r
		}, c)
		if c == "" {
			c = "-"
		}
		cells[i] = c
	}
	if last := len(cells) - 1; cells[last] == "-" {
		cells[last] = ""
	}
	return strings.Join(cells, "\t")
}

func version(s *adminv1.Status) string {
	if s.GetVersion() == "" {
		return "version unknown"
	}
	return s.GetVersion()
}

func enum(name, prefix string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, prefix)), "_", " ")
}

func number(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

func count[T any](items []T, is func(T) bool) int {
	n := 0
	for _, item := range items {
		if is(item) {
			n++
		}
	}
	return n
}
