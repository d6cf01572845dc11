// Package history reads from the logs of gateways' election services, written at level debug, what they did to the
// leadership record, so that it can be judged; see services/election/internal/chronicle for what the lines mean.
package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/hybridgateway/gateway/libs/registercheck"
)

// What the lines say.
const (
	began = "a write of the leadership record begins"
	ended = "a write of the leadership record ended"
	read  = "the leadership record was read"
)

// lineBegins is how each line does. A process that is killed while it writes one may leave a part of it, to which the next
// process adds: what counts is the line that begins last.
var lineBegins = []byte(`{"time":`)

// longest bounds a line, in bytes.
const longest = 1 << 20

// line is what of a line is of interest here.
type line struct {
	Msg         string                `json:"msg"`
	Shard       string                `json:"shard"`
	At          time.Duration         `json:"at"`
	Began       time.Duration         `json:"began"`
	Incarnation string                `json:"incarnation"`
	Write       uint64                `json:"write"`
	Expected    uint64                `json:"expected"`
	Outcome     registercheck.Outcome `json:"outcome"`
	Version     uint64                `json:"version"`
}

// name is that of the write; empty when there is none.
func (l line) name() string {
	if l.Incarnation == "" {
		return ""
	}
	return fmt.Sprintf("%s/%d", l.Incarnation, l.Write)
}

// Read returns what the log of a client tells, by shard. The client may have been killed and started again, and may be at
// work still: a write that has no end is one whose outcome is unknown. It is an error when a write has an end and no
// beginning.
func Read(log io.Reader, client string) (map[string][]registercheck.Operation, error) {
	h := map[string][]registercheck.Operation{}
	open := map[string]int{} // of the writes that have no end, by name: where in their shard's list
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		if l, ok := parse(lines.Bytes()); ok {
			if err := add(h, open, client, l); err != nil {
				return nil, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the log of %s: %w", client, err)
	}
	return h, nil
}

func parse(text []byte) (line, bool) {
	var l line
	begins := bytes.LastIndex(text, lineBegins)
	return l, begins >= 0 && json.Unmarshal(text[begins:], &l) == nil
}

func add(h map[string][]registercheck.Operation, open map[string]int, client string, l line) error {
	switch l.Msg {
	case read:
		h[l.Shard] = append(h[l.Shard], registercheck.Operation{Client: client, Call: l.Began, Return: l.At, Version: l.Version, Read: l.name()})
	case began:
		open[l.name()] = len(h[l.Shard])
		h[l.Shard] = append(h[l.Shard], registercheck.Operation{
			Client: client, Call: l.At, Write: l.name(), Expected: l.Expected, Outcome: registercheck.Unknown,
		})
	case ended:
		i, begun := open[l.name()]
		if !begun {
			return fmt.Errorf("the log of %s tells the end of write %s and not its beginning", client, l.name())
		}
		delete(open, l.name())
		o := &h[l.Shard][i]
		o.Return, o.Outcome, o.Version = l.At, l.Outcome, l.Version
	}
	return nil
}
