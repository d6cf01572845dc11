package ec2standin_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/hybridgateway/gateway/tools/ec2standin"
)

func policy(t testing.TB, document string) ec2standin.Policy {
	t.Helper()
	p, err := ec2standin.ParsePolicy([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// restrict sets policies made of these statements, one each, for the key that
// the tests use.
func restrict(t testing.TB, s *ec2standin.Server, statements ...string) {
	t.Helper()
	var all []ec2standin.Policy
	for _, statement := range statements {
		all = append(all, policy(t, `{"Version": "2012-10-17", "Statement": [`+statement+`]}`))
	}
	s.SetPolicies("AKIATEST", all...)
}

// The policy that the gateway needs, as it would be written by hand: writes
// only on what is named or tagged.
const gatewayPolicy = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "Read", "Effect": "Allow", "Resource": "*",
     "Action": ["ec2:DescribeRouteTables", "ec2:DescribeNetworkInterfaces", "ec2:DescribeManagedPrefixLists"]},
    {"Sid": "Routes", "Effect": "Allow",
     "Action": ["ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:DeleteRoute"],
     "Resource": "arn:aws:ec2:us-west-2:123456789012:route-table/rtb-a",
     "Condition": {"StringEquals": {"aws:ResourceTag/eks-hybrid-nodes-gateway": "true"}}},
    {"Sid": "Check", "Effect": "Allow", "Action": "ec2:ModifyNetworkInterfaceAttribute",
     "Resource": "arn:aws:ec2:us-west-2:123456789012:network-interface/*",
     "Condition": {"StringEquals": {"aws:ResourceTag/eks-hybrid-nodes-gateway": "true"}}},
    {"Sid": "List", "Effect": "Allow",
     "Action": ["ec2:GetManagedPrefixListEntries", "ec2:ModifyManagedPrefixList", "ec2:DeleteManagedPrefixList"],
     "Resource": "arn:aws:ec2:us-west-2:123456789012:prefix-list/*",
     "Condition": {"StringEquals": {"aws:ResourceTag/eks-hybrid-nodes-gateway": "true"}}},
    {"Sid": "CreateList", "Effect": "Allow", "Action": "ec2:CreateManagedPrefixList",
     "Resource": "arn:aws:ec2:us-west-2:123456789012:prefix-list/*",
     "Condition": {"StringEquals": {"aws:RequestTag/eks-hybrid-nodes-gateway": "true"}, "ForAllValues:StringEquals": {"aws:TagKeys": ["eks-hybrid-nodes-gateway", "Name"]}}},
    {"Sid": "TagList", "Effect": "Allow", "Action": "ec2:CreateTags",
     "Resource": "arn:aws:ec2:us-west-2:123456789012:prefix-list/*",
     "Condition": {"StringEquals": {"ec2:CreateAction": "CreateManagedPrefixList"}}}
  ]
}`

const gatewayTag = "eks-hybrid-nodes-gateway"

func TestPolicyOfAGateway(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	own := map[string]string{gatewayTag: "true"}
	must(t, s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-tagged", VPC: "vpc-1", Tags: own}))
	must(t, s.AddENI(ec2standin.ENI{ID: "eni-own", Subnet: "subnet-a", PrivateIP: netip.MustParseAddr("10.0.1.77"), Tags: own}))
	must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-own", MaxEntries: 2, Tags: own}))
	must(t, s.AddPrefixList(ec2standin.PrefixList{ID: "pl-foreign", MaxEntries: 2}))
	s.SetPolicies("AKIATEST", policy(t, gatewayPolicy))
	route := func(table string) []string {
		return []string{"CreateRoute", "RouteTableId=" + table, "DestinationCidrBlock=" + testRoute, "NetworkInterfaceId=eni-gw1", "DryRun=true"}
	}
	create := []string{"CreateManagedPrefixList", "PrefixListName=x", "AddressFamily=IPv4", "MaxEntries=1"}
	spec := func(pairs ...string) []string {
		out := append(create, "TagSpecification.1.ResourceType=prefix-list")
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, fmt.Sprintf("TagSpecification.1.Tag.%d.Key=%s", i/2+1, pairs[i]), fmt.Sprintf("TagSpecification.1.Tag.%d.Value=%s", i/2+1, pairs[i+1]))
		}
		return out
	}
	check := func(wantStatus int, wantCode string, call ...string) {
		t.Helper()
		if status, code := direct(s, call[0], call[1:]...); status != wantStatus || code != wantCode {
			t.Errorf("%v: %d %s, want %d %s", call, status, code, wantStatus, wantCode)
		}
	}
	check(403, "UnauthorizedOperation", route("rtb-a")...) // named, but not tagged
	check(403, "UnauthorizedOperation", route("rtb-tagged")...)
	if status, code := direct(s, "CreateTags", "ResourceId.1=rtb-a", "Tag.1.Key="+gatewayTag, "Tag.1.Value=true"); status != 403 {
		t.Errorf("a gateway tags a table to own it: %d %s", status, code)
	}
	s.ClearPolicies("AKIATEST")
	check(200, "", "CreateTags", "ResourceId.1=rtb-a", "Tag.1.Key="+gatewayTag, "Tag.1.Value=true")
	s.SetPolicies("AKIATEST", policy(t, gatewayPolicy))
	check(412, "DryRunOperation", route("rtb-a")...)

	check(200, "", "DescribeRouteTables")
	check(403, "UnauthorizedOperation", "DescribeInstances")
	check(200, "", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId=eni-own", "SourceDestCheck.Value=false")
	check(403, "UnauthorizedOperation", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId=eni-gw1", "SourceDestCheck.Value=false")
	check(403, "UnauthorizedOperation", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId=eni-absent", "SourceDestCheck.Value=false")
	check(200, "", "GetManagedPrefixListEntries", "PrefixListId=pl-own")
	check(403, "UnauthorizedOperation", "GetManagedPrefixListEntries", "PrefixListId=pl-foreign")
	check(200, "", "ModifyManagedPrefixList", "PrefixListId=pl-own", "MaxEntries=3")
	check(403, "UnauthorizedOperation", "DeleteManagedPrefixList", "PrefixListId=pl-foreign")
	check(403, "UnauthorizedOperation", create...)
	check(403, "UnauthorizedOperation", spec(gatewayTag, "no")...)
	check(403, "UnauthorizedOperation", spec(gatewayTag, "true", "Colour", "red")...)
	check(200, "", spec(gatewayTag, "true", "Name", "pods")...)
	check(403, "UnauthorizedOperation", "CreateTags", "ResourceId.1=pl-own", "Tag.1.Key=x")
}

func TestPolicyElements(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	replace := []string{"DeleteRoute", "RouteTableId=rtb-a", "DestinationCidrBlock=" + testRoute, "DryRun=true"}
	const table = `"arn:aws:ec2:us-west-2:123456789012:route-table/rtb-a"`
	allow := func(more string) string { return `{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"` + more + `}` }
	where := func(condition string) string { return allow(`, "Condition": {` + condition + `}`) }
	for i, test := range []struct {
		allowed    bool
		statements []string
	}{
		{false, nil},
		{true, []string{allow("")}},
		{true, []string{`{"Effect": "Allow", "Action": "*", "Resource": ` + table + `}`}},
		{true, []string{`{"Effect": "Allow", "Action": ["s3:*", "EC2:delete*"], "Resource": ["arn:aws:s3:::x", ` + table + `]}`}},
		{true, []string{`{"Effect": "Allow", "Action": "ec2:D?leteRoute", "Resource": "arn:*:ec2:*:*:route-table/*"}`}},
		{false, []string{`{"Effect": "Allow", "Action": "ec2:DeleteRoute?", "Resource": "*"}`}},
		{false, []string{`{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}`}},
		{true, []string{`{"Effect": "Allow", "NotAction": "ec2:CreateRoute", "Resource": "*"}`}},
		{false, []string{`{"Effect": "Allow", "NotAction": "ec2:Delete*", "Resource": "*"}`}},
		{false, []string{`{"Effect": "Allow", "Action": "ec2:*", "NotResource": ` + table + `}`}},
		{false, []string{`{"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws-cn:ec2:*:*:route-table/*"}`}},
		{false, []string{`{"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:eu-west-1:*:route-table/*"}`}},
		{false, []string{`{"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:*:999999999999:route-table/*"}`}},
		{false, []string{`{"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:*:*:network-interface/*"}`}},
		{false, []string{`{"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:*:123456789012:*:rtb-a"}`}},
		// An explicit deny wins, wherever it stands.
		{false, []string{allow(""), `{"Effect": "Deny", "Action": "ec2:DeleteRoute", "Resource": ` + table + `}`}},
		{false, []string{`{"Effect": "Deny", "Action": "ec2:*", "Resource": "*", "Condition": {"StringNotEquals": {"aws:ResourceTag/x": "y"}}}`, allow("")}},
		{true, []string{`{"Effect": "Deny", "Action": "ec2:DeleteRoute", "Resource": "arn:aws:ec2:*:*:route-table/rtb-b"}`, allow("")}},

		{true, []string{where(`"StringEquals": {"AWS:resourcetag/EC2-contract-TEST": ["no", "true"]}`)}},
		{true, []string{where(`"StringEquals": {"ec2:ResourceTag/ec2-contract-test": "true"}, "StringLike": {"ec2:RouteTableID": "rtb-?"}`)}},
		{false, []string{where(`"StringEquals": {"aws:ResourceTag/ec2-contract-test": "True"}`)}},
		{true, []string{where(`"StringEqualsIgnoreCase": {"aws:ResourceTag/ec2-contract-test": "True"}`)}},
		{true, []string{where(`"Bool": {"aws:ResourceTag/ec2-contract-test": true}`)}},
		{false, []string{where(`"StringEquals": {"aws:ResourceTag/ec2-contract-test": "true", "aws:ResourceTag/x": "y"}`)}},
		{false, []string{where(`"StringEquals": {"aws:ResourceTag/ec2-contract-test": "true"}, "StringLike": {"aws:ResourceTag/x": "*"}`)}},
		{true, []string{where(`"StringEqualsIfExists": {"aws:ResourceTag/x": "y"}`)}},
		{true, []string{where(`"StringNotEquals": {"aws:ResourceTag/x": "y"}`)}},
		{false, []string{where(`"StringNotLike": {"ec2:Region": "us-*"}`)}},
		{true, []string{where(`"Null": {"aws:ResourceTag/x": "true", "aws:ResourceTag/ec2-contract-test": false}`)}},
		{false, []string{where(`"Null": {"aws:ResourceTag/x": "false"}`)}},
		{true, []string{where(`"ArnEquals": {"ec2:Vpc": "arn:aws:ec2:us-west-2:123456789012:vpc/vpc-1"}`)}},
		{true, []string{where(`"StringEquals": {"ec2:Vpc": "arn:aws:ec2:us-west-2:123456789012:vpc/vpc-1", "aws:PrincipalAccount": 123456789012}`)}},
		{false, []string{where(`"ArnNotLike": {"ec2:Vpc": "arn:aws:ec2:*:*:vpc/vpc-*"}`)}},
		{false, []string{where(`"ForAnyValue:StringEquals": {"aws:TagKeys": "x"}`)}},
		{true, []string{where(`"ForAllValues:StringEquals": {"aws:TagKeys": "x"}`)}},
		{true, []string{where(`"StringEquals": {"aws:RequestedRegion": "us-west-2"}`)}},
	} {
		restrict(t, s, test.statements...)
		want := 403
		if test.allowed {
			want = 412
		}
		if status, code := direct(s, replace[0], replace[1:]...); status != want {
			t.Errorf("case %d, %v: %d %s, want %d", i, test.statements, status, code, want)
		}
	}
}

