package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/api"
	"github.com/hybridgateway/gateway/services/election/internal/chronicle"
	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// Names of log fields and span attributes of this service's own.
const (
	keyItem    = "item"
	keyRole    = "role"
	keyCause   = "cause"
	keyPurpose = "purpose"
	keyOutcome = "outcome"
	keyPeer    = "peer"
	keyAddress = "address"
	keyChange  = "change"
	keyDevice  = "device"
	keyHow     = "how"
)

// swapped is the end of a write.
type swapped struct {
	term.Result
	err error
}

// loop is the one owner of the term's state.
type loop struct {
	observations chan term.Observation
	tunnels      chan feed.Update[api.Tunnel]
	routes       chan feed.Update[api.Routes]
	// routesHealth has why route-sync does not serve, and registry why vtep-registry does not; nil when they do.
	routesHealth, registry chan error
	// answers has which services hang, and which do not any more.
	answers chan api.Answer
	// transfers are what operators ask for.
	transfers chan transfer
	// swapped holds the end of the one write that is under way.
	swapped chan swapped

	id, shard  string
	term       *term.Term
	record     record
	leadership *feed.Log[api.Leadership]
	candidate  candidate
	neighbours *neighbours
	// heard has a signal when something is new about them.
	heard <-chan struct{}
	ready *readiness
	// now reads the clock that the node's processes share.
	now func() time.Duration
	// known is called when the record was seen for the first time.
	known func()

	log     *slog.Logger
	trace   tracing
	metrics *metrics

	timer     *time.Timer
	writes    sync.WaitGroup
	published term.Leadership
	peers     []api.Peer
	// failing is true while writes do not reach the register.
	failing bool
	// leaving is true once this gateway was told to stop.
	leaving bool
	// ended is closed when run returns.
	ended chan struct{}
	// asked is the transfer that is under way.
	asked *transfer
	done  bool
}

// transfer is what an operator asks for.
type transfer struct {
	to string
	// answer takes one.
	answer chan term.Transferred
}

// run works until the record is handed over, which stop asks for, or ctx ends. It
// returns when nothing it started is left.
func (l *loop) run(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer l.writes.Wait()
	defer cancel()
	defer l.trace.abandon()
	defer close(l.ended)
	defer l.answer(term.Transferred{Problem: "the process ends"})
	l.timer = time.NewTimer(0)
	defer l.timer.Stop()
	l.stand(ctx)
	for !l.done {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			stop = nil
			l.stop(ctx)
		case o := <-l.observations:
			l.step(ctx, o)
		case s := <-l.swapped:
			l.settle(ctx, s)
		case u := <-l.tunnels:
			l.candidate.followTunnel(u)
			l.stand(ctx)
		case u := <-l.routes:
			if epoch, told := l.candidate.followRoutes(u, l.shard); told {
				l.neighbours.sayConverged(l.shard, epoch)
				l.step(ctx, term.RoutesConverged{Epoch: epoch})
			}
			l.stand(ctx)
		case err := <-l.routesHealth:
			l.candidate.routesHealth = err
			l.stand(ctx)
		case err := <-l.registry:
			l.candidate.registry = err
			l.stand(ctx)
		case a := <-l.answers:
			l.candidate.answers(a)
			l.stand(ctx)
		case <-l.heard:
			l.look(ctx)
		case t := <-l.transfers:
			l.transfer(ctx, t)
		case <-l.timer.C:
			l.step(ctx, term.Tick{})
		}
		l.concludeLast(ctx)
	}
	return nil
}

// concludeLast tells the term when the last gateway need not lead on: everything is removed, or route-sync, which is told to stop at the same
// time, has ended.
func (l *loop) concludeLast(ctx context.Context) {
	if l.published.Departure == term.Last && (l.candidate.removed || l.candidate.routesLost != nil) {
		l.step(ctx, term.RoutesRemoved{})
	}
}

// drain takes what the streams that all shards share bring, until ctx ends.
func (l *loop) drain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.tunnels:
		case <-l.routes:
		case <-l.routesHealth: //nolint:errcheck // what it says matters no longer
		case <-l.registry: //nolint:errcheck // nor this
		case <-l.answers:
		}
	}
}

// stand tells the term whether this gateway can lead.
func (l *loop) stand(ctx context.Context) {
	c, err := l.candidate.candidacy()
	if l.ready.stand(err) {
		if err != nil {
			l.log.Info("this gateway does not stand for election", telemetry.KeyReason, err.Error())
		} else {
			l.log.Info("this gateway stands for election")
		}
	}
	l.say()
	l.step(ctx, c)
}

// say tells the other gateways what this one is.
func (l *loop) say() {
	_, err := l.candidate.candidacy()
	l.neighbours.say(func(s *wire.Self) { l.candidate.say(s, err == nil, l.leaving) })
}

// stop begins to hand over.
func (l *loop) stop(ctx context.Context) {
	l.ready.stop()
	l.leaving = true
	l.say()
	l.step(ctx, term.Stop{})
}

// transfer begins to hand over as an operator asks, or refuses.
func (l *loop) transfer(ctx context.Context, t transfer) {
	if l.asked != nil {
		t.answer <- term.Transferred{Refused: true, Problem: term.HandoverUnderWay}
		return
	}
	l.asked = &t
	l.step(ctx, term.Transfer{To: t.to})
}

