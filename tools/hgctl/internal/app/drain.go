package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/client"
)

type drainFlags struct {
	Purge   bool          `help:"Then remove all that is the gateway's from its node, once no packet comes through any more. The node forwards nothing until its dataplane is started again." env:"-"`
	Force   bool          `help:"With --purge: remove it although no other gateway can take over, the VPC's routes first, or although packets still come through. Traffic stops." env:"-"`
	Yes     bool          `help:"Do not ask whether the purge is meant." env:"-"`
	Quiet   time.Duration `help:"With --purge: how long no packet may have come through before." default:"6s" env:"-"`
	Timeout time.Duration `help:"How long to wait for each step." default:"1m" env:"-"`

	connection
}

// lookAgain is how often the tunnel's counters are asked for. The dataplane tells them every two seconds.
const lookAgain = 500 * time.Millisecond

// drain hands over what the gateway leads, and removes its tunnel if so told.
func (s session) drain(ctx context.Context, f drainFlags) error {
	if f.Force && !f.Purge {
		return errors.New("--force is for --purge: without it nothing is removed that could be forced")
	}
	st, err := s.status(ctx, min(firstAnswer, f.Timeout))
	if err != nil {
		return err
	}
	if f.Purge && !f.Yes {
		question := fmt.Sprintf("Gateway %s hands over what it leads, and forwards nothing until its dataplane is started again.", st.GetGatewayId())
		if f.Force {
			question = fmt.Sprintf("Gateway %s forwards nothing until its dataplane is started again. Where no other gateway takes over, traffic between the VPC and the pods stops.", st.GetGatewayId())
		}
		if err := s.ask(ctx, question); err != nil {
			return err
		}
	}
	alone, err := s.handOver(ctx, f, st)
	if err != nil {
		return err
	}
	if !f.Purge {
		_, err := fmt.Fprintf(s.out, "%s leads nothing, and goes on forwarding what reaches it\n", st.GetGatewayId())
		return err
	}
	if alone {
		err = s.purge(ctx, purgeFlags{Yes: true, Timeout: f.Timeout, output: output{Output: "table"}})
	} else if !f.Force {
		err = s.awaitQuiet(ctx, f)
	}
	if err != nil {
		return err
	}
	return s.purgeTunnel(ctx, f, st.GetGatewayId())
}

// handOver transfers each shard that no other gateway leads. alone tells that there was nobody to transfer one to, which is an error unless it is
// forced.
func (s session) handOver(ctx context.Context, f drainFlags, st *adminv1.Status) (alone bool, err error) {
	for _, shard := range st.GetShards() {
		l := shard.GetLeadership()
		holder := l.GetHolder().GetId()
		if elsewhere := holder != "" && holder != st.GetGatewayId(); elsewhere && l.GetRole() != leadershipv1.Role_ROLE_ACTIVE {
			continue
		}
		within, cancel := context.WithTimeout(ctx, f.Timeout)
		answer, err := s.admin.TransferLeadership(within, &adminv1.TransferLeadershipRequest{Shard: l.GetShard()})
		cancel()
		switch {
		case status.Code(err) == codes.FailedPrecondition && f.Force:
			alone = true
		case status.Code(err) == codes.FailedPrecondition:
			return false, fmt.Errorf("nothing is removed, and shard %s stays with %s: %w", l.GetShard(), st.GetGatewayId(), client.Explain(s.target, err))
		case status.Code(err) == codes.DeadlineExceeded, err != nil && ctx.Err() != nil:
			return false, s.unfinished(ctx, "the transfer of shard "+l.GetShard(), "hgctl status", f.Timeout)
		case err != nil:
			return false, client.Explain(s.target, err)
		default:
			if _, err := fmt.Fprintf(s.out, "%s leads shard %s under epoch %d, and its routes are in place\n", answer.GetHolder().GetId(), l.GetShard(), answer.GetEpoch()); err != nil {
				return false, err
			}
		}
	}
	return alone, nil
}

// awaitQuiet waits until nothing has come through the tunnel for a while: then everybody, the nodes' Cilium as well, has turned to another gateway.
func (s session) awaitQuiet(ctx context.Context, f drainFlags) error {
	var last uint64
	since := time.Now()
	for begun, first := since, true; ; first = false {
		st, err := s.status(ctx, min(firstAnswer, f.Timeout))
		if err != nil {
			return err
		}
		if n := throughput(st); first || n != last {
			last, since = n, time.Now()
		}
		switch {
		case time.Since(since) >= f.Quiet:
			return nil
		case time.Since(begun) > f.Timeout+f.Quiet:
			return fmt.Errorf("%s: packets still come through %s after %v: nothing is removed; see that the VPC's routes and Cilium on every node point elsewhere (hgctl status), or remove it all the same (--force)",
				s.target.Address, st.GetGatewayId(), f.Timeout)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: interrupted: nothing is removed", s.target.Address)
		case <-time.After(lookAgain):
		}
	}
}

// throughput counts the packets that have come through, in both directions.
func throughput(st *adminv1.Status) uint64 {
	var n uint64
	for _, t := range st.GetTunnels() {
		n += t.GetCounters().GetRxPackets() + t.GetCounters().GetTxPackets()
	}
	return n
}

func (s session) purgeTunnel(ctx context.Context, f drainFlags, gateway string) error {
	within, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	answer, err := s.admin.PurgeTunnel(within, &adminv1.PurgeTunnelRequest{Force: f.Force})
	if err != nil {
		return client.Explain(s.target, err)
	}
	for _, left := range answer.GetLeft() {
		if _, err := fmt.Fprintf(s.out, "left: %s\n", left); err != nil {
			return err
		}
	}
	if n := len(answer.GetLeft()); n > 0 {
		return fmt.Errorf("%s: %d of what is the gateway's could not be removed from its node: mend the cause, it is tried further", s.target.Address, n)
	}
	_, err = fmt.Fprintf(s.out, "nothing of %s is left on its node, which forwards nothing until its dataplane is started again\n", gateway)
	return err
}
