package ec2standin

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// targetParameters are the ways to name a route's target. Exactly one is given.
func targetParameters() []string {
	return []string{"GatewayId", "InstanceId", "NatGatewayId", "NetworkInterfaceId", "TransitGatewayId", "VpcPeeringConnectionId"}
}

// foreignTargets are targets EC2 knows and the stand-in does not.
func foreignTargets() []string {
	return []string{"CarrierGatewayId", "CoreNetworkArn", "DestinationPrefixListId", "EgressOnlyInternetGatewayId",
		"LocalGatewayId", "LocalTarget", "OdbNetworkArn", "VpcEndpointId"}
}

func writeRouteAction(write func(*state, routeCall) *apiError) action {
	return action{
		mutating:    true,
		params:      append(targetParameters(), "RouteTableId", "DestinationCidrBlock", "DestinationIpv6CidrBlock"),
		unsupported: foreignTargets(),
		parse: func(r *request) (work, *apiError) {
			c, err := r.routeCall()
			if err != nil {
				return nil, err
			}
			if c.target, err = r.target(); err != nil {
				return nil, err
			}
			return c.commit(write), nil
		},
	}
}

func deleteRouteAction() action {
	return action{
		mutating:    true,
		params:      []string{"RouteTableId", "DestinationCidrBlock", "DestinationIpv6CidrBlock"},
		unsupported: []string{"DestinationPrefixListId"},
		parse: func(r *request) (work, *apiError) {
			c, err := r.routeCall()
			if err != nil {
				return nil, err
			}
			return c.commit(deleteRoute), nil
		},
	}
}

// routeCall is a call that writes one route.
type routeCall struct {
	server *Server
	table  string
	to     netip.Prefix
	target namedTarget
}

// namedTarget is a target as the call names it.
type namedTarget struct {
	parameter string
	id        string
	kind      TargetKind
	resource  resource
}

func (r *request) routeCall() (routeCall, *apiError) {
	id, err := r.required("RouteTableId")
	if err != nil {
		return routeCall{}, err
	}
	if err := r.server.routeTableResource().wellFormed(id); err != nil {
		return routeCall{}, err
	}
	to, err := r.destination()
	if err != nil {
		return routeCall{}, err
	}
	return routeCall{server: r.server, table: id, to: to}, nil
}

func (c routeCall) commit(write func(*state, routeCall) *apiError) work {
	return func() (answer, *apiError) {
		err := c.server.commitCall(func(st *state) *apiError { return write(st, c) })
		return &done{Return: true}, err
	}
}

// target returns the one target the call names.
func (r *request) target() (namedTarget, *apiError) {
	var given []string
	for _, p := range targetParameters() {
		if r.text(p) != "" {
			given = append(given, p)
		}
	}
	names := strings.Join(targetParameters(), ", ")
	switch len(given) {
	case 0:
		return namedTarget{}, errorf(codeMissingParameter, "The request must contain exactly one of %s", names)
	case 1:
	default:
		return namedTarget{}, errorf(codeParameterCombination, "The request must contain exactly one of %s; it contains %s",
			names, strings.Join(given, ", "))
	}
	t := namedTarget{parameter: given[0], id: r.text(given[0])}
	switch t.parameter {
	case "NetworkInterfaceId":
		t.kind, t.resource = TargetENI, eniResource()
	case "InstanceId":
		t.kind, t.resource = TargetENI, instanceResource()
	case "GatewayId":
		t.kind = TargetGateway
		t.resource = resource{"gateway", "gatewayId", []string{"igw-", "vgw-"}, "InvalidGatewayID.NotFound", "InvalidGatewayID.Malformed"}
		if strings.HasPrefix(t.id, "vgw-") {
			t.resource.notFound = "InvalidVpnGatewayID.NotFound"
		}
	case "NatGatewayId":
		t.kind = TargetNATGateway
		t.resource = resource{"natGateway", "natGatewayId", []string{"nat-"}, "InvalidNatGatewayID.NotFound", "InvalidNatGatewayID.Malformed"}
	case "TransitGatewayId":
		t.kind = TargetTransitGateway
		t.resource = resource{"transitGateway", "transitGatewayId", []string{"tgw-"},
			"InvalidTransitGatewayID.NotFound", "InvalidTransitGatewayID.Malformed"}
	case "VpcPeeringConnectionId":
		t.kind = TargetPeering
		t.resource = resource{"vpcPeeringConnection", "vpcPeeringConnectionId", []string{"pcx-"},
			"InvalidVpcPeeringConnectionID.NotFound", "InvalidVpcPeeringConnectionId.Malformed"}
	}
	return t, t.resource.wellFormed(t.id)
}