// requestTransfer asks the loop to hand over, and waits for the end of it.
func (l *loop) requestTransfer(ctx context.Context, to string) (term.Transferred, error) {
	t := transfer{to: to, answer: make(chan term.Transferred, 1)}
	select {
	case l.transfers <- t:
	case <-l.ended:
		return term.Transferred{Refused: true, Problem: "this gateway leaves"}, nil
	case <-ctx.Done():
		return term.Transferred{}, ctx.Err()
	}
	select {
	case a := <-t.answer:
		return a, nil
	case <-ctx.Done():
		return term.Transferred{}, ctx.Err()
	}
}

// answer answers the transfer that was asked for, if one was.
func (l *loop) answer(a term.Transferred) {
	if l.asked != nil {
		l.asked.answer <- a
		l.asked = nil
	}
}

// settle takes the end of a write.
func (l *loop) settle(ctx context.Context, s swapped) {
	unreachable := s.Outcome == term.Failed || s.Outcome == term.Unknown
	switch {
	case unreachable && !l.failing:
		l.log.Warn("the leadership record cannot be written", keyOutcome, s.Outcome.String(), telemetry.KeyError, s.err)
	case s.err != nil:
		l.log.Debug("the leadership record was not written", keyOutcome, s.Outcome.String(), telemetry.KeyError, s.err)
	case l.failing:
		l.log.Info("the leadership record can be written again")
	}
	if s.Outcome != term.Conflict {
		l.failing = unreachable
	}
	l.step(ctx, s.Result)
}

// step gives the term one input and does what it asks for.
func (l *loop) step(ctx context.Context, in term.Input) {
	look := false
	for _, a := range l.term.Step(l.now(), in) {
		switch a := a.(type) {
		case term.Look:
			look = true
		case term.CompareAndSwap:
			l.swap(ctx, a)
		case term.Read:
			l.record.Read(ctx)
		case term.Publish:
			l.publish(ctx, a.Leadership)
		case term.SetTimer:
			l.setTimer(a.At)
		case term.Transferred:
			l.transferred(a)
		case term.Done:
			l.log.Info("this gateway leaves the election", telemetry.KeyReason, a.Reason)
			l.trace.endHandover(a.Reason)
			l.done = true
		}
	}
	if look && !l.done {
		l.look(ctx)
	}
}

// look tells the term, and the other services, what is known of the other gateways.
func (l *loop) look(ctx context.Context) {
	known, told := l.neighbours.look(l.shard)
	l.step(ctx, known)
	l.tellPeers(ctx, told)
}

// transferred takes the end of a hand-over that does not end this gateway.
func (l *loop) transferred(a term.Transferred) {
	l.answer(a)
	if a.Refused {
		return
	}
	l.trace.endHandover(a.String())
	if a.Problem != "" {
		l.log.Warn("the record was not handed over", telemetry.KeyReason, a.Problem)
	} else {
		l.log.Info("the record was handed over", telemetry.KeyHolder, a.Holder.ID, telemetry.KeyEpoch, a.Epoch)
	}
}

func (l *loop) setTimer(at time.Duration) {
	if at == 0 {
		l.timer.Stop()
		return
	}
	l.timer.Reset(at - l.now())
}

// swap starts a write; its end comes to swapped.
func (l *loop) swap(ctx context.Context, c term.CompareAndSwap) {
	ctx, c, end := l.trace.write(ctx, c, l.now())
	began := l.now()
	l.writes.Go(func() {
		result, err := chronicle.CompareAndSwap(ctx, l.log, l.record, c)
		l.metrics.wrote(ctx, c.Purpose, result.Outcome, l.now()-began)
		end(result.Outcome, err)
		select {
		case l.swapped <- swapped{result, err}:
		case <-ctx.Done():
		}
	})
}

// errSameID is told when another living process uses this gateway's ID.
var errSameID = errors.New("another process has the same --gateway-id; each gateway needs its own")

// tellPeers tells the other services what is new about the other gateways. Nothing was, most often.
func (l *loop) tellPeers(ctx context.Context, peers []api.Peer) {
	if slices.Equal(peers, l.peers) {
		return
	}
	l.peers = peers
	if l.published.Shard != "" { // else the first of what is published will say so
		l.leadership.Set(ctx, l.shard, api.Leadership{Leadership: l.published, Peers: peers})
	}
}

// publish tells the other services, and whoever reads logs, metrics and traces.
func (l *loop) publish(ctx context.Context, now term.Leadership) {
	before := l.published
	l.published = now
	l.metrics.published(ctx, before, now)
	l.neighbours.meet(now.Holder)
	if before.Role == term.Active && now.Role != term.Active && now.Cause == term.HandedOver {
		l.log.Info("handing over", telemetry.KeyEpoch, before.Epoch)
		l.trace.startHandover(ctx, before.Epoch)
	}
	ctx = l.trace.published(ctx, before, now)
	l.leadership.Set(ctx, l.shard, api.Leadership{Leadership: now, Peers: l.peers})
	if before.Shard == "" {
		l.known()
		l.ready.known()
	}
	if now.Departure == term.Last && before.Departure != term.Last {
		l.log.Info("all other gateways have left: route-sync may remove what it made", telemetry.KeyEpoch, now.Epoch)
	}
	if now.Cause == term.Renewed {
		return
	}
	l.log.Info("leadership changed",
		telemetry.KeyEpoch, now.Epoch, telemetry.KeyHolder, now.Holder.ID,
		keyRole, now.Role.String(), keyCause, now.Cause.String())
	if before.Role == term.Active && now.Role != term.Active && now.Holder.ID == l.id && now.Epoch > before.Epoch {
		l.log.Error("the record was taken in this gateway's name", telemetry.KeyError, errSameID)
	}
}
