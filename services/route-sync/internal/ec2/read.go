package ec2

import (
	"context"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

const (
	// maxFilterValues is how many values EC2 takes for one filter.
	maxFilterValues = 200
	// maxPage is how many route tables EC2 returns at once.
	maxPage = 100
)

// ReadTables reads route tables. They are named by a filter rather than by id, so that one that does
// not exist is no error for the others. The result holds what was read even when it is a failure.
func (c *Client) ReadTables(ctx context.Context, ids []string) plan.ReadResult {
	result := plan.ReadResult{Tables: make(map[string]plan.Table)}
	for chunk := range slices.Chunk(ids, maxFilterValues) {
		if result.Result = c.readChunk(ctx, chunk, &result); result.Outcome != plan.Done {
			return result
		}
		for _, id := range chunk {
			if _, read := result.Tables[id]; !read {
				result.Absent = append(result.Absent, id)
			}
		}
	}
	return result
}

func (c *Client) readChunk(ctx context.Context, ids []string, into *plan.ReadResult) plan.Result {
	pages := ec2.NewDescribeRouteTablesPaginator(c.api, &ec2.DescribeRouteTablesInput{
		Filters:    []types.Filter{{Name: aws.String("route-table-id"), Values: ids}},
		MaxResults: aws.Int32(maxPage),
	})
	for pages.HasMorePages() {
		var page *ec2.DescribeRouteTablesOutput
		result := c.call(ctx, plan.DescribeRouteTables, func(ctx context.Context) (err error) {
			page, err = pages.NextPage(ctx, c.patiently)
			return err
		})
		if result.Outcome != plan.Done {
			return result
		}
		for _, t := range page.RouteTables {
			into.Tables[aws.ToString(t.RouteTableId)] = tableOf(t.Routes)
			into.Account = aws.ToString(t.OwnerId)
		}
	}
	return plan.Result{Outcome: plan.Done}
}

// call makes one read.
func (c *Client) call(ctx context.Context, action string, do func(context.Context) error) plan.Result {
	span := trace.SpanFromContext(context.Background())
	if trace.SpanFromContext(ctx).IsRecording() {
		ctx, span = c.options.Tracer.Start(ctx, "ec2."+action, trace.WithSpanKind(trace.SpanKindClient))
		defer span.End()
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.ended(span, action, resultOf(action, do(ctx)))
}

// tableOf is a table by destination. A static route hides one that a virtual private gateway propagated for the same
// destination, as it does for packets.
func tableOf(routes []types.Route) plan.Table {
	table := make(plan.Table, len(routes))
	for _, r := range routes {
		d, ok := destinationOf(r)
		if !ok {
			continue
		}
		if _, static := table[d]; static && r.Origin == types.RouteOriginEnableVgwRoutePropagation {
			continue
		}
		table[d] = routeOf(r)
	}
	return table
}

func destinationOf(r types.Route) (plan.Destination, bool) {
	if id := aws.ToString(r.DestinationPrefixListId); id != "" {
		return plan.ToList(id), true
	}
	for _, text := range []*string{r.DestinationCidrBlock, r.DestinationIpv6CidrBlock} {
		if cidr, err := netip.ParsePrefix(aws.ToString(text)); err == nil {
			return plan.To(cidr), true
		}
	}
	return plan.Destination{}, false
}

func routeOf(r types.Route) plan.Route {
	route := plan.Route{
		Kind: plan.Other, Blackhole: r.State == types.RouteStateBlackhole,
		Propagated: r.Origin == types.RouteOriginEnableVgwRoutePropagation,
	}
	if eni := aws.ToString(r.NetworkInterfaceId); eni != "" {
		route.Kind, route.Target = plan.Interface, eni
		return route
	}
	for _, target := range []*string{
		r.GatewayId, r.NatGatewayId, r.TransitGatewayId, r.VpcPeeringConnectionId, r.LocalGatewayId,
		r.CarrierGatewayId, r.CoreNetworkArn, r.EgressOnlyInternetGatewayId, r.InstanceId,
	} {
		if id := aws.ToString(target); id != "" {
			route.Target = id
			return route
		}
	}
	route.Target = "an unknown target"
	return route
}

// Owners looks up network interfaces: which exist, and which are tagged as gateways'.
func (c *Client) Owners(ctx context.Context, ids []string) (map[string]plan.Owner, plan.Result) {
	owners := make(map[string]plan.Owner)
	for chunk := range slices.Chunk(ids, maxFilterValues) {
		interfaces, result := c.interfaces(ctx, chunk)
		if result.Outcome != plan.Done {
			return nil, result
		}
		for _, i := range interfaces {
			owners[aws.ToString(i.NetworkInterfaceId)] = plan.Owner{Exists: true, Gateway: tagged(i.TagSet, plan.GatewayTag)}
		}
	}
	return owners, plan.Result{Outcome: plan.Done}
}

// Inspect looks up the source/destination check of an interface.
func (c *Client) Inspect(ctx context.Context, eni string) (exists, on bool, result plan.Result) {
	interfaces, result := c.interfaces(ctx, []string{eni})
	if result.Outcome != plan.Done || len(interfaces) == 0 {
		return false, false, result
	}
	return true, aws.ToBool(interfaces[0].SourceDestCheck), result
}

func (c *Client) interfaces(ctx context.Context, ids []string) ([]types.NetworkInterface, plan.Result) {
	var answer *ec2.DescribeNetworkInterfacesOutput
	result := c.call(ctx, plan.DescribeNetworkInterfaces, func(ctx context.Context) (err error) {
		answer, err = c.api.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: filter("network-interface-id", ids)}, c.patiently)
		return err
	})
	if result.Outcome != plan.Done {
		return nil, result
	}
	return answer.NetworkInterfaces, result
}

func tagged(tags []types.Tag, key string) bool {
	return slices.ContainsFunc(tags, func(t types.Tag) bool {
		return aws.ToString(t.Key) == key && aws.ToString(t.Value) == "true"
	})
}
