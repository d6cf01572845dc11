package ec2standin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/hybridgateway/gateway/tools/ec2standin"
)

const signed = "AWS4-HMAC-SHA256 Credential=AKIATEST/20261124/us-west-2/ec2/aws4_request, SignedHeaders=host;x-amz-date, Signature="

// post sends one call without the SDK.
func post(s *ec2standin.Server, authorization string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	r.Header.Set("Authorization", authorization)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// call makes a form of an action and "name=value" parameters.
func call(action string, parameters ...string) url.Values {
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		form.Set(name, value)
	}
	return form
}

func TestRequestsThatAreRefused(t *testing.T) {
	good := signed + strings.Repeat("0a", 32)
	route := []string{"RouteTableId=rtb-a", "DestinationCidrBlock=198.51.100.0/24"}
	with := func(more ...string) []string { return append(append([]string(nil), route...), more...) }
	old := call("DescribeVpcs")
	old.Set("Version", "2014-01-01")
	tests := []struct {
		name          string
		authorization string
		form          url.Values
		status        int
		code          string
	}{
		{"no signature", "", call("DescribeVpcs"), 401, "AuthFailure"},
		{"broken signature", signed + "zz", call("DescribeVpcs"), 401, "AuthFailure"},
		{"signed for another service", strings.Replace(good, "/ec2/", "/s3/", 1), call("DescribeVpcs"), 401, "AuthFailure"},
		{"old version", good, old, 400, "NoSuchVersion"},
		{"unknown action", good, call("LaunchRocket"), 400, "InvalidAction"},
		{"unknown parameter", good, call("DescribeVpcs", "Colour=red"), 400, "UnknownParameter"},
		{"known but not supported", good, call("CreateRoute", with("CarrierGatewayId=cagw-1")...), 400, "UnsupportedOperation"},
		{"no table", good, call("CreateRoute", "DestinationCidrBlock=198.51.100.0/24"), 400, "MissingParameter"},
		{"malformed table", good, call("DeleteRoute", "RouteTableId=table", route[1]), 400, "InvalidRouteTableId.Malformed"},
		{"malformed interface", good, call("CreateRoute", with("NetworkInterfaceId=eth0")...), 400, "InvalidNetworkInterfaceId.Malformed"},
		{"no target", good, call("CreateRoute", route...), 400, "MissingParameter"},
		{"two targets", good, call("CreateRoute", with("GatewayId=igw-1", "NetworkInterfaceId=eni-gw1")...), 400, "InvalidParameterCombination"},
		{"two destinations", good, call("DeleteRoute", with("DestinationIpv6CidrBlock=2001:db8::/32")...), 400, "InvalidParameterCombination"},
		{"no such transit gateway", good, call("CreateRoute", with("TransitGatewayId=tgw-9")...), 400, "InvalidTransitGatewayID.NotFound"},
		{"not a boolean", good, call("DescribeVpcs", "DryRun=maybe"), 400, "InvalidParameterValue"},
		{"page of ids", good, call("DescribeVpcs", "VpcId.1=vpc-1", "MaxResults=5"), 400, "InvalidParameterCombination"},
		{"foreign token", good, call("DescribeVpcs", "NextToken=abc"), 400, "InvalidNextToken"},
		{"filter without values", good, call("DescribeVpcs", "Filter.1.Name=vpc-id"), 400, "InvalidParameterValue"},
		{"filter without a name", good, call("DescribeVpcs", "Filter.1.Value.1=vpc-1"), 400, "InvalidParameterValue"},
		{"nothing to modify", good, call("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId=eni-gw1"), 400, "MissingParameter"},
		{"garbled form", good, url.Values{"Action": {"x"}, "DryRun": {"true"}}, 400, "NoSuchVersion"},
	}
	s := newWorld(t, ec2standin.Config{})
	before := s.Snapshot().Revision
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := post(s, test.authorization, test.form)
			if w.Code != test.status || !strings.Contains(w.Body.String(), "<Code>"+test.code+"</Code>") ||
				!strings.Contains(w.Body.String(), "<RequestID>00000000-0000-4000-8000-") {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, test.status, test.code)
			}
		})
	}
	if s.Snapshot().Revision != before {
		t.Error("a refused request changed the world")
	}
}

func TestAnswerOnTheWire(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	w := post(s, signed+strings.Repeat("0a", 32), call("CreateRoute", "RouteTableId=rtb-a",
		"DestinationCidrBlock=198.51.100.0/24", "NetworkInterfaceId=eni-gw1"))
	want := `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<CreateRouteResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">` +
		`<requestId>00000000-0000-4000-8000-000000000001</requestId><return>true</return></CreateRouteResponse>`
	if w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Type") != "text/xml;charset=UTF-8" {
		t.Errorf("got %d %v\n%s\nwant\n%s", w.Code, w.Header(), w.Body, want)
	}
}

