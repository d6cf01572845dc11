package term

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts in testdata really give into them")

// Scripts in testdata say in turn what happens to the gateway "a" (process "a1") and,
// indented, what it does then. Times are seconds of its clock.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts in testdata (%v)", err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := runScript(want)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(got, want) {
				return
			}
			if *rewrite {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("the script gives\n%s", got)
		})
	}
}

func runScript(script []byte) ([]byte, error) {
	config := testConfig("a", "a1")
	if first, _, _ := strings.Cut(string(script), "\n"); strings.HasPrefix(first, "# prefers ") {
		config.Preferred = strings.TrimPrefix(first, "# prefers ")
	}
	config.Blind = strings.HasPrefix(string(script), "# blind\n")
	term := New(config)
	var out bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(script))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if strings.HasPrefix(line, "    ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		now, in, err := parseInput(strings.Fields(line))
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", n, line, err)
		}
		for _, a := range term.Step(now, in) {
			fmt.Fprintln(&out, "    "+a.String())
		}
	}
	return out.Bytes(), lines.Err()
}

func testConfig(id, incarnation string) Config {
	return Config{
		Shard: "default", ID: id, Incarnation: incarnation,
		LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second,
		RetryPeriod: 250 * time.Millisecond, HandoverTimeout: 10 * time.Second,
		UnhealthyGrace: time.Second,
	}
}

func testGateway(n byte) Gateway {
	return Gateway{
		NodeIP: netip.AddrFrom4([4]byte{10, 0, 0, n}),
		ENI:    fmt.Sprintf("eni-%d", n), Zone: "zone-1",
		MAC: netaddr.MAC{2, 0, 10, 0, 0, n},
	}
}

func parseInput(words []string) (time.Duration, Input, error) {
	if len(words) < 2 {
		return 0, nil, fmt.Errorf("want a time and an input")
	}
	now, err := time.ParseDuration(words[0])
	if err != nil {
		return 0, nil, err
	}
	verb, args := words[1], words[2:]
	switch {
	case verb == "tick":
		return now, Tick{}, nil
	case verb == "stand":
		return now, Candidacy{Standing: true, Gateway: testGateway(1)}, nil
	case verb == "reserve":
		return now, Candidacy{Reserve: true, Gateway: testGateway(1)}, nil
	case verb == "sit":
		return now, Candidacy{}, nil
	case verb == "peers":
		p, err := parsePeers(args)
		return now, p, err
	case verb == "transfer":
		return now, Transfer{To: strings.Join(args, "")}, nil
	case verb == "removed":
		return now, RoutesRemoved{}, nil
	case verb == "stop":
		return now, Stop{}, nil
	case verb == "routes" && len(args) == 1:
		epoch, err := strconv.ParseUint(args[0], 10, 64)
		return now, RoutesConverged{epoch}, err
	case verb == "result" && len(args) >= 2:
		r, err := parseResult(args)
		return now, r, err
	case verb == "see" && len(args) >= 2:
		o, err := parseObservation(args)
		return now, o, err
	}
	return 0, nil, fmt.Errorf("unknown input %q", verb)
}

// parsePeers reads "b:hearing,standing,heard=1s,session=7,converged=3 c:silent isolated".
func parsePeers(args []string) (p Peers, err error) {
	for _, a := range args {
		if a == "isolated" {
			p.Isolated = true
			continue
		}
		id, about, _ := strings.Cut(a, ":")
		peer := Peer{Gateway: testGateway(id[0] - 'a' + 1), Detect: 270 * time.Millisecond}
		peer.Gateway.ID = id
		for _, word := range strings.Split(about, ",") {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "standing":
				peer.Standing = true
			case "leaving":
				peer.Leaving = true
			case "heard":
				peer.Heard, err = time.ParseDuration(value)
			case "session":
				peer.Session, err = strconv.ParseUint(value, 10, 64)
			case "converged":
				peer.Converged, err = strconv.ParseUint(value, 10, 64)
			default:
				for _, c := range []Condition{Hearing, Deaf, Silent, Left} {
					if c.String() == key {
						peer.Condition = c
					}
				}
			}
			if err != nil {
				return p, err
			}
		}
		if peer.Condition == 0 {
			return p, fmt.Errorf("peer %q has no condition", a)
		}
		p.Peers = append(p.Peers, peer)
	}
	return p, nil
}

// parseResult reads "<write> swapped v7" or "<write> conflict|failed|unknown".
func parseResult(args []string) (r Result, err error) {
	if r.Write, err = strconv.ParseUint(args[0], 10, 64); err != nil {
		return r, err
	}
	for _, o := range []Outcome{Swapped, Conflict, Failed, Unknown} {
		if o.String() == args[1] {
			r.Outcome = o
		}
	}
	if r.Outcome == Swapped {
		r.Version, err = strconv.ParseUint(strings.TrimPrefix(args[len(args)-1], "v"), 10, 64)
	}
	return r, err
}

// parseObservation reads "v7 absent" or "v7 <holder|nobody> epoch=3 write=b1/4 renewed=9
// lease=15s converged=3 from=b floor=9 rollback".
func parseObservation(args []string) (o Observation, err error) {
	if o.Version, err = strconv.ParseUint(strings.TrimPrefix(args[0], "v"), 10, 64); err != nil {
		return o, err
	}
	o.Present = args[1] != "absent"
	if o.Present && args[1] != "nobody" {
		o.Record.Holder.ID = args[1]
	}
	for _, a := range args[2:] {
		key, value, _ := strings.Cut(a, "=")
		switch key {
		case "epoch":
			o.Record.Epoch, err = strconv.ParseUint(value, 10, 64)
		case "converged":
			o.Record.Converged, err = strconv.ParseUint(value, 10, 64)
		case "lease":
			o.Record.Duration, err = time.ParseDuration(value)
		case "from":
			o.Record.Handover = &Handover{From: value}
		case "floor":
			o.EpochFloor, err = strconv.ParseUint(value, 10, 64)
		case "rollback":
			o.Rollback = true
		case "renewed":
			var n int64
			n, err = strconv.ParseInt(value, 10, 64)
			o.Record.Renewed = time.Unix(n, 0)
		case "write":
			var n string
			o.Record.Incarnation, n, _ = strings.Cut(value, "/")
			o.Record.Write, err = strconv.ParseUint(n, 10, 64)
		default:
			err = fmt.Errorf("unknown attribute %q", a)
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}
