package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/client"
)

// firstAnswer is how long the gateway may take to answer at all, before it is asked for
// something that takes longer.
const firstAnswer = 5 * time.Second

func (s session) adopt(ctx context.Context, f adoptFlags) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	_, err := s.admin.AdoptRoute(ctx, &adminv1.AdoptRouteRequest{TableId: f.Table, Destination: f.Destination})
	if err != nil {
		return client.Explain(s.target, err)
	}
	_, err = fmt.Fprintf(s.out, "%s %s is being taken over: hgctl routes shows when it is in sync\n", f.Table, f.Destination)
	return err
}

func (s session) policy(ctx context.Context, f readFlags) error {
	ctx, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	answer, err := s.admin.GetIamPolicy(ctx, &adminv1.GetIamPolicyRequest{})
	if err != nil {
		return client.Explain(s.target, err)
	}
	_, err = fmt.Fprintln(s.out, strings.TrimRight(answer.GetDocument(), "\n"))
	return err
}

func (s session) transfer(ctx context.Context, f transferFlags) error {
	if _, err := s.status(ctx, min(firstAnswer, f.Timeout)); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	answer, err := s.admin.TransferLeadership(within, &adminv1.TransferLeadershipRequest{Shard: f.Shard, To: f.To})
	switch {
	case status.Code(err) == codes.DeadlineExceeded, err != nil && ctx.Err() != nil:
		return s.unfinished(ctx, "the transfer", "hgctl status", f.Timeout)
	case err != nil:
		return client.Explain(s.target, err)
	case f.Output == "json":
		return s.writeJSON(answer)
	}
	_, err = fmt.Fprintf(s.out, "%s leads shard %s under epoch %d, and its routes are in place\n", answer.GetHolder().GetId(), f.Shard, answer.GetEpoch())
	return err
}

func (s session) purge(ctx context.Context, f purgeFlags) error {
	st, err := s.status(ctx, min(firstAnswer, f.Timeout))
	if err != nil {
		return err
	}
	if !f.Yes {
		if err := s.confirm(ctx, st); err != nil {
			return err
		}
	}
	within, cancel := context.WithTimeout(ctx, f.Timeout)
	defer cancel()
	answer, err := s.admin.PurgeRoutes(within, &adminv1.PurgeRoutesRequest{})
	switch {
	case status.Code(err) == codes.DeadlineExceeded, err != nil && ctx.Err() != nil:
		return s.unfinished(ctx, "the removal", "hgctl routes", f.Timeout)
	case err != nil:
		return client.Explain(s.target, err)
	}
	if f.Output == "json" {
		err = s.writeJSON(answer)
	} else {
		err = s.purged(st.GetGatewayId(), answer)
	}
	if n := len(answer.GetLeft()); err == nil && n > 0 {
		err = fmt.Errorf("%s: %d of what the gateways own could not be removed: mend the cause, it is tried further", s.target.Address, n)
	}
	return err
}

func (s session) purged(gateway string, answer *adminv1.PurgeRoutesResponse) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s makes no route until its route-sync is started again\n", gateway)
	switch {
	case !answer.GetLed():
		fmt.Fprintf(&text, "it removed nothing, for it does not lead: purge the gateway that leads as well\n"+
			"should it come to lead, it removes the routes instead of taking them over\n")
	case len(answer.GetLeft()) == 0:
		fmt.Fprintf(&text, "nothing that the gateways own is left\n")
	}
	for _, left := range answer.GetLeft() {
		fmt.Fprintf(&text, "left: %s\n", left)
	}
	_, err := fmt.Fprint(s.out, text.String())
	return err
}

var errNotConfirmed = errors.New("nothing is removed: that was not a yes (--yes spares the question)")

// confirm asks whether the purge is meant.
func (s session) confirm(ctx context.Context, st *adminv1.Status) error {
	leads := slices.ContainsFunc(st.GetShards(), func(sh *adminv1.ShardStatus) bool {
		return sh.GetLeadership().GetRole() == leadershipv1.Role_ROLE_ACTIVE
	})
	what := "does not lead: it makes no route until its route-sync is started again, and removes nothing now"
	if leads {
		what = "leads: it removes all routes and prefix lists that the gateways own, and traffic from the VPC to the pods stops"
	}
	return s.ask(ctx, fmt.Sprintf("Gateway %s %s.", st.GetGatewayId(), what))
}

// ask puts what would happen before the operator, and is an error unless that is wanted.
func (s session) ask(ctx context.Context, what string) error {
	if _, err := fmt.Fprintf(s.errOut, "%s\nGo on? Type yes: ", what); err != nil {
		return err
	}
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(s.in).ReadString('\n') // no answer is no yes
		answer <- strings.TrimSpace(line)
	}()
	select {
	case line := <-answer:
		if line == "yes" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(s.errOut)
	}
	return errNotConfirmed
}

// unfinished is the error when hgctl stops waiting for what the gateway goes on with.
func (s session) unfinished(ctx context.Context, what, look string, timeout time.Duration) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: interrupted: %s may go on, %s tells", s.target.Address, what, look)
	}
	return fmt.Errorf("%s: not done within %v: %s may go on, %s tells", s.target.Address, timeout, what, look)
}
