package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

const (
	// keepWarm is the longest time between two reads. A standby writes nothing until it has
	// to be fast; the reads keep a connection open for that moment.
	keepWarm = 10 * time.Second
	// Watches that fail are tried again after 20 ms, then twice as long each time up to 1 s.
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// Follow sends what the register holds: at the start, whenever it changes, while the
// watch is silent every poll period, and after each Read. It works until ctx ends. No
// outage of the API server ends it.
func (l *Lease) Follow(ctx context.Context, out chan<- term.Observation) error {
	// The watch can be told to start again: see poll.
	restart := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() { l.watch(ctx, restart, out) })
	wg.Go(func() { l.poll(ctx, restart, out) })
	wg.Wait()
	return ctx.Err()
}

func send(ctx context.Context, out chan<- term.Observation, o term.Observation) {
	select {
	case out <- o:
	case <-ctx.Done():
	}
}

// poll reads when it is asked to and while the watch is silent. A watch that twice in a
// row has not told what a read found is on a dead connection and is made to start
// again.
func (l *Lease) poll(ctx context.Context, restart chan<- struct{}, out chan<- term.Observation) {
	// silence is how long a watch may say nothing; a leader's renewals come once in a
	// poll period.
	silence := 2 * l.config.PollPeriod
	timer := time.NewTimer(0)
	defer timer.Stop()
	reached, behind, lastRead := true, false, time.Time{}
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-l.wanted:
			asked = true
		case <-timer.C:
		}
		quiet := time.Since(time.Unix(0, l.heard.Load()))
		if !asked && quiet < silence && time.Since(lastRead) < keepWarm {
			timer.Reset(silence - quiet)
			continue
		}
		lastRead = time.Now()
		o, err := l.read(ctx)
		if err != nil && ctx.Err() == nil && reached {
			l.config.Log.Warn("the leadership record cannot be read", telemetry.KeyError, err)
		}
		if err == nil {
			if !reached {
				l.config.Log.Info("the leadership record can be read again")
			}
			send(ctx, out, o)
			wasBehind := behind
			behind = o.Present && o.Version > l.watched.Load()
			if wasBehind && behind {
				behind = false
				select {
				case restart <- struct{}{}:
				default:
				}
			}
		}
		reached = err == nil
		timer.Reset(l.config.PollPeriod)
	}
}

// read asks the API server, which answers with what etcd's majority holds.
func (l *Lease) read(ctx context.Context) (term.Observation, error) {
	ctx, cancel := context.WithTimeout(ctx, l.config.CallTimeout)
	defer cancel()
	floor := l.known()
	object, err := l.client.Get(ctx, l.config.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		// A list also says as of which version there is none.
		return l.readList(ctx, floor)
	}
	if err != nil {
		return term.Observation{}, fmt.Errorf("get lease %s/%s: %w", l.config.Namespace, l.config.Name, err)
	}
	version, err := versionOf(object.ResourceVersion)
	if err != nil {
		return term.Observation{}, err
	}
	return l.note(version, object, floor), nil
}

func (l *Lease) readList(ctx context.Context, floor uint64) (term.Observation, error) {
	list, err := l.client.List(ctx, metav1.ListOptions{FieldSelector: l.selector()})
	if err != nil {
		return term.Observation{}, fmt.Errorf("list lease %s/%s: %w", l.config.Namespace, l.config.Name, err)
	}
	if len(list.Items) == 1 {
		version, err := versionOf(list.Items[0].ResourceVersion)
		if err != nil {
			return term.Observation{}, err
		}
		return l.note(version, &list.Items[0], floor), nil
	}
	version, err := versionOf(list.ResourceVersion)
	if err != nil {
		return term.Observation{}, err
	}
	return l.note(version, nil, floor), nil
}

func (l *Lease) selector() string {
	return fields.OneTermEqualSelector(metav1.ObjectNameField, l.config.Name).String()
}

// watch keeps a watch open.
func (l *Lease) watch(ctx context.Context, restart <-chan struct{}, out chan<- term.Observation) {
	retry := firstRetry
	for ctx.Err() == nil {
		heard, err := l.watchOnce(ctx, restart, out)
		if heard {
			retry = firstRetry
		}
		if err != nil && ctx.Err() == nil {
			l.config.Log.Debug("the watch of the leadership record ended", telemetry.KeyError, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		retry = min(2*retry, lastRetry)
	}
}

// watchOnce reads one watch to its end; heard tells whether it brought anything.
func (l *Lease) watchOnce(ctx context.Context, restart <-chan struct{}, out chan<- term.Observation) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opening := time.AfterFunc(2*l.config.CallTimeout, cancel)
	// Without a version the watch begins with what there is now.
	w, err := l.client.Watch(ctx, metav1.ListOptions{FieldSelector: l.selector()})
	if err != nil {
		return false, fmt.Errorf("watch lease %s/%s: %w", l.config.Namespace, l.config.Name, err)
	}
	defer w.Stop()
	opening.Stop()
	select {
	case <-restart: // that was about the watch before
	default:
	}
	for {
		select {
		case <-ctx.Done():
			return heard, ctx.Err()
		case <-restart:
			return heard, errors.New("it fell silent while the record changed")
		case e, open := <-w.ResultChan():
			if !open {
				return heard, errors.New("the API server closed it")
			}
			if err := l.hear(ctx, e, out); err != nil {
				return heard, err
			}
			heard = true
		}
	}
}

func (l *Lease) hear(ctx context.Context, e watch.Event, out chan<- term.Observation) error {
	object, ok := e.Object.(*coordinationv1.Lease)
	if !ok {
		return fmt.Errorf("the watch ended: %w", apierrors.FromObject(e.Object))
	}
	version, err := versionOf(object.ResourceVersion)
	if err != nil {
		return err
	}
	if e.Type == watch.Deleted {
		object = nil // the version is that of the deletion
	}
	l.heard.Store(time.Now().UnixNano())
	l.watched.Store(max(version, l.watched.Load()))
	send(ctx, out, l.note(version, object, 0))
	return nil
}
