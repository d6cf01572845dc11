package registercheck_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/registercheck"
)

// patience is many times what a check takes.
const patience = time.Minute

func swap(write string, expected uint64, o registercheck.Outcome, version uint64) registercheck.Operation {
	return registercheck.Operation{Client: "a", Write: write, Expected: expected, Outcome: o, Version: version}
}

func read(write string, version uint64) registercheck.Operation {
	return registercheck.Operation{Client: "b", Read: write, Version: version}
}

// The check finds what a register must not do.
func TestCheckFindsViolations(t *testing.T) {
	made := swap("a/1", 0, registercheck.Swapped, 5)
	for name, c := range map[string]struct {
		sequence []registercheck.Operation
		right    bool
	}{
		"nothing":                           {nil, true},
		"right":                             {[]registercheck.Operation{read("", 4), made, read("a/1", 5), swap("b/1", 5, registercheck.Swapped, 7), read("b/1", 7)}, true},
		"two makers":                        {[]registercheck.Operation{made, swap("b/1", 0, registercheck.Swapped, 6)}, false},
		"two winners":                       {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Swapped, 6), swap("a/2", 5, registercheck.Swapped, 7)}, false},
		"stale read":                        {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Swapped, 6), read("a/1", 5)}, false},
		"lost write":                        {[]registercheck.Operation{made, read("", 6)}, false},
		"version goes back":                 {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Swapped, 4)}, false},
		"failed, but applied":               {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Failed, 0), read("b/1", 6)}, false},
		"unknown, applied":                  {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Unknown, 0), read("b/1", 6)}, true},
		"unknown, not applied":              {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Unknown, 0), read("a/1", 5)}, true},
		"unknown, applied late":             {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Unknown, 0), read("a/1", 5), read("b/1", 6)}, true},
		"unknown, applied on something new": {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Swapped, 6), swap("a/2", 5, registercheck.Unknown, 0), read("a/2", 7)}, false},
		"conflict with nothing":             {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Conflict, 0), read("a/1", 5)}, false},
		"conflict":                          {[]registercheck.Operation{made, swap("b/1", 5, registercheck.Swapped, 6), swap("a/2", 5, registercheck.Conflict, 0), read("b/1", 6)}, true},
		"no such outcome":                   {[]registercheck.Operation{swap("a/1", 0, "", 5)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			oneAfterTheOther(c.sequence)
			err := registercheck.Check(c.sequence, patience)
			if violation := new(registercheck.ViolationError); c.right && err != nil || !c.right && !errors.As(err, &violation) {
				t.Errorf("the check says %v", err)
			}
		})
	}
}

func oneAfterTheOther(sequence []registercheck.Operation) {
	for i := range sequence {
		sequence[i].Call, sequence[i].Return = time.Duration(2*i)*time.Second, time.Duration(2*i+1)*time.Second
	}
}

// Operations at the same time may have been done in either order.
func TestOrderOfConcurrentOperations(t *testing.T) {
	for _, second := range []registercheck.Operation{read("", 4), read("a/1", 5)} {
		first := swap("a/1", 0, registercheck.Swapped, 5)
		first.Call, first.Return = 1, 3
		second.Call, second.Return = 2, 4
		if err := registercheck.Check([]registercheck.Operation{second, first}, patience); err != nil {
			t.Error(err)
		}
	}
}

// The error tells the operations that no register can do next, and after which.
func TestViolationTellsOperations(t *testing.T) {
	sequence := []registercheck.Operation{
		swap("a/1", 0, registercheck.Swapped, 5), swap("b/1", 5, registercheck.Swapped, 6), read("a/1", 5), swap("b/2", 6, registercheck.Swapped, 7),
	}
	oneAfterTheOther(sequence)
	err := registercheck.Check(sequence, patience)
	want := []string{
		"no register does this: after 2 of 4 operations, the last of them",
		"\ta, 0s to 1s: writes a/1 on v0: swapped, v5",
		"\ta, 2s to 3s: writes b/1 on v5: swapped, v6",
		"none of these can be next",
		"\tb, 4s to 5s: reads a/1, v5",
	}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("the check says %v", err)
	}
}

// Many clients that die as they write do not make the search endless: of writes on one version a register does one.
func TestManyUnknownWrites(t *testing.T) {
	sequence := []registercheck.Operation{swap("a/0", 0, registercheck.Swapped, 1)}
	for n := uint64(1); n <= 200; n++ {
		sequence = append(sequence,
			swap(fmt.Sprintf("b/%d", n), n, registercheck.Unknown, 0),
			swap(fmt.Sprintf("a/%d", n), n, registercheck.Swapped, n+1))
	}
	sequence = append(sequence, read("a/199", 200))
	oneAfterTheOther(sequence)
	err := registercheck.Check(sequence, patience)
	if violation := new(registercheck.ViolationError); !errors.As(err, &violation) {
		t.Errorf("the check says %v", err)
	}
}

// What is no history at all is told from one that no register has.
func TestNoHistory(t *testing.T) {
	for want, sequence := range map[string][]registercheck.Operation{
		"two operations write a/1":            {swap("a/1", 0, registercheck.Swapped, 5), swap("a/1", 5, registercheck.Unknown, 0)},
		"an operation ends before it begins:": {{Client: "b", Call: 2, Return: 1}},
	} {
		if err := registercheck.Check(sequence, patience); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("the check says %v, want %s", err, want)
		}
	}
}
