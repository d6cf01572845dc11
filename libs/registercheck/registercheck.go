package registercheck

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Outcome of a write, as its client was told it.
type Outcome string

// The outcomes.
const (
	// Swapped means that the register is what was written.
	Swapped Outcome = "swapped"
	// Conflict means that the register was not as expected, perhaps because an earlier try of the same write was applied.
	Conflict Outcome = "conflict"
	// Failed means that the write was not applied and never will be.
	Failed Outcome = "failed"
	// Unknown means that the write may have been applied, or may be later: that of a client which died before it was answered.
	Unknown Outcome = "unknown"
)

// Operation is one read, or one write of something on what was expected.
type Operation struct {
	// Client names who did it.
	Client string
	// Call and Return are when it began and ended, by a clock that all clients share. Return of a write with Unknown outcome
	// means nothing.
	Call, Return time.Duration
	// Write names what was written, as no other operation does; empty for a read.
	Write string
	// Expected is the version that the register had to have for the write; zero for none.
	Expected uint64
	Outcome  Outcome
	// Version is what a Swapped write made, or as of which was read.
	Version uint64
	// Read names the write that was read; empty when the register was empty.
	Read string
}

// String is the operation on one line.
func (o Operation) String() string {
	what := fmt.Sprintf("reads %s, v%d", orNothing(o.Read), o.Version)
	until := o.Return.String()
	if o.Write != "" {
		what = fmt.Sprintf("writes %s on v%d: %s", o.Write, o.Expected, o.Outcome)
		if o.Outcome == Swapped {
			what += fmt.Sprintf(", v%d", o.Version)
		}
	}
	if o.Outcome == Unknown {
		until = "any time"
	}
	return fmt.Sprintf("%s, %v to %s: %s", o.Client, o.Call, until, what)
}

func orNothing(write string) string {
	if write == "" {
		return "nothing"
	}
	return write
}

// shown is how many operations of each kind an error tells.
const shown = 8

// Check returns nil when one register, empty at first, could have been behind the operations, in whatever order they are
// given; else an error that tells where the longest explanation of them ends. It gives up, with an error, after the time
// given.
func Check(operations []Operation, within time.Duration) error {
	if err := checkShape(operations); err != nil {
		return err
	}
	operations = withoutHopeless(operations)
	history := historyOf(operations)
	model := model()
	switch result := porcupine.CheckOperationsTimeout(model, history, within); result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("whether %d operations are linearizable was not known after %v", len(operations), within)
	}
	_, info := porcupine.CheckOperationsVerbose(model, history, within)
	return explain(operations, info)
}

// checkShape tells what is not as Operation says.
func checkShape(operations []Operation) error {
	written := map[string]bool{}
	for _, o := range operations {
		switch {
		case o.Write != "" && written[o.Write]:
			return fmt.Errorf("two operations write %s: %v", o.Write, o)
		case o.Outcome != Unknown && o.Return < o.Call:
			return fmt.Errorf("an operation ends before it begins: %v", o)
		}
		written[o.Write] = true
	}
	return nil
}

// withoutHopeless leaves out the writes of Unknown outcome that cannot have been applied, which changes no verdict: versions
// grow, so a register does one write on a version, and another has Swapped on theirs. Without that the search, which has to
// think of each at any time after it began, would be endless once clients have died often enough.
func withoutHopeless(operations []Operation) []Operation {
	taken := map[uint64]bool{}
	for _, o := range operations {
		if o.Outcome == Swapped && o.Expected != 0 {
			taken[o.Expected] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(operations), func(o Operation) bool { return o.Outcome == Unknown && taken[o.Expected] })
}

func historyOf(operations []Operation) []porcupine.Operation {
	clients := map[string]int{}
	var history []porcupine.Operation
	for _, o := range operations {
		if _, known := clients[o.Client]; !known {
			clients[o.Client] = len(clients)
		}
		returned := int64(o.Return)
		if o.Outcome == Unknown {
			returned = math.MaxInt64
		}
		history = append(history, porcupine.Operation{ClientId: clients[o.Client], Input: o, Call: int64(o.Call), Return: returned})
	}
	return history
}

// explain tells the last operations that a register could have done, and those of which none could be its next.
func explain(operations []Operation, info porcupine.LinearizationInfo) error {
	var done []Operation
	for _, partition := range info.PartialLinearizationsOperations() {
		for _, some := range partition {
			if len(some) > len(done) {
				done = done[:0]
				for _, o := range some {
					done = append(done, o.Input.(Operation))
				}
			}
		}
	}
	// One of those that begin before the first of the others has ended must be next.
	first := time.Duration(math.MaxInt64)
	rest := slices.DeleteFunc(slices.Clone(operations), func(o Operation) bool { return slices.Contains(done, o) })
	for _, o := range rest {
		if o.Outcome != Unknown {
			first = min(first, o.Return)
		}
	}
	rest = slices.DeleteFunc(rest, func(o Operation) bool { return o.Call > first })
	var text strings.Builder
	fmt.Fprintf(&text, "no register does this: after %d of %d operations, the last of them", len(done), len(operations))
	for _, o := range done[max(0, len(done)-shown):] {
		fmt.Fprintf(&text, "\n\t%v", o)
	}
	text.WriteString("\nnone of these can be next")
	for i, o := range rest {
		if i == shown {
			fmt.Fprintf(&text, "\n\tand %d more", len(rest)-shown)
			break
		}
		fmt.Fprintf(&text, "\n\t%v", o)
	}
	return &ViolationError{text.String()}
}

// ViolationError is the verdict on a history that no register could have been behind.
type ViolationError struct{ text string }

func (e *ViolationError) Error() string { return e.text }

// model is the register: each write has an identity and makes a greater version; reads are up to date; a conflict may be
// with an earlier try of the same write; a write that failed is never applied, one of unknown fate may be.
func model() porcupine.Model {
	m := &porcupine.NondeterministicModel{
		Init: func() []any { return []any{state{}} },
		Step: func(s, in, _ any) []any { return step(s.(state), in.(Operation)) },
	}
	return m.ToModel()
}

// state is the register's. The zero state is that of no record.
type state struct {
	// write names the last write; empty when there is no record.
	write string
	// version is zero while nobody has been told it.
	version uint64
	// after is the version before.
	after uint64
}

func step(s state, o Operation) []any {
	if o.Write == "" {
		if o.Read != s.write {
			return nil
		}
		return states(s.learn(o.Version))
	}
	applied := states(s.swap(o))
	switch o.Outcome {
	case Swapped:
		return applied
	case Failed:
		return []any{s}
	case Conflict:
		// It was not as expected, or has changed since an earlier try was applied.
		if s.version != 0 && s.version == o.Expected {
			return applied
		}
		return append(applied, s)
	case Unknown:
		return append(applied, s)
	}
	return nil
}

func states(s state, ok bool) []any {
	if !ok {
		return nil
	}
	return []any{s}
}

// learn is the state once its version is told.
func (s state) learn(version uint64) (state, bool) {
	if s.write == "" { // as of which there is none
		return s, true
	}
	if s.version != 0 {
		return s, s.version == version
	}
	s.version = version
	return s, version > s.after
}

// swap is the state after the write, whose version is zero when it was not told.
func (s state) swap(o Operation) (state, bool) {
	if (s.write == "") != (o.Expected == 0) {
		return s, false
	}
	if o.Expected != 0 {
		var ok bool
		if s, ok = s.learn(o.Expected); !ok {
			return s, false
		}
	}
	return state{write: o.Write, version: o.Version, after: o.Expected}, o.Version == 0 || o.Version > o.Expected
}
