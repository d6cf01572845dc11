package plan

import (
	"testing"
	"time"
)

func TestProbes(t *testing.T) {
	r := newRig(t, one)
	r.observe(1, "eni-other")
	r.next(readOne)
	r.state.ReadDone(r.read, ReadResult{Tables: map[string]Table{"rtb-a": {}}, Account: "123456789012"}, r.now)
	asked := map[string]int{}
	refuse := true
	run := func(d time.Duration) {
		for end := r.now + d; r.now < end; r.now = min(end, r.state.Wake()) {
			for _, a := range r.state.Next(r.now) {
				switch a := a.(type) {
				case Probe:
					asked[a.String()]++
					result := Result{}
					if refuse && a.Action == DeleteRoute {
						result = Result{Outcome: Denied, Detail: "no"}
					}
					r.state.ProbeDone(a, result, r.now)
				case Inspect:
					r.state.InspectDone(a, true, false, Result{}, r.now)
				case Read:
					r.read = a
					r.reads(Route{})
				}
			}
		}
	}
	run(10 * time.Second)
	for _, want := range []string{"probe ReplaceRoute rtb-a", "probe CreateRoute rtb-a", "probe DeleteRoute rtb-a", "probe DescribeRouteTables "} {
		if asked[want] != 1 {
			t.Errorf("%s: %d times", want, asked[want])
		}
	}
	missing := r.state.Missing()
	if len(missing) != 1 || missing[0] != (Permission{"ec2:DeleteRoute", "arn:aws:ec2:*:123456789012:route-table/rtb-a"}) {
		t.Errorf("missing: %v", missing)
	}
	refuse = false
	run(2 * time.Minute)
	if missing := r.state.Missing(); len(missing) != 0 || asked["probe DeleteRoute rtb-a"] != 2 || asked["probe CreateRoute rtb-a"] != 1 {
		t.Errorf("missing: %v, asked %v", missing, asked)
	}
}

// The gateway that leads and may not write a route is the one that has to say which permission is missing.
func TestProbesOfALeaderThatMayNotWrite(t *testing.T) {
	r := newRig(t, one, func(c *Config) { c.Bucket = EC2Writes() })
	r.observe(1, "eni-me")
	start, probes := r.now, 0
	for r.now < start+time.Minute {
		for _, a := range r.state.Next(r.now) {
			switch a := a.(type) {
			case Probe:
				probes++
				result := Result{}
				if a.Action == ReplaceRoute {
					result = Result{Outcome: Denied, Detail: "no"}
				}
				r.state.ProbeDone(a, result, r.now)
			case Inspect:
				r.state.InspectDone(a, true, false, Result{}, r.now)
			case Read:
				r.state.ReadDone(a, ReadResult{Tables: map[string]Table{"rtb-a": {To(cidr("100.64.0.0/16")): to("eni-other")}}, Account: "123456789012"}, r.now)
			case Lookup:
				r.state.LookupDone(a, map[string]Owner{"eni-other": {Exists: true, Gateway: true}}, Result{}, r.now)
			case Write:
				if probes > 0 && a.Attempt == 1 {
					t.Error("it asked while a route had yet to be written")
				}
				r.done(a, Denied)
			}
		}
		r.now = max(r.now, r.state.Wake())
	}
	missing := r.state.Missing()
	if len(missing) != 1 || missing[0] != (Permission{"ec2:ReplaceRoute", "arn:aws:ec2:*:123456789012:route-table/rtb-a"}) {
		t.Errorf("missing: %v after %d probes", missing, probes)
	}
}