func TestPolicyOfAnInterfaceAndOfTags(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	where := func(condition string) string {
		return `{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {` + condition + `}}`
	}
	modify := []string{"ModifyNetworkInterfaceAttribute", "NetworkInterfaceId=eni-gw1", "SourceDestCheck.Value=true"}
	tag := []string{"CreateTags", "ResourceId.1=eni-gw1", "ResourceId.2=rtb-a", "Tag.1.Key=a", "Tag.1.Value=1", "Tag.2.Key=b"}
	for condition, call := range map[string][]string{
		`"ArnLike": {"ec2:Subnet": "arn:aws:ec2:*:*:subnet/subnet-a"}`:                                modify,
		`"StringEquals": {"ec2:AvailabilityZone": "us-west-2a", "ec2:NetworkInterfaceID": "eni-gw1"}`: modify,
		`"ArnLike": {"ec2:Vpc": "arn:aws:ec2:*:*:vpc/vpc-1"}`:                                         tag,
		`"ForAnyValue:StringEquals": {"aws:TagKeys": "b"}`:                                            tag,
		`"ForAllValues:StringLike": {"aws:TagKeys": ["a", "b"]}`:                                      tag,
		`"StringEquals": {"aws:RequestTag/a": "1"}`:                                                   tag,
		`"Null": {"ec2:CreateAction": true}`:                                                          tag,
	} {
		restrict(t, s, where(condition))
		if status, code := direct(s, call[0], call[1:]...); status != 200 {
			t.Errorf("%s: %d %s", condition, status, code)
		}
	}
	for condition, call := range map[string][]string{
		`"ForAllValues:StringEquals": {"aws:TagKeys": "b"}`:             tag,
		`"StringEquals": {"ec2:CreateAction": "CreateRouteTable"}`:      tag,
		`"StringEquals": {"ec2:NetworkInterfaceID": "eni-gw1"}`:         tag, // not so for the table
		`"ArnNotEquals": {"ec2:Subnet": "arn:aws:ec2:*:*:subnet/s*-a"}`: modify,
	} {
		restrict(t, s, where(condition))
		if status, code := direct(s, call[0], call[1:]...); status != 403 {
			t.Errorf("%s: %d %s", condition, status, code)
		}
	}
}

