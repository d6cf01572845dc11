package history_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/libs/registercheck"
	"github.com/hybridgateway/gateway/tools/lab/internal/history"
)

// log is that of a gateway that was killed twice: in a write, and while it logged the beginning of another.
const log = `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"this process is scheduled before others"}
{"time":"2026-01-01T00:00:01Z","level":"DEBUG","msg":"the leadership record was read","shard":"default","began":100,"at":200,"version":4,"incarnation":"","write":0}
{"time":"2026-01-01T00:00:02Z","level":"DEBUG","msg":"a write of the leadership record begins","shard":"default","incarnation":"A","write":1,"at":300,"expected":0}
{"time":"2026-01-01T00:00:02Z","level":"DEBUG","msg":"a write of the leadership record begins","shard":"zone-b","incarnation":"B","write":1,"at":350,"expected":9}
{"time":"2026-01-01T00:00:02Z","level":"DEBUG","msg":"a write of the leadership record ended","shard":"default","incarnation":"A","write":1,"at":400,"outcome":"swapped","version":5}
{"time":"2026-01-01T00:00:02Z","level":"DEBUG","msg":"a write of the leadership record ended","shard":"zone-b","incarnation":"B","write":1,"at":450,"outcome":"conflict","version":0}
{"time":"2026-01-01T00:00:03Z","level":"DEBUG","msg":"a write of the leadership record begins","shard":"default","incarnation":"A","write":2,"at":500,"expected":5}
{"time":"2026-01-01T00:00:03Z","level":"DEBUG","msg":"a write of the leadership record begins","shard":"default","incarn{"time":"2026-01-01T00:00:09Z","level":"DEBUG","msg":"the leadership record was read","shard":"default","began":600,"at":700,"version":6,"incarnation":"A","write":2}
panic: no line of ours
{"time":"2026-01-01T00:00:03Z","level":"DEBUG","msg":"a write of the leadership record begins","shard":"default","incar`

func TestRead(t *testing.T) {
	got, err := history.Read(strings.NewReader(log), "gw1")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]registercheck.Operation{
		"default": {
			{Client: "gw1", Call: 100, Return: 200, Version: 4},
			{Client: "gw1", Call: 300, Return: 400, Write: "A/1", Outcome: registercheck.Swapped, Version: 5},
			{Client: "gw1", Call: 500, Write: "A/2", Expected: 5, Outcome: registercheck.Unknown},
			{Client: "gw1", Call: 600, Return: 700, Version: 6, Read: "A/2"},
		},
		"zone-b": {{Client: "gw1", Call: 350, Return: 450, Write: "B/1", Expected: 9, Outcome: registercheck.Conflict}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// A write of which only the end is told means that the log is not whole, so that nothing can be judged by it.
func TestEndWithoutBeginning(t *testing.T) {
	const end = `{"time":"2026-01-01T00:00:02Z","msg":"a write of the leadership record ended","shard":"default","incarnation":"A","write":1,"at":400,"outcome":"swapped","version":5}`
	if h, err := history.Read(strings.NewReader(end), "gw1"); err == nil {
		t.Errorf("it is read as %v", h)
	}
}
