// Package chronicle lets logs tell, at level debug, what was done to the leadership record and when, so that whoever has the
// logs of all gateways can judge whether one register was behind it. At other levels it does nothing and costs nothing.
//
// Times are readings of CLOCK_BOOTTIME, in nanoseconds. A process that dies leaves writes that began and have no end: what
// became of them is unknown. The line of the beginning is written before anything is sent, so there is no write without one.
package chronicle

import (
	"context"
	"log/slog"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// What the lines say. Who reads logs knows them by it, together with the fields' names.
const (
	began = "a write of the leadership record begins"
	ended = "a write of the leadership record ended"
	read  = "the leadership record was read"
)

// Names of the fields.
const (
	// keyAt is when a write began or ended, or a read ended; keyBegan when that read began.
	keyAt    = "at"
	keyBegan = "began"
	// keyIncarnation and keyWrite name a write, as the record does.
	keyIncarnation = "incarnation"
	keyWrite       = "write"
	// keyExpected is the version that a write expects, zero for no record.
	keyExpected = "expected"
	keyPurpose  = "purpose"
	keyOutcome  = "outcome"
	// keyVersion is what a write made, or as of which was read.
	keyVersion = "version"
)

// Register is what compares and swaps, as a backend of the record does.
type Register interface {
	CompareAndSwap(context.Context, term.CompareAndSwap) (term.Result, error)
}

// CompareAndSwap has the register carry out a write, and tells its beginning and its end.
func CompareAndSwap(ctx context.Context, log *slog.Logger, r Register, c term.CompareAndSwap) (term.Result, error) {
	if !log.Enabled(ctx, slog.LevelDebug) {
		return r.CompareAndSwap(ctx, c)
	}
	log = log.With(keyIncarnation, c.Record.Incarnation, keyWrite, c.Record.Write)
	log.Debug(began, keyAt, boottime.Now(), keyExpected, c.Expected, keyPurpose, c.Purpose.String(),
		telemetry.KeyHolder, c.Record.Holder.ID, telemetry.KeyEpoch, c.Record.Epoch)
	result, err := r.CompareAndSwap(ctx, c)
	log.Debug(ended, keyAt, boottime.Now(), keyOutcome, result.Outcome.String(), keyVersion, result.Version)
	return result, err
}

// Source is what reads the record from those who know it for sure.
type Source interface {
	Fetch(context.Context) (term.Observation, error)
}

// Fetch has the source read the record, and tells what was read. A read that failed says nothing about the record.
func Fetch(ctx context.Context, log *slog.Logger, s Source) (term.Observation, error) {
	if !log.Enabled(ctx, slog.LevelDebug) {
		return s.Fetch(ctx)
	}
	at := boottime.Now()
	o, err := s.Fetch(ctx)
	if err == nil {
		log.Debug(read, keyBegan, at, keyAt, boottime.Now(), keyVersion, o.Version,
			keyIncarnation, o.Record.Incarnation, keyWrite, o.Record.Write)
	}
	return o, err
}
