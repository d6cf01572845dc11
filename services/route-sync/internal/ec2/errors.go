package ec2

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/hybridgateway/gateway/libs/clip"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// maxDetail bounds the messages of EC2 that are passed on, in bytes. Those on missing permissions
// carry kilobytes of encoded policy.
const maxDetail = 200

// resultOf tells what the error of a call means. The codes are listed at
// https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
func resultOf(action string, err error) plan.Result {
	if err == nil {
		return plan.Result{Outcome: plan.Done}
	}
	if errors.Is(err, errFenced) {
		return plan.Result{Outcome: plan.Fenced, Detail: action + ": " + errFenced.Error()}
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		r := plan.Result{Outcome: outcomeOf(api, err), Detail: action + ": " + api.ErrorCode() + ": " + message(api)}
		switch r.Outcome {
		case plan.Done:
			return plan.Result{}
		case plan.Denied:
			r.Detail += "; grant ec2:" + action + " to the gateway's role"
		case plan.Quota:
			r.Detail += "; raise the quota of routes per route table, or remove routes from it"
		}
		return r
	}
	var sent *smithyhttp.RequestSendError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return plan.Result{Outcome: plan.Unknown, Detail: action + ": no answer within " + callTimeout.String()}
	case errors.Is(err, context.Canceled):
		return plan.Result{Outcome: plan.Unknown, Detail: action + ": abandoned under way"}
	case errors.As(err, &sent):
		return plan.Result{Outcome: plan.Unknown, Detail: action + ": " + cut(sent.Err.Error())}
	}
	return plan.Result{Outcome: plan.Failed, Detail: action + ": " + cut(err.Error())}
}

func outcomeOf(api smithy.APIError, err error) plan.Outcome {
	code := api.ErrorCode()
	switch {
	case code == "InvalidRoute.NotFound":
		return plan.NoRoute
	case code == "InvalidParameterValue" && strings.Contains(api.ErrorMessage(), "no route defined"):
		// What EC2 in fact answers when ReplaceRoute finds nothing to replace: "There is no route defined
		// for '10.1.0.0/16' in the route table. Use CreateRoute instead."
		return plan.NoRoute
	case code == "RouteAlreadyExists":
		return plan.Exists
	case strings.EqualFold(code, "InvalidRouteTableID.NotFound"), strings.EqualFold(code, "InvalidRouteTableID.Malformed"):
		// EC2 spells the first both ways, ID and Id.
		return plan.NoTable
	case strings.EqualFold(code, "InvalidNetworkInterfaceID.NotFound"):
		return plan.NoInterface
	case strings.EqualFold(code, "InvalidPrefixListID.NotFound"):
		return plan.NoList
	case code == "IncorrectState", code == "PrefixListVersionMismatch":
		return plan.Busy
	case code == "DryRunOperation":
		return plan.Done
	case code == "RouteLimitExceeded":
		return plan.Quota
	case throttling(code):
		return plan.Throttled
	case denial(code):
		return plan.Denied
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError {
		return plan.Unknown
	}
	return plan.Failed
}

func throttling(code string) bool {
	_, known := retry.DefaultThrottleErrorCodes[code]
	return known
}

func denial(code string) bool {
	switch code {
	case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthFailure", "OptInRequired", "InvalidClientTokenId", "SignatureDoesNotMatch":
		return true
	}
	return false
}

func message(api smithy.APIError) string {
	text, _, _ := strings.Cut(api.ErrorMessage(), "Encoded authorization failure message")
	return cut(strings.TrimSpace(text))
}

func cut(text string) string {
	return clip.Text(strings.Join(strings.Fields(text), " "), maxDetail)
}