func TestRouteTargets(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	must(t, s.AddVPC(ec2standin.VPC{ID: "vpc-2", CIDRs: s.Snapshot().VPCs[0].CIDRs}))
	must(t, s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-far", VPC: "vpc-2"}))
	c := &contract{Client: newClient(t, s)}
	to, table := "198.51.100.0/24", aws.String("rtb-a")
	if err := c.create(t, "rtb-a", to, "eni-gw1"); err != nil {
		t.Fatal(err)
	}
	for want, in := range map[string]*ec2.ReplaceRouteInput{
		"igw-1":   {GatewayId: aws.String("igw-1")},
		"nat-1":   {NatGatewayId: aws.String("nat-1")},
		"tgw-1":   {TransitGatewayId: aws.String("tgw-1")},
		"pcx-1":   {VpcPeeringConnectionId: aws.String("pcx-1")},
		"eni-gw2": {InstanceId: aws.String("i-gw2")},
	} {
		in.RouteTableId, in.DestinationCidrBlock = table, &to
		if _, err := c.ReplaceRoute(t.Context(), in); err != nil {
			t.Errorf("replace by %s: %v", want, err)
			continue
		}
		r := c.route(t, "rtb-a", to)
		got := aws.ToString(r.GatewayId) + aws.ToString(r.NatGatewayId) + aws.ToString(r.TransitGatewayId) +
			aws.ToString(r.VpcPeeringConnectionId) + aws.ToString(r.NetworkInterfaceId)
		if got != want {
			t.Errorf("target %q, want only %q", got, want)
		}
	}
	wantError(t, "interface of another VPC", c.create(t, "rtb-far", to, "eni-gw1"), 400, "InvalidParameterValue")
	_, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{RouteTableId: aws.String("rtb-far"), DestinationCidrBlock: &to, GatewayId: aws.String("igw-1")})
	wantError(t, "gateway of another VPC", err, 400, "InvalidParameterValue")
	must(t, s.AttachENI("eni-gw1", "i-gw2", 1))
	_, err = c.ReplaceRoute(t.Context(), &ec2.ReplaceRouteInput{RouteTableId: table, DestinationCidrBlock: &to, InstanceId: aws.String("i-gw2")})
	wantError(t, "instance with two interfaces", err, 400, "InvalidInstanceID")

	wantError(t, "part of a subnet", c.create(t, "rtb-a", "10.0.2.0/25", "eni-gw1"), 400, "InvalidParameterValue")
	if err := c.create(t, "rtb-a", "10.0.2.0/24", "eni-gw1"); err != nil {
		t.Errorf("a whole subnet to an interface: %v", err)
	}
	sub := "10.8.0.0/24"
	_, err = c.CreateRoute(t.Context(), &ec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: &sub, TransitGatewayId: aws.String("tgw-1")})
	wantError(t, "a subnet to a transit gateway", err, 400, "InvalidParameterValue")
}

func TestRouteToADeletedInterfaceIsABlackhole(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	c := &contract{Client: newClient(t, s)}
	to := "198.51.100.0/24"
	if err := c.create(t, "rtb-a", to, "eni-gw1"); err != nil {
		t.Fatal(err)
	}
	must(t, s.DeleteENI("eni-gw1"))
	r := c.route(t, "rtb-a", to)
	if r == nil || r.State != types.RouteStateBlackhole || aws.ToString(r.NetworkInterfaceId) != "eni-gw1" || r.InstanceId != nil {
		t.Errorf("route: %+v", r)
	}
	wantError(t, "replace by the deleted", c.replace(t, "rtb-a", to, "eni-gw1"), 400, "InvalidNetworkInterfaceID.NotFound")
	if err := c.replace(t, "rtb-a", to, "eni-gw2"); err != nil {
		t.Errorf("replace the blackhole: %v", err)
	}
}

func TestQuotaIsPerTableAndFamily(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	c := &contract{Client: newClient(t, s)}
	for i := range 50 {
		if err := c.create(t, "rtb-a", fmt.Sprintf("100.64.%d.0/24", i), "eni-gw1"); err != nil {
			t.Fatal(err)
		}
	}
	wantError(t, "route 51", c.create(t, "rtb-a", "100.65.0.0/24", "eni-gw1"), 400, "RouteLimitExceeded")
	if err := c.replace(t, "rtb-a", "100.64.0.0/24", "eni-gw2"); err != nil {
		t.Errorf("replace in a full table: %v", err)
	}
	if err := c.create(t, "rtb-b", "100.65.0.0/24", "eni-gw1"); err != nil {
		t.Errorf("create in another table: %v", err)
	}
	six := "2001:db8::/32"
	if _, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{RouteTableId: aws.String("rtb-a"), DestinationIpv6CidrBlock: &six,
		NetworkInterfaceId: aws.String("eni-gw1")}); err != nil {
		t.Errorf("create IPv6 in a table full of IPv4: %v", err)
	}
}

func TestSelectableErrorCodes(t *testing.T) {
	for cfg, want := range map[ec2standin.Config][2]string{
		{}: {"InvalidRouteTableID.NotFound", "InvalidParameterValue"},
		{RouteTableNotFoundCode: ec2standin.CodeRouteTableNotFoundAlt, ReplaceMissingCode: ec2standin.CodeRouteNotFound}: {
			"InvalidRouteTableId.NotFound", "InvalidRoute.NotFound"},
	} {
		c := &contract{Client: newClient(t, newWorld(t, cfg))}
		wantError(t, "no table", c.remove(t, "rtb-x", "198.51.100.0/24"), 400, want[0])
		wantError(t, "replace missing", c.replace(t, "rtb-a", "198.51.100.0/24", "eni-gw1"), 400, want[1])
		wantError(t, "replace local", c.replace(t, "rtb-a", "10.0.0.0/16", "eni-gw1"), 400, "InvalidParameterValue")
	}
}
