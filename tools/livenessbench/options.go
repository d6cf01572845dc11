package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// options of the benchmark.
type options struct {
	measure string
	systems []system
	parts   map[string]bool
	sizes   []int
	losses  []int
	// samples is how many detections are wanted for each size, trials how many stalls for each loss.
	samples, trials int
	// realtime lets the heartbeats' gateways run before the busy loops.
	realtime bool
	// quiet is how long false suspicions are counted for each loss.
	quiet time.Duration
}

// system is one way to notice, with its settings.
type system struct {
	name string
	// memberlist is the name of a preset; empty for the heartbeats.
	memberlist string
	period     time.Duration
	multiplier int
}

func parse(args []string) (options, error) {
	o := options{parts: make(map[string]bool)}
	f := flag.NewFlagSet("livenessbench", flag.ContinueOnError)
	f.StringVar(&o.measure, "measure", ".bin/measure", "the program built from services/election/internal/peers/measure")
	systems := f.String("systems", "18ms*15,25ms*10,memberlist-fast,memberlist-lan", "period*multiplier or memberlist preset (fast, lan)")
	parts := f.String("parts", "detect,false,stall", "what to measure")
	sizes := f.String("sizes", "2,3,5,8", "numbers of gateways")
	losses := f.String("losses", "0,1,5,10", "loss in percent")
	f.IntVar(&o.samples, "samples", 60, "detections per number of gateways")
	f.IntVar(&o.trials, "trials", 60, "stalls per loss")
	f.BoolVar(&o.realtime, "realtime", true, "whether gateways with heartbeats run before all other processes, as election does where it may")
	f.DurationVar(&o.quiet, "quiet", time.Minute, "how long false suspicions are counted per loss")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	for _, p := range strings.Split(*parts, ",") {
		if p != "detect" && p != "false" && p != "stall" {
			return o, fmt.Errorf("--parts %s: must be of detect, false, stall", p)
		}
		o.parts[p] = true
	}
	var err [3]error
	o.sizes, err[0] = numbers("sizes", *sizes, 2, 20)
	o.losses, err[1] = numbers("losses", *losses, 0, 90)
	for _, s := range strings.Split(*systems, ",") {
		sys, e := parseSystem(s)
		err[2] = errors.Join(err[2], e)
		o.systems = append(o.systems, sys)
	}
	return o, errors.Join(err[:]...)
}

func numbers(flag, list string, least, most int) ([]int, error) {
	var all []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < least || n > most {
			return nil, fmt.Errorf("--%s %s: must be numbers of %d to %d", flag, s, least, most)
		}
		all = append(all, n)
	}
	return all, nil
}

func parseSystem(s string) (system, error) {
	if preset, ok := strings.CutPrefix(s, "memberlist-"); ok {
		if _, err := memberConfig(preset); err != nil {
			return system{}, fmt.Errorf("--systems %s: %w", s, err)
		}
		return system{name: "memberlist (" + preset + ")", memberlist: preset}, nil
	}
	period, multiplier, _ := strings.Cut(s, "*")
	p, err1 := time.ParseDuration(period)
	m, err2 := strconv.Atoi(multiplier)
	if err := errors.Join(err1, err2); err != nil {
		return system{}, fmt.Errorf("--systems %s: must be like 18ms*15 or memberlist-fast: %w", s, err)
	}
	return system{name: fmt.Sprintf("heartbeat %s × %d", p, m), period: p, multiplier: m}, nil
}