// resolve finds the target in the world.
func (t namedTarget) resolve(st *state, tb table) (Target, *apiError) {
	switch {
	case t.parameter == "InstanceId":
		if _, ok := st.instances[t.id]; !ok {
			return Target{}, t.resource.absent(t.id)
		}
		enis := st.enisOf(t.id)
		if len(enis) != 1 {
			return Target{}, errorf("InvalidInstanceID",
				"The instance '%s' must have exactly one network interface attached; it has %d", t.id, len(enis))
		}
		return inVPC(st, tb, enis[0])
	case t.kind == TargetENI:
		e, ok := st.enis[t.id]
		if !ok {
			return Target{}, t.resource.absent(t.id)
		}
		return inVPC(st, tb, e)
	default:
		g, ok := st.gateways[t.id]
		if !ok {
			return Target{}, t.resource.absent(t.id)
		}
		if g.VPC != "" && g.VPC != tb.VPC {
			return Target{}, errorf(codeInvalidParameter, "route table %s and gateway %s belong to different networks", tb.ID, g.ID)
		}
		return Target{Kind: t.kind, ID: t.id}, nil
	}
}

func inVPC(st *state, tb table, e ENI) (Target, *apiError) {
	if st.subnets[e.Subnet].VPC != tb.VPC {
		return Target{}, errorf(codeInvalidParameter, "route table %s and interface %s belong to different networks", tb.ID, e.ID)
	}
	return ToENI(e.ID), nil
}

// find returns the call's table and target.
func (c routeCall) find(st *state) (table, Target, *apiError) {
	tb, ok := st.tables[c.table]
	if !ok {
		return table{}, Target{}, c.server.routeTableResource().absent(c.table)
	}
	via, err := c.target.resolve(st, tb)
	return tb, via, err
}

func createRoute(st *state, c routeCall) *apiError {
	tb, via, err := c.find(st)
	if err != nil {
		return err
	}
	v := st.vpcs[tb.VPC]
	if _, there := tb.routes[c.to]; there || slices.Contains(v.CIDRs, c.to) {
		return errorf("RouteAlreadyExists", "The route identified by %s already exists", c.to)
	}
	if v.covers(c.to) {
		if err := withinVPC(st, tb, c.to, via); err != nil {
			return err
		}
	}
	count := 0
	for to := range tb.routes {
		if to.Addr().Is4() == c.to.Addr().Is4() {
			count++
		}
	}
	if count >= c.server.config.RoutesPerTable {
		return errorf("RouteLimitExceeded", "The maximum number of routes has been reached.")
	}
	st.putRoute(tb, c.to, via)
	return nil
}

// withinVPC checks a route more specific than a local one: EC2 lets it lead to
// an interface, for exactly the CIDR of a subnet.
func withinVPC(st *state, tb table, to netip.Prefix, via Target) *apiError {
	if via.Kind != TargetENI {
		return errorf(codeInvalidParameter, "Route target is not supported. This route only supports interface and instance targets.")
	}
	for _, n := range st.subnets {
		if n.VPC == tb.VPC && n.CIDR == to {
			return nil
		}
	}
	return errorf(codeInvalidParameter, "The destination CIDR block %s lies within the VPC and is not the CIDR of a subnet", to)
}

func replaceRoute(st *state, c routeCall) *apiError {
	tb, via, err := c.find(st)
	if err != nil {
		return err
	}
	if slices.Contains(st.vpcs[tb.VPC].CIDRs, c.to) {
		return errorf(codeInvalidParameter, "cannot replace local route %s in route table %s", c.to, tb.ID)
	}
	if _, there := tb.routes[c.to]; !there {
		code := c.server.config.ReplaceMissingCode
		if code == CodeRouteNotFound {
			return routeNotFound(c)
		}
		return errorf(code, "There is no route defined for '%s' in the route table. Use CreateRoute instead.", c.to)
	}
	st.putRoute(tb, c.to, via)
	return nil
}

func deleteRoute(st *state, c routeCall) *apiError {
	tb, ok := st.tables[c.table]
	if !ok {
		return c.server.routeTableResource().absent(c.table)
	}
	if slices.Contains(st.vpcs[tb.VPC].CIDRs, c.to) {
		return errorf(codeInvalidParameter, "cannot remove local route %s in route table %s", c.to, tb.ID)
	}
	if _, there := tb.routes[c.to]; !there {
		return routeNotFound(c)
	}
	st.dropRoute(tb, c.to)
	return nil
}

func routeNotFound(c routeCall) *apiError {
	return errorf(CodeRouteNotFound, "no route with destination-cidr-block %s in route table %s", c.to, c.table)
}

// describeRouteTables

type routeTablesAnswer struct {
	root
	Tables []routeTableXML `xml:"routeTableSet>item"`
	Next   string          `xml:"nextToken,omitempty"`
}

type routeTableXML struct {
	ID           string           `xml:"routeTableId"`
	VPC          string           `xml:"vpcId"`
	Owner        string           `xml:"ownerId"`
	Routes       []routeXML       `xml:"routeSet>item"`
	Associations []associationXML `xml:"associationSet>item"`
	Propagating  struct{}         `xml:"propagatingVgwSet"`
	Tags         []tagXML         `xml:"tagSet>item"`
}

