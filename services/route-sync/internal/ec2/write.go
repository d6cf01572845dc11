package ec2

import (
	"context"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// Write points one route to an interface, or deletes it. open is asked at the last moment whether a call may still
// be made; ctx ends what is under way. A call that is slow to answer is made once more on another connection.
func (c *Client) Write(ctx context.Context, w plan.Write, open func() bool) plan.Result {
	action := [...]string{plan.Replace: plan.ReplaceRoute, plan.Create: plan.CreateRoute, plan.Delete: plan.DeleteRoute}[w.Verb]
	return c.write(ctx, action, w.Hedge, open, []attribute.KeyValue{
		attribute.String("ec2.route_table", w.Table),
		attribute.String("ec2.destination", w.Destination.String()),
		attribute.String("ec2.network_interface", w.Interface),
		attribute.Int("ec2.attempt", w.Attempt),
		attribute.String("ec2.reason", w.Reason.String()),
		attribute.Int64("epoch", int64(w.Epoch)),
	}, func(ctx context.Context) error { return c.route(ctx, w, false) })
}

// SwitchOff switches the source/destination check of an interface off. open is as for Write.
func (c *Client) SwitchOff(ctx context.Context, w plan.SwitchOff, open func() bool) plan.Result {
	return c.write(ctx, plan.ModifyNetworkInterfaceAttribute, true, open, []attribute.KeyValue{
		attribute.String("ec2.network_interface", w.Interface), attribute.Int64("epoch", int64(w.Epoch)),
	}, func(ctx context.Context) error { return c.switchOff(ctx, w.Interface, false) })
}

func (c *Client) switchOff(ctx context.Context, eni string, dry bool) error {
	_, err := c.api.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(eni), SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(false)}, DryRun: aws.Bool(dry),
	})
	return err
}

// write makes a call that changes something, in a span; once more when it is slow and again says so.
func (c *Client) write(ctx context.Context, action string, again bool, open func() bool, attributes []attribute.KeyValue, do func(context.Context) error) plan.Result {
	ctx, span := c.options.Tracer.Start(ctx, "ec2."+action, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(append(attributes, attribute.String("ec2.action", action))...))
	defer span.End()
	call := func(ctx context.Context) plan.Result {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		result := resultOf(action, do(ctx))
		if c.options.OnCall != nil {
			c.options.OnCall(action, result.Outcome)
		}
		return result
	}
	ctx = withFence(ctx, open)
	var result plan.Result
	if again {
		result = c.hedge(ctx, call)
	} else {
		result = call(ctx)
	}
	describe(span, result)
	return result
}

// hedge calls do, and once more when it has not ended after a while, unless there are too many such calls. The first
// that succeeds is the result, and ends the other; when neither does, it is what EC2 said last, rather than that it
// said nothing. What do does must be harmless to do twice.
func (c *Client) hedge(ctx context.Context, do func(context.Context) plan.Result) plan.Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan plan.Result, 2)
	go func() { results <- do(ctx) }()
	timer := time.NewTimer(hedgeAfter)
	defer timer.Stop()
	var slow chan<- struct{} // not nil while the call waits to be made once more
	var best *plan.Result
	running, hedges := 1, 0
	for {
		select {
		case <-timer.C:
			slow = c.hedges
		case slow <- struct{}{}:
			slow = nil
			go func() {
				defer func() { <-c.hedges }()
				results <- do(elsewhere(ctx))
			}()
			running++
			hedges++
		case r := <-results:
			running--
			if r.Outcome == plan.Fenced && hedges > 0 {
				// It was not sent, but the other was.
				r = plan.Result{Outcome: plan.Unknown, Detail: r.Detail}
			}
			if best == nil || r.Outcome == plan.Done || best.Outcome == plan.Unknown {
				best = &r
			}
			if r.Outcome == plan.Done {
				cancel() // of the other, which changes nothing any more
			}
			if running == 0 {
				best.Hedges = hedges
				return *best
			}
		}
	}
}

