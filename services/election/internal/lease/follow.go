package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// Fetch asks the API server, which answers with what etcd's majority holds.
func (l *Lease) Fetch(ctx context.Context) (term.Observation, error) {
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

// Watch reads one watch to its end.
func (l *Lease) Watch(ctx context.Context, tell func(term.Observation)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opening := time.AfterFunc(2*l.config.CallTimeout, cancel)
	// Without a version the watch begins with what there is now.
	w, err := l.client.Watch(ctx, metav1.ListOptions{FieldSelector: l.selector()})
	if err != nil {
		return fmt.Errorf("watch lease %s/%s: %w", l.config.Namespace, l.config.Name, err)
	}
	defer w.Stop()
	opening.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, open := <-w.ResultChan():
			if !open {
				return errors.New("the API server closed it")
			}
			o, err := l.heard(e)
			if err != nil {
				return err
			}
			tell(o)
		}
	}
}

// heard is what an event tells.
func (l *Lease) heard(e watch.Event) (term.Observation, error) {
	object, ok := e.Object.(*coordinationv1.Lease)
	if !ok {
		return term.Observation{}, fmt.Errorf("the watch ended: %w", apierrors.FromObject(e.Object))
	}
	version, err := versionOf(object.ResourceVersion)
	if err != nil {
		return term.Observation{}, err
	}
	if e.Type == watch.Deleted {
		object = nil // the version is that of the deletion
	}
	return l.note(version, object, 0), nil
}