func TestPoliciesAreOfOneKey(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	s.SetPolicies("AKIAOTHER")
	if status, _ := direct(s, "DescribeVpcs"); status != 200 {
		t.Errorf("a key without policies: %d", status)
	}
	w := post(s, strings.Replace(signed, "AKIATEST", "AKIAOTHER", 1)+strings.Repeat("0a", 32), call("DescribeVpcs"))
	if w.Code != 403 {
		t.Errorf("a key that may do nothing: %d %s", w.Code, w.Body)
	}
}

// The SDK's user sees what EC2 says, DryRun or not, in each partition.
func TestUnauthorizedOperation(t *testing.T) {
	for region, partition := range map[string]string{"us-west-2": "aws", "cn-north-1": "aws-cn", "us-gov-west-1": "aws-us-gov"} {
		s := newWorld(t, ec2standin.Config{Region: region})
		c := newClient(t, s)
		s.SetPolicies("AKIATEST", policy(t, fmt.Sprintf(`{"Statement": [
			{"Effect": "Allow", "Action": "ec2:ReplaceRoute", "Resource": "arn:%s:ec2:%s:123456789012:route-table/rtb-b"},
			{"Sid": "No", "Effect": "Deny", "Action": "ec2:ReplaceRoute", "Resource": "*", "Condition": {"Null": {"ec2:RouteTableID": false}}}]}`, partition, region)))
		user := "User: arn:" + partition + ":iam::123456789012:user/AKIATEST is not authorized to perform: "
		table := "on resource: arn:" + partition + ":ec2:" + region + ":123456789012:route-table/rtb-a "
		for _, dry := range []bool{false, true} {
			_, err := c.DeleteRoute(t.Context(), &ec2.DeleteRouteInput{RouteTableId: aws.String("rtb-a"), DestinationCidrBlock: aws.String(testRoute), DryRun: &dry})
			wantDenial(t, err, user+"ec2:DeleteRoute "+table+"because no identity-based policy allows the ec2:DeleteRoute action.", "ec2:DeleteRoute", false)
			_, err = c.ReplaceRoute(t.Context(), &ec2.ReplaceRouteInput{RouteTableId: aws.String("rtb-a"), DestinationCidrBlock: aws.String(testRoute),
				NetworkInterfaceId: aws.String("eni-gw1"), DryRun: &dry})
			wantDenial(t, err, user+"ec2:ReplaceRoute "+table+"with an explicit deny in an identity-based policy.", "ec2:ReplaceRoute", true)
			_, err = c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{DryRun: &dry})
			wantDenial(t, err, user+"ec2:DescribeRouteTables because no identity-based policy allows the ec2:DescribeRouteTables action.", "ec2:DescribeRouteTables", false)
		}
		restrict(t, s, fmt.Sprintf(`{"Effect": "Allow", "Action": "ec2:CreateTags", "Resource": "arn:%s:ec2:%s:123456789012:route-table/rtb-a"}`, partition, region))
		if _, err := c.CreateTags(t.Context(), &ec2.CreateTagsInput{Resources: []string{"rtb-a"}, Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("y")}}}); err != nil {
			t.Errorf("allowed in %s: %v", partition, err)
		}
	}
}

