package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// The actions of the API that are used, as IAM names them.
const (
	ReplaceRoute              = "ReplaceRoute"
	CreateRoute               = "CreateRoute"
	DescribeRouteTables       = "DescribeRouteTables"
	DescribeNetworkInterfaces = "DescribeNetworkInterfaces"
)

// Write points one route to an interface. open is asked at the last moment whether the call may still
// be made; ctx ends it when it is under way.
func (c *Client) Write(ctx context.Context, w plan.Write, open func() bool) plan.Result {
	action := ReplaceRoute
	if w.Verb == plan.Create {
		action = CreateRoute
	}
	ctx, span := c.options.Tracer.Start(ctx, "ec2."+action, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("ec2.action", action),
		attribute.String("ec2.route_table", w.Table),
		attribute.String("ec2.destination", w.Destination.String()),
		attribute.String("ec2.network_interface", w.Interface),
		attribute.Int("ec2.attempt", w.Attempt),
		attribute.String("ec2.reason", w.Reason.String()),
		attribute.Int64("epoch", int64(w.Epoch)),
	))
	defer span.End()
	ctx, cancel := context.WithTimeout(withFence(ctx, open), callTimeout)
	defer cancel()

	var err error
	if w.Verb == plan.Create {
		_, err = c.api.CreateRoute(ctx, &ec2.CreateRouteInput{
			RouteTableId:         aws.String(w.Table),
			DestinationCidrBlock: aws.String(w.Destination.String()),
			NetworkInterfaceId:   aws.String(w.Interface),
		})
	} else {
		_, err = c.api.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{
			RouteTableId:         aws.String(w.Table),
			DestinationCidrBlock: aws.String(w.Destination.String()),
			NetworkInterfaceId:   aws.String(w.Interface),
		})
	}
	result := resultOf(action, err)
	return c.ended(span, action, result)
}

// ended notes the end of a call in its span and in the metrics.
func (c *Client) ended(span trace.Span, action string, result plan.Result) plan.Result {
	span.SetAttributes(attribute.String("ec2.outcome", result.Outcome.String()))
	if result.Outcome.Failure() {
		span.SetStatus(codes.Error, result.Detail)
	}
	if c.options.OnCall != nil {
		c.options.OnCall(action, result.Outcome)
	}
	return result
}
