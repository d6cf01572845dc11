// Package render turns a gateway's status into what an operator reads.
package render

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
)

// Table writes the status as text, the most urgent first.
func Table(w io.Writer, s *adminv1.Status) error {
	var b strings.Builder
	head(&b, s, slices.Concat(serviceProblems(s), leadershipProblems(s), peerProblems(s), tunnelProblems(s), vtepProblems(s), routeProblems(s)))
	section(&b, "SHARD\tROLE\tEPOCH\tHOLDER\tNODE IP\tENI\tZONE\tVALID FOR\tCONVERGED", len(s.GetShards()), "no leadership known", func(i int) string {
		return shard(s.GetShards()[i])
	})
	peers(&b, s)
	section(&b, "STREAM\tSTATE\tSINCE\tREVISION\tERROR", len(s.GetServices()), "none", func(i int) string {
		return service(s.GetServices()[i])
	})
	section(&b, "TUNNEL\tREADY\tVTEP IP\tMAC\tMTU\tVTEPS\tROUTES\tRX PACKETS\tTX PACKETS\tREASON", len(s.GetTunnels()), "no tunnel known", func(i int) string {
		return tunnel(s.GetTunnels()[i])
	})
	vteps(&b, s)
	routes(&b, s)
	_, err := io.WriteString(w, b.String())
	return err
}

// Routes writes what the status says of the VPC's side.
func Routes(w io.Writer, s *adminv1.Status) error {
	var b strings.Builder
	head(&b, s, slices.Concat(lost(s, "route-sync"), routeProblems(s)))
	routes(&b, s)
	_, err := io.WriteString(w, b.String())
	return err
}

// Vteps writes what the status says of the on-premises side.
func Vteps(w io.Writer, s *adminv1.Status) error {
	var b strings.Builder
	head(&b, s, slices.Concat(lost(s, "vtep-registry"), vtepProblems(s)))
	vteps(&b, s)
	_, err := io.WriteString(w, b.String())
	return err
}

func head(b *strings.Builder, s *adminv1.Status, problems []string) {
	fmt.Fprintf(b, "Gateway %s  %s  %s\n", s.GetGatewayId(), version(s), s.GetTime().AsTime().Format(time.RFC3339))
	for _, problem := range problems {
		fmt.Fprintf(b, "  ! %s\n", printable(problem))
	}
}

func vteps(b *strings.Builder, s *adminv1.Status) {
	section(b, "VTEP\tIP\tPOD CIDRS\tSTATE\tREASON", len(s.GetVteps()), "no remote VTEP known", func(i int) string {
		v := s.GetVteps()[i]
		state := enum(v.GetState().String(), "STATE_")
		if v.GetStale() {
			state += ", remembered"
		}
		return row(v.GetNode(), v.GetIp(), strings.Join(v.GetPodCidrs(), ","), state, v.GetReason())
	})
}

func routes(b *strings.Builder, s *adminv1.Status) {
	own := []*routesv1.Interface{s.GetOwnInterface()}
	if own[0] == nil {
		own = nil
	}
	section(b, "INTERFACE\tREGION\tZONE\tSOURCE/DEST CHECK", len(own), "no interface known", func(i int) string {
		check := strings.TrimPrefix(enum(own[i].GetSourceDestCheck().String(), "SOURCE_DEST_CHECK_"), "unspecified")
		return row(own[i].GetEniId(), own[i].GetRegion(), own[i].GetZone(), check)
	})
	section(b, "TABLE\tDESTINATION\tTARGET\tSTATE\tEPOCH\tDETAIL", len(s.GetRoutes()), "no route known", func(i int) string {
		r := s.GetRoutes()[i]
		return row(r.GetTableId(), r.GetDestination(), r.GetTarget(), enum(r.GetState().String(), "STATE_"), number(r.GetEpoch()), r.GetDetail())
	})
}

func serviceProblems(s *adminv1.Status) []string {
	var lines []string
	for _, st := range s.GetServices() {
		lines = append(lines, lost(s, st.GetName())...)
	}
	return lines
}

func lost(s *adminv1.Status, service string) []string {
	for _, st := range s.GetServices() {
		if st.GetName() == service && !st.GetConnected() {
			return []string{service + " does not answer: what is shown of it is the last that was known"}
		}
	}
	return nil
}

func leadershipProblems(s *adminv1.Status) []string {
	led := func(sh *adminv1.ShardStatus) bool { return sh.GetLeadership().GetHolder() != nil }
	if !slices.ContainsFunc(s.GetShards(), led) {
		return []string{"no gateway leads"}
	}
	var lines []string
	for _, sh := range s.GetShards() {
		if !led(sh) {
			lines = append(lines, "no gateway leads shard "+sh.GetLeadership().GetShard())
		}
	}
	return lines
}

func tunnelProblems(s *adminv1.Status) []string {
	var lines []string
	for _, t := range s.GetTunnels() {
		if !t.GetReady() {
			lines = append(lines, fmt.Sprintf("tunnel %s is not ready: %s", t.GetDevice(), t.GetReason()))
		}
		for _, p := range t.GetProblems() {
			lines = append(lines, fmt.Sprintf("tunnel %s: %s", t.GetDevice(), p))
		}
	}
	return lines
}

func vtepProblems(s *adminv1.Status) []string {
	var lines []string
	if n := count(s.GetVteps(), func(v *vtepsv1.Vtep) bool { return v.GetState() == vtepsv1.State_STATE_QUARANTINED }); n > 0 {
		lines = append(lines, fmt.Sprintf("%s quarantined", plural(n, "VTEP is", "VTEPs are")))
	}
	if n := count(s.GetVteps(), (*vtepsv1.Vtep).GetStale); n > 0 {
		lines = append(lines, fmt.Sprintf("%s only remembered, for the API server has not answered since vtep-registry's start", plural(n, "VTEP is", "VTEPs are")))
	}
	return lines
}

func routeProblems(s *adminv1.Status) []string {
	var lines []string
	own := s.GetOwnInterface()
	switch {
	case own.GetProblem() != "":
		lines = append(lines, fmt.Sprintf("interface %s: %s", own.GetEniId(), own.GetProblem()))
	case own.GetSourceDestCheck() == routesv1.SourceDestCheck_SOURCE_DEST_CHECK_ON:
		lines = append(lines, fmt.Sprintf("interface %s: the source/destination check is on, so EC2 drops what the gateway forwards", own.GetEniId()))
	}
	for _, p := range s.GetMissingPermissions() {
		lines = append(lines, fmt.Sprintf("the gateway's role lacks %s on %s", p.GetAction(), p.GetResource()))
	}
	for _, state := range []struct {
		is   routesv1.State
		name string
	}{{routesv1.State_STATE_CONFLICT, "in conflict"}, {routesv1.State_STATE_ERROR, "in error"}} {
		if n := count(s.GetRoutes(), func(r *routesv1.Route) bool { return r.GetState() == state.is }); n > 0 {
			lines = append(lines, plural(n, "route is", "routes are")+" "+state.name)
		}
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

// printable is s without what could break a table or steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// row joins cells; what came from outside must not break the table.
func row(cells ...string) string {
	for i, c := range cells {
		c = printable(c)
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
