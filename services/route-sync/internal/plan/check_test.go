package plan

import (
	"strings"
	"testing"
	"time"
)

// checks runs the actions about the gateway's own interface, whose check is as *on says, for a while.
func (r *rig) checks(on *bool, refusal Outcome, d time.Duration) (looks, switches int) {
	for end := r.now + d; r.now < end; r.now = min(end, max(r.now, r.state.Wake())) {
		for _, a := range r.state.Next(r.now) {
			switch a := a.(type) {
			case Inspect:
				looks++
				r.state.InspectDone(a, true, *on, Result{}, r.now)
			case SwitchOff:
				switches++
				if refusal == Done {
					*on = false
				}
				r.state.SwitchOffDone(a, Result{Outcome: refusal, Detail: "not allowed"}, r.now)
			case Read:
				r.read = a
				r.reads(to("eni-me"))
			case Write:
				r.done(a, Done)
			}
		}
	}
	return looks, switches
}

func TestCheckIsVerifiedAtStartAndAtTakeover(t *testing.T) {
	r := newRig(t, one)
	on := false
	if looks, _ := r.checks(&on, Done, time.Hour); looks != 1 {
		t.Errorf("%d looks when all is well", looks)
	}
	on = true
	r.observe(1, "eni-me")
	looks, switches := r.checks(&on, Done, 10*time.Second)
	check, problem := r.state.Self()
	if looks != 1 || switches != 0 || check != CheckOn || !strings.Contains(problem, "--no-source-dest-check") {
		t.Errorf("%d looks, %d switched off: %v, %q", looks, switches, check, problem)
	}
}

func TestCheckIsSwitchedOffUnderAnEpochOnly(t *testing.T) {
	r := newRig(t, one, func(c *Config) { c.ManageCheck = true })
	on := true
	r.observe(1, "eni-other")
	if _, switches := r.checks(&on, Done, time.Hour); switches != 0 {
		t.Error("a gateway that stands by wrote")
	}
	r.observe(2, "eni-me")
	if _, switches := r.checks(&on, Done, time.Minute); switches != 1 || on {
		t.Errorf("switched off %d times", switches)
	}
	if check, problem := r.state.Self(); check != CheckOff || problem != "" {
		t.Errorf("%v, %q", check, problem)
	}
}

func TestRefusedSwitchIsToldAndTriedSeldom(t *testing.T) {
	r := newRig(t, one, func(c *Config) { c.ManageCheck = true })
	on := true
	r.observe(1, "eni-other")
	r.observe(2, "eni-me")
	looks, switches := r.checks(&on, Denied, time.Minute)
	if _, problem := r.state.Self(); !strings.Contains(problem, "not allowed") {
		t.Errorf("the problem is %q", problem)
	}
	if switches < 2 || switches > 5 || looks > 6 || r.state.Converged() != 2 {
		t.Errorf("%d attempts and %d looks in a minute, converged under %d", switches, looks, r.state.Converged())
	}
}

func TestInterfaceThatDoesNotExist(t *testing.T) {
	r := newRig(t, one)
	r.state.InspectDone(Inspect{}, false, false, Result{}, r.now)
	if _, problem := r.state.Self(); !strings.Contains(problem, "correct --eni") {
		t.Errorf("the problem is %q", problem)
	}
	r.state.InspectDone(Inspect{}, false, false, Result{Outcome: Denied, Detail: "grant it"}, r.now)
	if _, problem := r.state.Self(); problem == "" {
		t.Error("no problem")
	}
}

// As long as the check is on, EC2 drops whatever comes by the routes: switching it off waits for none of them, though
// they take all that the bucket has.
func TestCheckIsSwitchedOffBeforeRoutesAreWritten(t *testing.T) {
	for name, early := range map[string]bool{"found out while standing by": true, "found out while taking over": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, many(10, 20), func(c *Config) { c.Bucket, c.ManageCheck = EC2Writes(), true })
			r.observe(1, "eni-other")
			for _, a := range r.state.Next(r.now) {
				switch a := a.(type) {
				case Inspect:
					r.state.InspectDone(a, true, early, Result{}, r.now)
				case Read:
					r.read = a
					r.reads(to("eni-other"))
				}
			}
			r.observe(2, "eni-me")
			start := r.now
			for r.now < start+10*time.Second {
				for _, a := range r.state.Next(r.now) {
					switch a := a.(type) {
					case Inspect:
						r.state.InspectDone(a, true, true, Result{}, r.now)
					case Read:
						r.read = a
						r.state.ReadDone(a, ReadResult{Tables: r.written()}, r.now)
					case Write:
						r.done(a, Done)
					case SwitchOff:
						took := r.now - start
						if early && took > 0 || took > 300*time.Millisecond {
							t.Errorf("switched off %s after the takeover began", took)
						}
						return
					}
				}
				r.now = r.state.Wake()
			}
			t.Error("not switched off within ten seconds")
		})
	}
}
