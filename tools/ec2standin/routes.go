package ec2standin

import (
	"net/netip"
	"slices"
	"strings"
)

// targetParameters are the ways to name a route's target. Exactly one is given.
func targetParameters() []string {
	return []string{"GatewayId", "InstanceId", "NatGatewayId", "NetworkInterfaceId", "TransitGatewayId", "VpcPeeringConnectionId"}
}

// destinationParameters are the ways to name a route's destination. Exactly
// one is given.
func destinationParameters() []string {
	return []string{"DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId"}
}

// foreignTargets are targets EC2 knows and the stand-in does not.
func foreignTargets() []string {
	return []string{"CarrierGatewayId", "CoreNetworkArn", "EgressOnlyInternetGatewayId",
		"LocalGatewayId", "LocalTarget", "OdbNetworkArn", "VpcEndpointId"}
}

func writeRouteAction(write func(*state, routeCall) *apiError) action {
	return action{
		mutating:    true,
		params:      append(targetParameters(), append(destinationParameters(), "RouteTableId")...),
		unsupported: foreignTargets(),
		needs:       needsOf("RouteTableId"),
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
		mutating: true,
		params:   append(destinationParameters(), "RouteTableId"),
		needs:    needsOf("RouteTableId"),
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
	to     destination
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
	if to.list != "" {
		if err := r.server.prefixListResource().wellFormed(to.list); err != nil {
			return routeCall{}, err
		}
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
	if _, there := tb.routes[c.to]; there || slices.Contains(v.CIDRs, c.to.prefix) {
		return errorf("RouteAlreadyExists", "The route identified by %s already exists", c.to)
	}
	ipv6, weight := c.to.prefix.Addr().Is6(), 1
	switch {
	case c.to.list != "":
		l, err := c.server.usableList(st, c.to.list)
		if err != nil {
			return err
		}
		ipv6, weight = l.IPv6, l.MaxEntries
	case v.covers(c.to.prefix):
		if err := withinVPC(st, tb, c.to.prefix, via); err != nil {
			return err
		}
	}
	if st.weight(tb, ipv6)+weight > c.server.config.RoutesPerTable {
		return errorf("RouteLimitExceeded", "The maximum number of routes has been reached.")
	}
	st.putRoute(tb, c.to, via)
	return nil
}

// usableList finds a prefix list that a new route may lead to.
func (s *Server) usableList(st *state, id string) (list, *apiError) {
	l, ok := st.lists[id]
	switch {
	case !ok:
		return list{}, s.prefixListResource().absent(id)
	case l.State == ListCreateInProgress || l.State == ListDeleteInProgress:
		return list{}, l.busy()
	}
	return l, nil
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
	if slices.Contains(st.vpcs[tb.VPC].CIDRs, c.to.prefix) {
		return errorf(codeInvalidParameter, "cannot replace local route %s in route table %s", c.to, tb.ID)
	}
	if _, there := tb.routes[c.to]; !there {
		if _, exists := st.lists[c.to.list]; !exists && c.to.list != "" {
			return c.server.prefixListResource().absent(c.to.list)
		}
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
	if slices.Contains(st.vpcs[tb.VPC].CIDRs, c.to.prefix) {
		return errorf(codeInvalidParameter, "cannot remove local route %s in route table %s", c.to, tb.ID)
	}
	if _, there := tb.routes[c.to]; !there {
		return routeNotFound(c)
	}
	st.dropRoute(tb, c.to)
	return nil
}

func routeNotFound(c routeCall) *apiError {
	kind := "destination-cidr-block"
	switch {
	case c.to.list != "":
		kind = "destination-prefix-list-id"
	case c.to.prefix.Addr().Is6():
		kind = "destination-ipv6-cidr-block"
	}
	return errorf(CodeRouteNotFound, "no route with %s %s in route table %s", kind, c.to, c.table)
}