// route makes the call for one route.
func (c *Client) route(ctx context.Context, w plan.Write, dry bool) error {
	cidr, cidr6, list := destination(w.Destination)
	var err error
	switch w.Verb {
	case plan.Create:
		_, err = c.api.CreateRoute(ctx, &ec2.CreateRouteInput{
			RouteTableId: aws.String(w.Table), NetworkInterfaceId: aws.String(w.Interface), DryRun: aws.Bool(dry),
			DestinationCidrBlock: cidr, DestinationIpv6CidrBlock: cidr6, DestinationPrefixListId: list,
		})
	case plan.Delete:
		_, err = c.api.DeleteRoute(ctx, &ec2.DeleteRouteInput{
			RouteTableId: aws.String(w.Table), DryRun: aws.Bool(dry),
			DestinationCidrBlock: cidr, DestinationIpv6CidrBlock: cidr6, DestinationPrefixListId: list,
		})
	default:
		_, err = c.api.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{
			RouteTableId: aws.String(w.Table), NetworkInterfaceId: aws.String(w.Interface), DryRun: aws.Bool(dry),
			DestinationCidrBlock: cidr, DestinationIpv6CidrBlock: cidr6, DestinationPrefixListId: list,
		})
	}
	return err
}

// destination is the one of EC2's three parameters that is meant.
func destination(d plan.Destination) (cidr, cidr6, list *string) {
	switch {
	case d.List != "":
		return nil, nil, aws.String(d.List)
	case d.CIDR.Addr().Is6():
		return nil, aws.String(d.CIDR.String()), nil
	}
	return aws.String(d.CIDR.String()), nil, nil
}

// ended notes the end of a call in its span and in the metrics.
func (c *Client) ended(span trace.Span, action string, result plan.Result) plan.Result {
	describe(span, result)
	if c.options.OnCall != nil {
		c.options.OnCall(action, result.Outcome)
	}
	return result
}

func describe(span trace.Span, result plan.Result) {
	span.SetAttributes(attribute.String("ec2.outcome", result.Outcome.String()), attribute.Int("ec2.hedges", result.Hedges))
	if result.Outcome.Failure() {
		span.SetStatus(codes.Error, result.Detail)
	}
}

// DryRun is appended to the action of dry runs where calls are counted.
const DryRun = " (dry run)"

// Probe asks by a dry run whether the role has a permission: the result is Denied when it has not.
func (c *Client) Probe(ctx context.Context, p plan.Probe) plan.Result {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result := resultOf(p.Action, c.dryRun(ctx, p))
	if c.options.OnCall != nil {
		c.options.OnCall(p.Action+DryRun, result.Outcome)
	}
	return result
}

func (c *Client) dryRun(ctx context.Context, p plan.Probe) (err error) {
	// Where the route would go to is no matter of permissions: the range is one for documentation, RFC 5737.
	route := plan.Write{Key: plan.Key{Table: p.ID, Destination: plan.To(netip.MustParsePrefix("192.0.2.0/24"))}, Interface: p.Interface}
	dry := aws.Bool(true)
	switch p.Action {
	case plan.ReplaceRoute, plan.CreateRoute, plan.DeleteRoute:
		route.Verb = map[string]plan.Verb{plan.ReplaceRoute: plan.Replace, plan.CreateRoute: plan.Create, plan.DeleteRoute: plan.Delete}[p.Action]
		return c.route(ctx, route, true)
	case plan.DescribeRouteTables:
		_, err = c.api.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{DryRun: dry})
	case plan.DescribeNetworkInterfaces:
		_, err = c.api.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{DryRun: dry})
	case plan.DescribeManagedPrefixLists:
		_, err = c.api.DescribeManagedPrefixLists(ctx, &ec2.DescribeManagedPrefixListsInput{DryRun: dry})
	case plan.GetManagedPrefixListEntries:
		_, err = c.api.GetManagedPrefixListEntries(ctx, &ec2.GetManagedPrefixListEntriesInput{DryRun: dry, PrefixListId: aws.String(p.ID)})
	case plan.CreateManagedPrefixList:
		_, err = c.api.CreateManagedPrefixList(ctx, &ec2.CreateManagedPrefixListInput{
			DryRun: dry, PrefixListName: aws.String("probe"), AddressFamily: aws.String("IPv4"), MaxEntries: aws.Int32(1), TagSpecifications: listTags(),
		})
	case plan.ModifyNetworkInterfaceAttribute:
		return c.switchOff(ctx, p.ID, true)
	}
	return err
}
