package ec2standin_test

// The contract: what clients of EC2 may rely on, asked with the unmodified
// SDK. It runs against the stand-in, or against EC2_TEST_ENDPOINT (EC2 itself,
// or another implementation) with the SDK's default credentials and region.
//
// There it needs a VPC in which two route tables, and two interfaces attached
// to running instances, carry the tag ec2-contract-test=true. It writes only
// routes to 198.51.100.0/24 and 203.0.113.0/24, 2001:db8::/32 and parts of
// them, routes to prefix lists that it has made, these lists and their tags,
// and the interfaces' source/destination check; it puts all back.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/hybridgateway/gateway/tools/ec2standin"
)

const contractTag = "ec2-contract-test"

// contract is an endpoint and the fixture found behind it.
type contract struct {
	*ec2.Client
	vpc       types.Vpc
	tables    [2]string
	enis      [2]types.NetworkInterface
	standin   *ec2standin.Server // nil against another endpoint
	cleanTo   []string           // destinations that the test may leave
	cleanTo6  []string
	wasChecks [2]bool
}

// newContract connects to the endpoint, and cleans up after the test.
func newContract(t *testing.T) *contract {
	t.Helper()
	c := &contract{
		cleanTo:  []string{"198.51.100.0/24", "198.51.100.0/25", "198.51.100.128/25", "203.0.113.0/24"},
		cleanTo6: []string{"2001:db8::/32"},
	}
	if endpoint := os.Getenv("EC2_TEST_ENDPOINT"); endpoint != "" {
		cfg, err := config.LoadDefaultConfig(t.Context(), config.WithBaseEndpoint(endpoint))
		if err != nil {
			t.Fatalf("load SDK configuration: %v", err)
		}
		c.Client = ec2.NewFromConfig(cfg)
	} else {
		c.standin = newWorld(t, ec2standin.Config{})
		c.Client = newClient(t, c.standin)
	}
	c.discover(t)
	t.Cleanup(func() { c.clean(t) })
	return c
}

// newWorld is a stand-in with one VPC, two zones, two tables besides the main
// one, two gateways and one other instance.
func newWorld(t *testing.T, cfg ec2standin.Config) *ec2standin.Server {
	t.Helper()
	s := ec2standin.New(cfg)
	tag := map[string]string{contractTag: "true"}
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	for _, err := range []error{
		s.AddVPC(ec2standin.VPC{ID: "vpc-1", CIDRs: []netip.Prefix{p("10.0.0.0/16"), p("10.8.0.0/16")}, Tags: tag}),
		s.AddSubnet(ec2standin.Subnet{ID: "subnet-a", VPC: "vpc-1", CIDR: p("10.0.1.0/24"), Zone: "us-west-2a"}),
		s.AddSubnet(ec2standin.Subnet{ID: "subnet-b", VPC: "vpc-1", CIDR: p("10.0.2.0/24"), Zone: "us-west-2b"}),
		s.AddSubnet(ec2standin.Subnet{ID: "subnet-c", VPC: "vpc-1", CIDR: p("10.8.0.0/24"), Zone: "us-west-2b"}),
		s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-main", VPC: "vpc-1", Main: true}),
		s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-a", VPC: "vpc-1", Subnets: []string{"subnet-a"}, Tags: tag}),
		s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-b", VPC: "vpc-1", Subnets: []string{"subnet-b"}, Tags: tag}),
		s.AddInstance(ec2standin.Instance{ID: "i-gw1", Tags: map[string]string{"Name": "gateway 1"}}),
		s.AddInstance(ec2standin.Instance{ID: "i-gw2"}),
		s.AddENI(ec2standin.ENI{ID: "eni-gw1", Subnet: "subnet-a", Instance: "i-gw1", PrivateIP: a("10.0.1.10"),
			SecondaryIPs: []netip.Addr{a("10.0.1.11")}, SourceDestCheck: true, Tags: tag}),
		s.AddENI(ec2standin.ENI{ID: "eni-gw2", Subnet: "subnet-b", Instance: "i-gw2", PrivateIP: a("10.0.2.10"), Tags: tag}),
		s.AddGateway(ec2standin.Gateway{ID: "tgw-1"}),
		s.AddGateway(ec2standin.Gateway{ID: "pcx-1"}),
		s.AddGateway(ec2standin.Gateway{ID: "igw-1", VPC: "vpc-1"}),
		s.AddGateway(ec2standin.Gateway{ID: "nat-1", VPC: "vpc-1"}),
	} {
		if err != nil {
			t.Fatalf("build world: %v", err)
		}
	}
	return s
}