type associationXML struct {
	ID     string `xml:"routeTableAssociationId"`
	Table  string `xml:"routeTableId"`
	Subnet string `xml:"subnetId,omitempty"`
	Main   bool   `xml:"main"`
	State  string `xml:"associationState>state"`
}

type routeXML struct {
	CIDR           string `xml:"destinationCidrBlock,omitempty"`
	IPv6CIDR       string `xml:"destinationIpv6CidrBlock,omitempty"`
	Gateway        string `xml:"gatewayId,omitempty"`
	Instance       string `xml:"instanceId,omitempty"`
	InstanceOwner  string `xml:"instanceOwnerId,omitempty"`
	NATGateway     string `xml:"natGatewayId,omitempty"`
	ENI            string `xml:"networkInterfaceId,omitempty"`
	TransitGateway string `xml:"transitGatewayId,omitempty"`
	Peering        string `xml:"vpcPeeringConnectionId,omitempty"`
	Origin         string `xml:"origin"`
	State          string `xml:"state"`
}

func describeRouteTablesAction() action {
	return action{
		params: []string{"RouteTableId", "Filter", "MaxResults", "NextToken"},
		parse: func(r *request) (work, *apiError) {
			return func() (answer, *apiError) {
				st, s := r.world(), r.server
				tables, next, err := s.routeTables(st).page(r.params)
				out := &routeTablesAnswer{Next: next}
				for _, t := range tables {
					out.Tables = append(out.Tables, s.routeTableXML(st, t))
				}
				return out, err
			}, nil
		},
	}
}

func (s *Server) routeTables(st *state) collection[table] {
	return collection[table]{
		resource:     s.routeTableResource(),
		idsParameter: "RouteTableId",
		filterNames: []string{"route-table-id", "vpc-id", "owner-id", "association.main", "association.subnet-id",
			"association.route-table-id", "association.route-table-association-id", "route.destination-cidr-block",
			"route.destination-ipv6-cidr-block", "route.gateway-id", "route.instance-id", "route.nat-gateway-id",
			"route.transit-gateway-id", "route.vpc-peering-connection-id", "route.origin", "route.state"},
		maxResults: [2]int{5, 100},
		items:      sorted(st.tables),
		id:         func(t table) string { return t.ID },
		fields:     func(t table) fields { return s.routeTableXML(st, t).fields().withTags(t.Tags) },
	}
}

func (t routeTableXML) fields() fields {
	f := fields{"route-table-id": {t.ID}, "vpc-id": {t.VPC}, "owner-id": {t.Owner}}
	add := func(name, value string) {
		if value != "" {
			f[name] = append(f[name], value)
		}
	}
	for _, a := range t.Associations {
		add("association.main", fmt.Sprint(a.Main))
		add("association.subnet-id", a.Subnet)
		add("association.route-table-id", a.Table)
		add("association.route-table-association-id", a.ID)
	}
	for _, r := range t.Routes {
		add("route.destination-cidr-block", r.CIDR)
		add("route.destination-ipv6-cidr-block", r.IPv6CIDR)
		add("route.gateway-id", r.Gateway)
		add("route.instance-id", r.Instance)
		add("route.nat-gateway-id", r.NATGateway)
		add("route.transit-gateway-id", r.TransitGateway)
		add("route.vpc-peering-connection-id", r.Peering)
		add("route.origin", r.Origin)
		add("route.state", r.State)
	}
	return f
}

func (s *Server) routeTableXML(st *state, t table) routeTableXML {
	out := routeTableXML{ID: t.ID, VPC: t.VPC, Owner: s.config.AccountID, Tags: tagsXML(t.Tags)}
	if t.Main {
		out.Associations = append(out.Associations, association(t.ID, "", true))
	}
	for _, n := range t.Subnets {
		out.Associations = append(out.Associations, association(t.ID, n, false))
	}
	for _, r := range st.routes(t) {
		out.Routes = append(out.Routes, s.routeXML(st, r))
	}
	return out
}

func association(table, subnet string, main bool) associationXML {
	return associationXML{
		ID: derivedID("rtbassoc-", table+" "+subnet), Table: table, Subnet: subnet, Main: main, State: "associated",
	}
}

func (s *Server) routeXML(st *state, r Route) routeXML {
	out := routeXML{Origin: "CreateRoute", State: string(r.State)}
	if r.Destination.Addr().Is4() {
		out.CIDR = r.Destination.String()
	} else {
		out.IPv6CIDR = r.Destination.String()
	}
	switch r.Target.Kind {
	case TargetLocal:
		out.Gateway, out.Origin = "local", "CreateRouteTable"
	case TargetENI:
		out.ENI = r.Target.ID
		if out.Instance = st.enis[r.Target.ID].Instance; out.Instance != "" {
			out.InstanceOwner = s.config.AccountID
		}
	case TargetGateway:
		out.Gateway = r.Target.ID
	case TargetNATGateway:
		out.NATGateway = r.Target.ID
	case TargetTransitGateway:
		out.TransitGateway = r.Target.ID
	case TargetPeering:
		out.Peering = r.Target.ID
	}
	return out
}
