package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/boottime"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/tools/ec2standin"
)

// departs says that this gateway, which leads under an epoch, is leaving, or the last.
func (r *rig) departs(epoch uint64, d leadershipv1.Departure) {
	r.t.Helper()
	told := r.election.told.Load()
	r.election.log.Set(r.t.Context(), "default", &leadershipv1.Leadership{
		Shard: "default", Epoch: epoch, Holder: &leadershipv1.Gateway{Id: "gw", EniId: "eni-a"}, Role: leadershipv1.Role_ROLE_ACTIVE,
		ValidUntilBoottime: int64(boottime.Now() + hour), Departure: d,
	})
	r.await("it was told", func() bool { return r.election.told.Load() > told })
}

// stopping tells the process to stop, as a signal does. The channel is closed when it has ended.
func (r *rig) stopping() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.stopApp()
	}()
	return ended
}

func (r *rig) awaitEnd(ended <-chan struct{}) {
	r.t.Helper()
	select {
	case <-ended:
	case <-time.After(patience):
		r.t.Fatal("it does not end")
	}
}

// leading starts everything, with the routes in place under epoch 2.
func (r *rig) leading() {
	r.t.Helper()
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 })
}

// All processes of the last gateway are told to stop at once: route-sync goes on until election says what that means.
func TestLastExitAfterTheSignal(t *testing.T) {
	for what, left := range map[string]string{"remove": "none", "keep": "eni-a"} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, 2, 2)
			r.config.OnLastExit = what
			r.leading()
			r.departs(2, leadershipv1.Departure_DEPARTURE_LEAVING)
			ended := r.stopping()
			select {
			case <-ended:
				t.Fatal("it ends before it is known whether this gateway is the last")
			case <-time.After(100 * time.Millisecond):
			}
			r.departs(2, leadershipv1.Departure_DEPARTURE_LAST)
			r.awaitEnd(ended)
			if got := r.targets(); got[left] != 4 {
				t.Errorf("the routes are left so: %v", got)
			}
		})
	}
}

// Only election is told to stop, and says that the gateway is the last: nothing is removed until this process is told as well.
func TestLastExitOfElectionAlone(t *testing.T) {
	r := newRig(t, 2, 2)
	r.config.OnLastExit = "remove"
	r.leading()
	r.departs(2, leadershipv1.Departure_DEPARTURE_LAST)
	r.during(300*time.Millisecond, "the routes stay", func() bool { return r.targets()["eni-a"] == 4 })
	r.awaitEnd(r.stopping())
	if got := r.targets(); got["none"] != 4 {
		t.Errorf("the routes are left so: %v", got)
	}
}

// EC2 forgets the replies to what it does, and refuses some of it: what is the gateways' own goes all the same.
func TestLastExitWithTrouble(t *testing.T) {
	r := newRig(t, 2, 2)
	r.config.OnLastExit = "remove"
	r.config.ManagePrefixList = true
	r.leading()
	r.ec2.FailNext("DeleteRoute", "InternalError", 2)
	r.ec2.SetFaults(ec2standin.Faults{Latency: 100 * time.Millisecond})
	r.departs(2, leadershipv1.Departure_DEPARTURE_LAST)
	r.awaitEnd(r.stopping())
	if s := r.ec2.Snapshot(); r.targets()["none"] != 4 || r.count(s) != [2]int{0, 0} || len(s.PrefixLists) != 0 {
		t.Errorf("this is left: %v, %v, %v", r.targets(), r.count(s), s.PrefixLists)
	}
}

// Nobody said that this gateway is the last, so that all stays when it goes.
func TestExitKeepsRoutes(t *testing.T) {
	for name, meanwhile := range map[string]func(*rig){
		"after a hand-over":    func(r *rig) { r.lead(3, "eni-a2", 0); r.election.stop() },
		"with election":        func(r *rig) { r.election.stop() },
		"while election stays": func(*rig) {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, 2)
			r.config.OnLastExit = "remove"
			r.leading()
			ended := r.stopping()
			meanwhile(r)
			r.awaitEnd(ended)
			if got := r.targets(); got["eni-a"] != 4 {
				t.Errorf("the routes are left so: %v", got)
			}
		})
	}
}

// A process that does not know yet who it is ends at once.
func TestExitBeforeIdentified(t *testing.T) {
	r := newRig(t, 1, 1)
	r.config.ENI = ""
	r.startElection()
	r.startApp()
	client := r.client()
	r.await("it says that it waits", func() bool {
		_, err := client.Policy(t.Context(), &routesv1.PolicyRequest{})
		return err != nil && strings.Contains(err.Error(), "does not know yet")
	})
	r.awaitEnd(r.stopping())
}