// newClient is an SDK client for a stand-in; it does not retry.
func newClient(t *testing.T, s *ec2standin.Server) *ec2.Client {
	t.Helper()
	api := httptest.NewServer(s)
	t.Cleanup(api.Close) // closes the client's idle connections too
	return ec2.New(ec2.Options{
		Region:       s.Region(),
		BaseEndpoint: aws.String(api.URL),
		Credentials:  credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
		HTTPClient:   prompt{awshttp.NewBuildableClient()},
		Retryer:      aws.NopRetryer{},
	})
}

// prompt is a client of a server that answers before the request has ended. The SDK then closes the
// request's body, whose WriteTo returns io.EOF, an error to net/http, which closes the connection with
// the rest of the answer. The body's Read does not do that.
type prompt struct{ *awshttp.BuildableClient }

// Do implements the SDK's HTTPClient.
func (c prompt) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return c.BuildableClient.Do(r)
}

func byTag() []types.Filter {
	return []types.Filter{{Name: aws.String("tag:" + contractTag), Values: []string{"true"}}}
}

func (c *contract) discover(t *testing.T) {
	t.Helper()
	tables, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{Filters: byTag()})
	if err != nil || len(tables.RouteTables) < 2 {
		t.Fatalf("find two route tables tagged %s=true: %s, %v", contractTag, text(tables), err)
	}
	enis, err := c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{Filters: byTag()})
	if err != nil || len(enis.NetworkInterfaces) < 2 {
		t.Fatalf("find two interfaces tagged %s=true: %s, %v", contractTag, text(enis), err)
	}
	for i := range 2 {
		c.tables[i] = *tables.RouteTables[i].RouteTableId
		c.enis[i] = enis.NetworkInterfaces[i]
		c.wasChecks[i] = *c.enis[i].SourceDestCheck
	}
	vpcs, err := c.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{VpcIds: []string{*tables.RouteTables[0].VpcId}})
	if err != nil || len(vpcs.Vpcs) != 1 {
		t.Fatalf("describe the tables' VPC: %s, %v", text(vpcs), err)
	}
	c.vpc = vpcs.Vpcs[0]
}

func (c *contract) clean(t *testing.T) {
	if c.standin != nil {
		return
	}
	ctx := context.Background() // the test's own has ended
	for i, table := range c.tables {
		for _, to := range c.cleanTo {
			_, err := c.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: &table, DestinationCidrBlock: &to})
			if err != nil && code(err) != "InvalidRoute.NotFound" {
				t.Errorf("clean up %s in %s: %v", to, table, err)
			}
		}
		for _, to := range c.cleanTo6 {
			_, err := c.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: &table, DestinationIpv6CidrBlock: &to})
			if err != nil && code(err) != "InvalidRoute.NotFound" {
				t.Errorf("clean up %s in %s: %v", to, table, err)
			}
		}
		if _, err := c.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
			NetworkInterfaceId: c.enis[i].NetworkInterfaceId,
			SourceDestCheck:    &types.AttributeBooleanValue{Value: &c.wasChecks[i]},
		}); err != nil {
			t.Errorf("put back the check of %s: %v", *c.enis[i].NetworkInterfaceId, err)
		}
	}
}

// code is the EC2 error code within an error, empty if there is none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// status is the HTTP status within an error, 0 if there is none.
func status(err error) int {
	var r *awshttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

// text is what an answer says; printed as it is, it would be addresses in memory.
func text(answer any) string {
	document, err := json.Marshal(answer)
	if err != nil {
		return err.Error()
	}
	return string(document)
}

func wantError(t *testing.T, what string, err error, wantStatus int, wantCodes ...string) {
	t.Helper()
	if !slices.Contains(wantCodes, code(err)) || status(err) != wantStatus {
		t.Errorf("%s: got %v (status %d), want %v (status %d)", what, err, status(err), wantCodes, wantStatus)
	}
	var r *awshttp.ResponseError
	if errors.As(err, &r) && r.ServiceRequestID() == "" {
		t.Errorf("%s: error has no request id", what)
	}
}

func (c *contract) create(t *testing.T, table, to, eni string) error {
	_, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{
		RouteTableId: &table, DestinationCidrBlock: &to, NetworkInterfaceId: &eni})
	return err
}

