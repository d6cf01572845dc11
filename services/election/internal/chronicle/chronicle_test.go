package chronicle_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/services/election/internal/chronicle"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// register looks at the log whenever it is asked.
type register struct {
	log  *bytes.Buffer
	told string // what the log was when the register was last asked
	err  error
}

func (r *register) CompareAndSwap(context.Context, term.CompareAndSwap) (term.Result, error) {
	r.told = r.log.String()
	return term.Result{Write: 3, Outcome: term.Swapped, Version: 8}, r.err
}

func (r *register) Fetch(context.Context) (term.Observation, error) {
	r.told = r.log.String()
	return term.Observation{Version: 8, Present: true, Record: written()}, r.err
}

func written() term.Record {
	return term.Record{Holder: term.Gateway{ID: "gw1"}, Epoch: 5, Incarnation: "one", Write: 3}
}

func logTo(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// lines are what a log tells, but for moments, which must lie between from and now.
func lines(t *testing.T, log string, from time.Duration) []map[string]any {
	t.Helper()
	var all []map[string]any
	now := boottime.Now()
	decoder := json.NewDecoder(bytes.NewBufferString(log))
	for {
		var line map[string]any
		if err := decoder.Decode(&line); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		delete(line, slog.TimeKey)
		for _, key := range []string{"began", "at"} {
			if at, told := line[key].(float64); told && (at < float64(from) || at > float64(now)) {
				t.Errorf("%v: %s is not between %d and %d", line, key, from, now)
			}
			delete(line, key)
		}
		all = append(all, line)
	}
}

// The beginning of a write is told before anything is sent: a process may die at any moment after.
func TestWriteIsToldBeforeItIsSent(t *testing.T) {
	var log bytes.Buffer
	r := &register{log: &log}
	from := boottime.Now()
	result, err := chronicle.CompareAndSwap(t.Context(), logTo(&log, slog.LevelDebug), r, term.CompareAndSwap{
		Expected: 7, Record: written(), Purpose: term.TakeOver,
	})
	if err != nil || result.Version != 8 {
		t.Errorf("the result is %+v, %v", result, err)
	}
	begun := map[string]any{
		"level": "DEBUG", "msg": "a write of the leadership record begins", "incarnation": "one", "write": 3.0,
		"expected": 7.0, "purpose": "take-over", "holder": "gw1", "epoch": 5.0,
	}
	if got := lines(t, r.told, from); !reflect.DeepEqual(got, []map[string]any{begun}) {
		t.Errorf("when the register is asked, the log tells %v", got)
	}
	ended := map[string]any{
		"level": "DEBUG", "msg": "a write of the leadership record ended", "incarnation": "one", "write": 3.0,
		"outcome": "swapped", "version": 8.0,
	}
	if got := lines(t, log.String(), from); !reflect.DeepEqual(got, []map[string]any{begun, ended}) {
		t.Errorf("at last the log tells %v", got)
	}
}

func TestReadIsTold(t *testing.T) {
	var log bytes.Buffer
	from := boottime.Now()
	if o, err := chronicle.Fetch(t.Context(), logTo(&log, slog.LevelDebug), &register{log: &log}); err != nil || o.Version != 8 {
		t.Errorf("it reads %+v, %v", o, err)
	}
	want := []map[string]any{{
		"level": "DEBUG", "msg": "the leadership record was read", "incarnation": "one", "write": 3.0, "version": 8.0,
	}}
	if got := lines(t, log.String(), from); !reflect.DeepEqual(got, want) {
		t.Errorf("the log tells %v", got)
	}
}

// A read that failed tells nothing of the record, and in normal operation nobody asked to be told.
func TestNothingIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		level slog.Level
		err   error
	}{
		"a read that failed": {slog.LevelDebug, errors.New("no answer")},
		"normal operation":   {slog.LevelInfo, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			r := &register{log: &log, err: c.err}
			if _, err := chronicle.Fetch(t.Context(), logTo(&log, c.level), r); !errors.Is(err, c.err) {
				t.Error(err)
			}
			if c.level > slog.LevelDebug {
				if _, err := chronicle.CompareAndSwap(t.Context(), logTo(&log, c.level), r, term.CompareAndSwap{Record: written()}); err != nil {
					t.Error(err)
				}
			}
			if log.Len() > 0 {
				t.Errorf("the log tells %s", &log)
			}
		})
	}
}