func wantDenial(t *testing.T, err error, message, action string, explicit bool) {
	t.Helper()
	wantError(t, action, err, 403, "UnauthorizedOperation")
	var api smithy.APIError
	if !errors.As(err, &api) {
		return
	}
	text, encoded, _ := strings.Cut(api.ErrorMessage(), " Encoded authorization failure message: ")
	if text != "You are not authorized to perform this operation. "+message {
		t.Errorf("message %q, want %q", text, message)
	}
	plain, decErr := base64.RawURLEncoding.DecodeString(encoded)
	var decision struct {
		Allowed, ExplicitDeny bool
		Context               struct{ Action string }
	}
	if decErr == nil {
		decErr = json.Unmarshal(plain, &decision)
	}
	if decErr != nil || decision.Allowed || decision.ExplicitDeny != explicit || decision.Context.Action != action {
		t.Errorf("encoded message: %v, %s", decErr, plain)
	}
}

func TestParsePolicyRefusesWhatItWouldNotEnforce(t *testing.T) {
	statement := func(s string) string { return `{"Version": "2012-10-17", "Statement": ` + s + `}` }
	with := func(s string) string { return statement(`{"Effect": "Allow", ` + s + `}`) }
	for document, want := range map[string]string{
		``:                                   "unexpected end of JSON input",
		`{}`:                                 "no statement",
		statement(`[]`):                      "no statement",
		`{"Version": "2012", "Statement":1}`: "must be 2012-10-17 or 2008-10-17",
		`{"version": "2012-10-17"}`:          `element "version"`,
		with(`"Principal": "*"`):             `element "Principal"`,
		statement(`{"Action": "*", "Resource": "*"}`):                                                "must be Allow or Deny",
		statement(`{"Effect": "allow", "Action": "*", "Resource": "*"}`):                             "must be Allow or Deny",
		with(`"Resource": "*"`):                                                                      "must have one of Action and NotAction",
		with(`"Action": "*", "NotAction": "*", "Resource": "*"`):                                     "must have one of Action and NotAction",
		with(`"Action": "*"`):                                                                        "must have one of Resource and NotResource",
		with(`"Action": [], "Resource": "*"`):                                                        "must not be empty",
		with(`"Action": {"a": "b"}, "Resource": "*"`):                                                "must be a string or a list of strings",
		with(`"Action": "CreateRoute", "Resource": "*"`):                                             "must be * or service:action",
		with(`"Action": "*", "Resource": "rtb-1"`):                                                   "must be * or an ARN",
		with(`"Action": "*", "Resource": "arn:aws:ec2:${aws:PrincipalTag/x}:*:*"`):                   "policy variables are not supported",
		with(`"Action": "*", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": "::/0"}}`): `operator "IpAddress": not supported`,
		with(`"Action": "*", "Resource": "*", "Condition": {"NullIfExists": {"x": "true"}}`):         "not supported",
		with(`"Action": "*", "Resource": "*", "Condition": {"StringEquals": "x"}`):                   "element Condition",
		with(`"Action": "*", "Resource": "*", "Condition": {"StringEquals": {"x": []}}`):             "must not be empty",
		with(`"Action": "*", "Resource": "*", "Condition": {"StringEquals": {"x": "${y}"}}`):         "policy variables are not supported",
		statement(`[{"Effect": "Allow", "Action": "*", "Resource": "*"}, {"Sid": 1}]`):               "statement 2: element Sid",
	} {
		if _, err := ec2standin.ParsePolicy([]byte(document)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error with %q", document, err, want)
		}
	}
}