func (c *contract) replace(t *testing.T, table, to, eni string) error {
	_, err := c.ReplaceRoute(t.Context(), &ec2.ReplaceRouteInput{
		RouteTableId: &table, DestinationCidrBlock: &to, NetworkInterfaceId: &eni})
	return err
}

func (c *contract) remove(t *testing.T, table, to string) error {
	_, err := c.DeleteRoute(t.Context(), &ec2.DeleteRouteInput{RouteTableId: &table, DestinationCidrBlock: &to})
	return err
}

// route reads one route; nil if the table lacks it.
func (c *contract) route(t *testing.T, table, to string) *types.Route {
	t.Helper()
	out, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table}})
	if err != nil || len(out.RouteTables) != 1 {
		t.Fatalf("describe %s: %s, %v", table, text(out), err)
	}
	for _, r := range out.RouteTables[0].Routes {
		if aws.ToString(r.DestinationCidrBlock) == to || aws.ToString(r.DestinationIpv6CidrBlock) == to {
			return &r
		}
	}
	return nil
}

func TestContractRouteLife(t *testing.T) {
	c := newContract(t)
	table, to := c.tables[0], "198.51.100.0/24"
	first, second := *c.enis[0].NetworkInterfaceId, *c.enis[1].NetworkInterfaceId

	wantError(t, "replace what is absent", c.replace(t, table, to, first), 400, "InvalidParameterValue", "InvalidRoute.NotFound")
	out, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{
		RouteTableId: &table, DestinationCidrBlock: &to, NetworkInterfaceId: &first})
	if err != nil || !aws.ToBool(out.Return) {
		t.Fatalf("create: %s, %v", text(out), err)
	}
	r := c.route(t, table, to)
	if r == nil || aws.ToString(r.NetworkInterfaceId) != first || r.State != types.RouteStateActive ||
		r.Origin != types.RouteOriginCreateRoute || aws.ToString(r.InstanceId) != *c.enis[0].Attachment.InstanceId {
		t.Fatalf("created route: %s", text(r))
	}
	wantError(t, "create what exists", c.create(t, table, to, first), 400, "RouteAlreadyExists")
	if err := c.replace(t, table, to, second); err != nil {
		t.Fatalf("replace: %v", err)
	}
	if err := c.replace(t, table, to, second); err != nil {
		t.Fatalf("replace by the same: %v", err)
	}
	if r := c.route(t, table, to); r == nil || aws.ToString(r.NetworkInterfaceId) != second {
		t.Fatalf("replaced route: %s", text(r))
	}
	if r := c.route(t, c.tables[1], to); r != nil {
		t.Fatalf("the other table got a route too: %s", text(r))
	}
	if err := c.remove(t, table, to); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if r := c.route(t, table, to); r != nil {
		t.Fatalf("deleted route: %s", text(r))
	}
	wantError(t, "delete what is absent", c.remove(t, table, to), 400, "InvalidRoute.NotFound")
}

func TestContractDestinationForms(t *testing.T) {
	c := newContract(t)
	table, eni := c.tables[0], *c.enis[0].NetworkInterfaceId
	if err := c.create(t, table, "198.51.100.77/25", eni); err != nil {
		t.Fatalf("create with host bits: %v", err)
	}
	if r := c.route(t, table, "198.51.100.0/25"); r == nil {
		t.Error("host bits were not cleared")
	}
	for _, bad := range []string{"198.51.100.0", "198.51.100.0/33", "300.0.0.0/8", "pods", "2001:db8::/32"} {
		wantError(t, "create "+bad, c.create(t, table, bad, eni), 400, "InvalidParameterValue")
	}
	_, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{RouteTableId: &table, NetworkInterfaceId: &eni})
	wantError(t, "create without destination", err, 400, "MissingParameter")
	six := "2001:db8::/32"
	if _, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{
		RouteTableId: &table, DestinationIpv6CidrBlock: &six, NetworkInterfaceId: &eni}); err != nil {
		t.Fatalf("create IPv6 route: %v", err)
	}
	if r := c.route(t, table, six); r == nil || r.DestinationCidrBlock != nil {
		t.Errorf("IPv6 route: %s", text(r))
	}
}

