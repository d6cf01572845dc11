package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Task is one goroutine of a service.
type Task struct {
	Name string
	// Run works until ctx ends, or until its work is done.
	Run func(ctx context.Context) error
}

// RunTasks runs all tasks at once and waits for every one. The first to return,
// with or without an error, ends the others. The error is that of the first task that
// failed, with the task's name; ending because ctx ended is no failure.
func RunTasks(ctx context.Context, tasks ...Task) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var once sync.Once
	var failure error
	for _, t := range tasks {
		wg.Go(func() {
			defer cancel()
			if err := t.Run(ctx); err != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
				once.Do(func() { failure = fmt.Errorf("%s: %w", t.Name, err) })
			}
		})
	}
	wg.Wait()
	return failure
}
