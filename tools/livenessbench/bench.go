package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// How long anything may take that is bound to happen.
	patience = 2 * time.Minute
	stall    = 200 * time.Millisecond
)

func numCPU() int { return runtime.NumCPU() }

// bench measures and prints tables in Markdown.
func bench(ctx context.Context, o options, out io.Writer) error {
	p := &printer{out: out}
	p.line("Begun %s; %d processors; load average %s.\n", time.Now().UTC().Format(time.DateTime), numCPU(), loadAverage())
	if o.parts["detect"] {
		p.line("| system | processors | gateways | samples | p50 | p99 | max |\n|---|---|---|---|---|---|---|")
		for _, s := range o.systems {
			for _, starved := range []bool{false, true} {
				for _, size := range o.sizes {
					if err := detect(ctx, o, s, size, starved, p); err != nil {
						return fmt.Errorf("detection by %s, %d gateways: %w", s.name, size, err)
					}
				}
			}
		}
		p.line("")
	}
	if o.parts["false"] {
		p.line("| system | processors | loss | observed | false suspicions | per hour of the cluster |\n|---|---|---|---|---|---|")
		for _, s := range o.systems {
			for _, starved := range []bool{false, true} {
				if err := falsely(ctx, o, s, starved, p); err != nil {
					return fmt.Errorf("false suspicions by %s: %w", s.name, err)
				}
			}
		}
		p.line("")
	}
	if o.parts["stall"] {
		p.line("| system | processors | loss | stalls | suspected by others | others suspected by it |\n|---|---|---|---|---|---|")
		for _, s := range o.systems {
			for _, starved := range []bool{false, true} {
				if err := stalls(ctx, o, s, starved, p); err != nil {
					return fmt.Errorf("stalls seen by %s: %w", s.name, err)
				}
			}
		}
		p.line("")
	}
	p.line("Ended %s; load average %s.", time.Now().UTC().Format(time.DateTime), loadAverage())
	return p.err
}

// settle waits until all see all, and passes on what they say in the second after that.
func settle(ctx context.Context, c *cluster, see func(event)) error {
	up := make(map[[2]int]bool)
	n := len(c.running)
	err := c.await(ctx, patience, "all gateways see all others", func(e event) bool {
		up[[2]int{e.by, e.of}] = e.change == "up" || e.change == "recovered"
		seen := 0
		for _, yes := range up {
			if yes {
				seen++
			}
		}
		return seen == n*(n-1)
	})
	if err != nil {
		return err
	}
	return c.collect(ctx, time.Second, see)
}

func detect(ctx context.Context, o options, s system, size int, starved bool, p *printer) error {
	c, err := newCluster(o, s, size, starved)
	if err != nil {
		return err
	}
	defer c.close()
	suspects := make(map[[2]int]bool) // by whom, of whom
	see := func(e event) { suspects[[2]int{e.by, e.of}] = e.change == "suspected" }
	if err := settle(ctx, c, see); err != nil {
		return err
	}
	var times []time.Duration
	for victim := 0; len(times) < o.samples; victim = (victim + 1) % size {
		died, err := c.kill(victim)
		if err != nil {
			return err
		}
		// Whoever suspected it wrongly just before has nothing more to say, and is no sample.
		noticed := func() (n int) {
			for by := range size {
				if by != victim && suspects[[2]int{by, victim}] {
					n++
				}
			}
			return n
		}
		if noticed() < size-1 {
			err = c.await(ctx, patience, "the death is noticed", func(e event) bool {
				if e.of == victim && e.change == "suspected" && e.at >= died && !suspects[[2]int{e.by, victim}] {
					times = append(times, e.at-died)
				}
				see(e)
				return noticed() == size-1
			})
			if err != nil {
				return err
			}
		}
		if err := c.revive(victim); err != nil {
			return err
		}
		maps.DeleteFunc(suspects, func(pair [2]int, _ bool) bool { return pair[0] == victim })
		back := make(map[int]bool)
		err = c.await(ctx, patience, "the dead one is back", func(e event) bool {
			see(e)
			if e.change == "up" || e.change == "recovered" {
				switch victim {
				case e.of:
					back[e.by] = true
				case e.by:
					back[size+e.of] = true
				}
			}
			return len(back) == 2*(size-1)
		})
		if err != nil {
			return err
		}
		// Deaths at any time of a period.
		if err := c.collect(ctx, 200*time.Millisecond+time.Duration(len(times)*7%50)*time.Millisecond, see); err != nil {
			return err
		}
	}
	slices.Sort(times)
	p.line("| %s | %s | %d | %d | %s | %s | %s |", s.name, processors(starved), size, len(times),
		ms(quantile(times, 0.5)), ms(quantile(times, 0.99)), ms(times[len(times)-1]))
	return nil
}

func falsely(ctx context.Context, o options, s system, starved bool, p *printer) error {
	size := o.sizes[len(o.sizes)-1]
	c, err := newCluster(o, s, size, starved)
	if err != nil {
		return err
	}
	defer c.close()
	if err := settle(ctx, c, func(event) {}); err != nil {
		return err
	}
	for _, loss := range o.losses {
		if err := c.world.setLoss(loss); err != nil {
			return err
		}
		count := 0
		err := c.collect(ctx, o.quiet, func(e event) {
			if e.change == "suspected" {
				count++
			}
		})
		if err != nil {
			return err
		}
		p.line("| %s | %s | %d %% | %d × %d pairs × %s | %d | %s |", s.name, processors(starved), loss, size, size-1, o.quiet, count, rate(count, o.quiet))
	}
	return nil
}

func stalls(ctx context.Context, o options, s system, starved bool, p *printer) error {
	const size = 3
	c, err := newCluster(o, s, size, starved)
	if err != nil {
		return err
	}
	defer c.close()
	if err := settle(ctx, c, func(event) {}); err != nil {
		return err
	}
	for _, loss := range o.losses {
		if err := c.world.setLoss(loss); err != nil {
			return err
		}
		of, by, stalled := 0, 0, 0
		see := func(e event) {
			switch {
			case e.change != "suspected":
			case e.of == stalled:
				of++
			case e.by == stalled:
				by++
			}
		}
		for trial := range o.trials {
			stalled = trial % size
			process := c.running[stalled].Process
			if err := process.Signal(syscall.SIGSTOP); err != nil {
				return fmt.Errorf("stall gateway %d: %w", stalled, err)
			}
			err := c.collect(ctx, stall, see)
			if e := process.Signal(syscall.SIGCONT); e != nil {
				return fmt.Errorf("wake gateway %d: %w", stalled, e)
			}
			if err == nil {
				err = c.collect(ctx, 500*time.Millisecond+time.Duration(trial*7%40)*time.Millisecond, see)
			}
			if err != nil {
				return err
			}
		}
		p.line("| %s | %s | %d %% | %d | %d of %d | %d of %d |", s.name, processors(starved), loss, o.trials, of, o.trials*(size-1), by, o.trials*(size-1))
	}
	return nil
}

// printer keeps the first error of many lines.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if _, err := fmt.Fprintf(p.out, format+"\n", args...); p.err == nil {
		p.err = err
	}
}

func processors(starved bool) string {
	if starved {
		return "starved"
	}
	return "as they are"
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) }

func rate(count int, d time.Duration) string {
	if count == 0 {
		// Three expected events are none with a probability of 5 %.
		return fmt.Sprintf("0 (< %.0f)", 3/d.Hours())
	}
	return fmt.Sprintf("%.0f", float64(count)/d.Hours())
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}