func TestContractLocalRoute(t *testing.T) {
	c := newContract(t)
	table, eni := c.tables[0], *c.enis[0].NetworkInterfaceId
	for _, a := range c.vpc.CidrBlockAssociationSet {
		local := *a.CidrBlock
		r := c.route(t, table, local)
		if r == nil || aws.ToString(r.GatewayId) != "local" || r.Origin != types.RouteOriginCreateRouteTable ||
			r.State != types.RouteStateActive {
			t.Fatalf("local route %s: %s", local, text(r))
		}
		wantError(t, "delete local route", c.remove(t, table, local), 400, "InvalidParameterValue")
		wantError(t, "create local route", c.create(t, table, local, eni), 400, "RouteAlreadyExists")
	}
}

func TestContractThingsThatAreAbsent(t *testing.T) {
	c := newContract(t)
	table, eni, to := c.tables[0], *c.enis[0].NetworkInterfaceId, "203.0.113.0/24"
	noTable, noENI := "rtb-0aaaaaaaaaaaaaaaa", "eni-0aaaaaaaaaaaaaaaa"
	notFound := []string{"InvalidRouteTableID.NotFound", "InvalidRouteTableId.NotFound"}
	wantError(t, "create in no table", c.create(t, noTable, to, eni), 400, notFound...)
	wantError(t, "replace in no table", c.replace(t, noTable, to, eni), 400, notFound...)
	wantError(t, "delete in no table", c.remove(t, noTable, to), 400, notFound...)
	_, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{RouteTableIds: []string{table, noTable}})
	wantError(t, "describe no table", err, 400, notFound...)
	wantError(t, "create to no interface", c.create(t, table, to, noENI), 400, "InvalidNetworkInterfaceID.NotFound")
	_, err = c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{noENI}})
	wantError(t, "describe no interface", err, 400, "InvalidNetworkInterfaceID.NotFound")
	_, err = c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{"i-0aaaaaaaaaaaaaaaa"}})
	wantError(t, "describe no instance", err, 400, "InvalidInstanceID.NotFound")
	_, err = c.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{VpcIds: []string{"vpc-0aaaaaaaaaaaaaaaa"}})
	wantError(t, "describe no VPC", err, 400, "InvalidVpcID.NotFound")
	_, err = c.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{"subnet-0aaaaaaaaaaaaaaaa"}})
	wantError(t, "describe no subnet", err, 400, "InvalidSubnetID.NotFound")
	if out, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{Filters: []types.Filter{
		{Name: aws.String("route-table-id"), Values: []string{noTable}}}}); err != nil || len(out.RouteTables) != 0 {
		t.Errorf("filter that matches nothing: %s, %v", text(out), err)
	}
}

func TestContractDryRun(t *testing.T) {
	c := newContract(t)
	table, eni, to := c.tables[0], *c.enis[0].NetworkInterfaceId, "198.51.100.0/24"
	yes := aws.Bool(true)
	_, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{
		RouteTableId: &table, DestinationCidrBlock: &to, NetworkInterfaceId: &eni, DryRun: yes})
	wantError(t, "dry create", err, 412, "DryRunOperation")
	if r := c.route(t, table, to); r != nil {
		t.Errorf("dry run wrote %s", text(r))
	}
	_, err = c.ModifyNetworkInterfaceAttribute(t.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: &eni, SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(false)}, DryRun: yes})
	wantError(t, "dry modify", err, 412, "DryRunOperation")
	_, err = c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{DryRun: yes})
	wantError(t, "dry describe", err, 412, "DryRunOperation")
}

func TestContractSourceDestCheck(t *testing.T) {
	c := newContract(t)
	id := *c.enis[0].NetworkInterfaceId
	for _, want := range []bool{false, true, false} {
		if _, err := c.ModifyNetworkInterfaceAttribute(t.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{
			NetworkInterfaceId: &id, SourceDestCheck: &types.AttributeBooleanValue{Value: &want}}); err != nil {
			t.Fatalf("set to %v: %v", want, err)
		}
		out, err := c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{id}})
		if err != nil || *out.NetworkInterfaces[0].SourceDestCheck != want {
			t.Fatalf("after set to %v: %s, %v", want, text(out), err)
		}
	}
	_, err := c.ModifyNetworkInterfaceAttribute(t.Context(), &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String("eni-0aaaaaaaaaaaaaaaa"), SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
	wantError(t, "modify no interface", err, 400, "InvalidNetworkInterfaceID.NotFound")
}

