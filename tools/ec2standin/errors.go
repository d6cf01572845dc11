package ec2standin

import (
	"fmt"
	"net/http"
	"strings"
)

// Error codes used in more than one place.
const (
	codeAuthFailure          = "AuthFailure"
	codeDryRun               = "DryRunOperation"
	codeIncorrectState       = "IncorrectState"
	codeInternalError        = "InternalError"
	codeInvalidAction        = "InvalidAction"
	codeInvalidNextToken     = "InvalidNextToken"
	codeInvalidParameter     = "InvalidParameterValue"
	codeMissingParameter     = "MissingParameter"
	codeParameterCombination = "InvalidParameterCombination"
	codeRequestLimitExceeded = "RequestLimitExceeded"
	codeUnknownParameter     = "UnknownParameter"
	codeUnsupported          = "UnsupportedOperation"
)

// apiError is an error as the API's clients see it.
type apiError struct {
	code    string
	message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func errorf(code, format string, args ...any) *apiError {
	return &apiError{code: code, message: fmt.Sprintf(format, args...)}
}

// httpStatus returns the HTTP status EC2 uses for an error code.
func httpStatus(code string) int {
	switch code {
	case codeAuthFailure:
		return http.StatusUnauthorized
	case "UnauthorizedOperation", "OptInRequired", "Blocked":
		return http.StatusForbidden
	case codeDryRun:
		return http.StatusPreconditionFailed
	case codeInternalError, "InternalFailure":
		return http.StatusInternalServerError
	case codeRequestLimitExceeded, "Unavailable", "ServiceUnavailable", "InsufficientCapacity":
		return http.StatusServiceUnavailable
	default:
		return http.StatusBadRequest
	}
}

// injected is the error for a code that a fault has chosen.
func injected(code string) *apiError {
	switch code {
	case codeRequestLimitExceeded:
		return errorf(code, "Request limit exceeded.")
	case codeInternalError, "InternalFailure":
		return errorf(code, "An internal error has occurred")
	case "UnauthorizedOperation":
		return errorf(code, "You are not authorized to perform this operation.")
	default:
		return errorf(code, "injected by a fault of the stand-in")
	}
}

// resource is a kind of thing that has an id, and how EC2 complains about it.
type resource struct {
	noun      string   // as in "The vpc ID 'vpc-1' does not exist"
	parameter string   // parameter that carries one id
	prefixes  []string // of its ids
	notFound  string
	malformed string
}

func (s *Server) routeTableResource() resource {
	return resource{"routeTable", "routeTableId", []string{"rtb-"}, s.config.RouteTableNotFoundCode, "InvalidRouteTableId.Malformed"}
}

func (s *Server) prefixListResource() resource {
	return resource{"prefix list", "prefixListId", []string{"pl-"}, s.config.PrefixListNotFoundCode, "InvalidPrefixListId.Malformed"}
}

func eniResource() resource {
	return resource{"networkInterface", "networkInterfaceId", []string{"eni-"},
		"InvalidNetworkInterfaceID.NotFound", "InvalidNetworkInterfaceId.Malformed"}
}

func instanceResource() resource {
	return resource{"instance", "instanceId", []string{"i-"}, "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"}
}

func vpcResource() resource {
	return resource{"vpc", "vpcId", []string{"vpc-"}, "InvalidVpcID.NotFound", "InvalidVpcID.Malformed"}
}

func subnetResource() resource {
	return resource{"subnet", "subnetId", []string{"subnet-"}, "InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed"}
}

// wellFormed checks the form of an id, before anything is looked up.
func (r resource) wellFormed(id string) *apiError {
	if hasPrefix(id, r.prefixes...) {
		return nil
	}
	return errorf(r.malformed, "Invalid id: %q (expecting %q)", id, strings.Join(r.prefixes, "...; or ")+"...")
}

// absent is the error for ids that do not exist.
func (r resource) absent(ids ...string) *apiError {
	if len(ids) == 1 {
		return errorf(r.notFound, "The %s ID '%s' does not exist", r.noun, ids[0])
	}
	return errorf(r.notFound, "The %s IDs '%s' do not exist", r.noun, strings.Join(ids, ", "))
}
