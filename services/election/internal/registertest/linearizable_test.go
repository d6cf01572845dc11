package registertest

import (
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// The check finds what a register must not do.
func TestModelFindsViolations(t *testing.T) {
	swap := func(write string, expected uint64, o term.Outcome, version uint64) porcupine.Operation {
		return porcupine.Operation{Input: input{write, expected}, Output: output{outcome: o, version: version}}
	}
	read := func(write string, version uint64) porcupine.Operation {
		return porcupine.Operation{Output: output{write: write, version: version}, Input: input{}}
	}
	made := swap("a/1", 0, term.Swapped, 5)
	for name, c := range map[string]struct {
		sequence []porcupine.Operation
		want     porcupine.CheckResult
	}{
		"right":                             {[]porcupine.Operation{read("", 4), made, read("a/1", 5), swap("b/1", 5, term.Swapped, 7), read("b/1", 7)}, porcupine.Ok},
		"two makers":                        {[]porcupine.Operation{made, swap("b/1", 0, term.Swapped, 6)}, porcupine.Illegal},
		"two winners":                       {[]porcupine.Operation{made, swap("b/1", 5, term.Swapped, 6), swap("a/2", 5, term.Swapped, 7)}, porcupine.Illegal},
		"stale read":                        {[]porcupine.Operation{made, swap("b/1", 5, term.Swapped, 6), read("a/1", 5)}, porcupine.Illegal},
		"lost write":                        {[]porcupine.Operation{made, read("", 6)}, porcupine.Illegal},
		"version goes back":                 {[]porcupine.Operation{made, swap("b/1", 5, term.Swapped, 4)}, porcupine.Illegal},
		"failed, but applied":               {[]porcupine.Operation{made, swap("b/1", 5, term.Failed, 0), read("b/1", 6)}, porcupine.Illegal},
		"unknown, applied":                  {[]porcupine.Operation{made, swap("b/1", 5, term.Unknown, 0), read("b/1", 6)}, porcupine.Ok},
		"unknown, not applied":              {[]porcupine.Operation{made, swap("b/1", 5, term.Unknown, 0), read("a/1", 5)}, porcupine.Ok},
		"unknown, applied on something new": {[]porcupine.Operation{made, swap("b/1", 5, term.Swapped, 6), swap("a/2", 5, term.Unknown, 0), read("a/2", 7)}, porcupine.Illegal},
		"conflict with nothing":             {[]porcupine.Operation{made, swap("b/1", 5, term.Conflict, 0), read("a/1", 5)}, porcupine.Illegal},
		"conflict":                          {[]porcupine.Operation{made, swap("b/1", 5, term.Swapped, 6), swap("a/2", 5, term.Conflict, 0), read("b/1", 6)}, porcupine.Ok},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.sequence {
				c.sequence[i].Call, c.sequence[i].Return = int64(2*i), int64(2*i+1)
			}
			if got := porcupine.CheckOperationsTimeout(registerModel().ToModel(), c.sequence, checkTime); got != c.want {
				t.Errorf("the check says %s, want %s", got, c.want)
			}
		})
	}
}