func TestContractFilters(t *testing.T) {
	c := newContract(t)
	eni := c.enis[0]
	filter := func(name string, values ...string) []types.Filter {
		return []types.Filter{{Name: &name, Values: values}}
	}
	for _, f := range [][]types.Filter{
		filter("attachment.instance-id", *eni.Attachment.InstanceId),
		filter("private-ip-address", *eni.PrivateIpAddress),
		filter("network-interface-id", *eni.NetworkInterfaceId),
		filter("mac-address", *eni.MacAddress),
	} {
		out, err := c.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{Filters: f})
		if err != nil || len(out.NetworkInterfaces) != 1 || *out.NetworkInterfaces[0].NetworkInterfaceId != *eni.NetworkInterfaceId {
			t.Errorf("interfaces by %s=%v: %s, %v", *f[0].Name, f[0].Values, text(out), err)
		}
	}
	for _, f := range [][]types.Filter{
		filter("route-table-id", c.tables[:]...),
		filter("tag:"+contractTag, "tr*"),
		append(filter("vpc-id", *c.vpc.VpcId), byTag()...),
		append(filter("tag-key", contractTag), filter("route-table-id", "rtb-?*")...),
	} {
		out, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{Filters: f})
		if err != nil || len(out.RouteTables) != 2 {
			t.Errorf("tables by %s: %s, %v", *f[0].Name, text(out), err)
		}
	}
	_, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{Filters: filter("colour", "red")})
	wantError(t, "filter by an unknown name", err, 400, "InvalidParameterValue")
}

func TestContractShapes(t *testing.T) {
	c := newContract(t)
	e := c.enis[0]
	if e.Status != types.NetworkInterfaceStatusInUse || e.Attachment.Status != types.AttachmentStatusAttached ||
		*e.Attachment.DeviceIndex != 0 || *e.VpcId != *c.vpc.VpcId || e.AvailabilityZone == nil {
		t.Errorf("interface: %s", text(e))
	}
	instances, err := c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{*e.Attachment.InstanceId}})
	if err != nil || len(instances.Reservations) != 1 || len(instances.Reservations[0].Instances) != 1 {
		t.Fatalf("instances: %s, %v", text(instances), err)
	}
	i := instances.Reservations[0].Instances[0]
	if *i.PrivateIpAddress != *e.PrivateIpAddress || *i.SubnetId != *e.SubnetId || *i.VpcId != *e.VpcId ||
		i.State.Name != types.InstanceStateNameRunning || *i.State.Code != 16 ||
		*i.NetworkInterfaces[0].NetworkInterfaceId != *e.NetworkInterfaceId || *i.Placement.AvailabilityZone != *e.AvailabilityZone {
		t.Errorf("instance: %s", text(i))
	}
	subnets, err := c.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{SubnetIds: []string{*e.SubnetId}})
	if err != nil || len(subnets.Subnets) != 1 || *subnets.Subnets[0].AvailabilityZone != *e.AvailabilityZone ||
		subnets.Subnets[0].State != types.SubnetStateAvailable || *subnets.Subnets[0].AvailableIpAddressCount <= 0 {
		t.Errorf("subnets: %s, %v", text(subnets), err)
	}
	if c.vpc.State != types.VpcStateAvailable || *c.vpc.CidrBlock != *c.vpc.CidrBlockAssociationSet[0].CidrBlock {
		t.Errorf("VPC: %s", text(c.vpc))
	}
}

func TestContractPages(t *testing.T) {
	c := newContract(t)
	if c.standin != nil { // another endpoint is taken as it is
		for i := range 11 {
			if err := c.standin.AddRouteTable(ec2standin.RouteTable{ID: fmt.Sprintf("rtb-page%02d", i), VPC: "vpc-1"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	whole, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{})
	if err != nil {
		t.Fatal(err)
	}
	want, got := map[string]int{}, map[string]int{}
	for _, table := range whole.RouteTables {
		want[*table.RouteTableId] = 1
	}
	pages := ec2.NewDescribeRouteTablesPaginator(c.Client, &ec2.DescribeRouteTablesInput{MaxResults: aws.Int32(5)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(page.RouteTables) > 5 {
			t.Errorf("page of %d tables", len(page.RouteTables))
		}
		for _, table := range page.RouteTables {
			got[*table.RouteTableId]++
		}
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("pages gave %v, want each once: %v", got, want)
	}
	for _, n := range []int32{4, 101} {
		_, err := c.DescribeRouteTables(t.Context(), &ec2.DescribeRouteTablesInput{MaxResults: &n})
		wantError(t, fmt.Sprintf("MaxResults %d", n), err, 400, "InvalidParameterValue")
	}
}
