package api

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

const (
	// askEvery is the time between two questions, answerWithin how long an answer may take: many times what it takes on a busy
	// machine. A process that is stopped is noticed after at most askEvery and twice answerWithin.
	askEvery     = 500 * time.Millisecond
	answerWithin = 750 * time.Millisecond
)

// ErrHung is why a service does not serve whose socket takes connections and gives no answer: its process is stopped or blocked. Its
// streams stay open meanwhile, and look as if there were nothing new.
var ErrHung = errors.New("it does not answer")

// Answer says whether a service answers.
type Answer struct {
	Service string
	// Err is ErrHung, or nil.
	Err error
}

// FollowAnswers asks the service behind conn for its health, and sends ErrHung when two questions in turn got no answer, nil when one got
// any; at first, and then at each change. One that got none may have met a stall of our own. That there is no connection is an answer: then
// the service's streams break, too, and tell more. It works until ctx ends.
func FollowAnswers(ctx context.Context, conn grpc.ClientConnInterface, service string, receivers ...chan<- Answer) error {
	client := healthv1.NewHealthClient(conn)
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	told, missed := false, 0
	for {
		if answers(ctx, client) {
			if !told || missed > 1 {
				told = tell(ctx, receivers, Answer{service, nil})
			}
			missed = 0
		} else if missed++; missed == 2 {
			told = tell(ctx, receivers, Answer{service, ErrHung})
		} else if missed == 1 {
			continue // ask again at once
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// answers tells whether the service says anything in time.
func answers(ctx context.Context, client healthv1.HealthClient) bool {
	within, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_, err := client.Check(within, &healthv1.HealthCheckRequest{})
	return status.Code(err) != codes.DeadlineExceeded || ctx.Err() != nil
}
