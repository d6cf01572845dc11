package ec2standin

import "fmt"

// DescribeRouteTables

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
	PrefixList     string `xml:"destinationPrefixListId,omitempty"`
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
			"route.destination-ipv6-cidr-block", "route.destination-prefix-list-id", "route.gateway-id", "route.instance-id", "route.nat-gateway-id",
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
		add("route.destination-prefix-list-id", r.PrefixList)
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
		x := s.routeXML(st, r.Target, r.State)
		if r.Destination.Addr().Is4() {
			x.CIDR = r.Destination.String()
		} else {
			x.IPv6CIDR = r.Destination.String()
		}
		out.Routes = append(out.Routes, x)
	}
	for _, r := range st.listRoutes(t) {
		x := s.routeXML(st, r.Target, r.State)
		x.PrefixList = r.PrefixList
		out.Routes = append(out.Routes, x)
	}
	return out
}

func association(table, subnet string, main bool) associationXML {
	return associationXML{
		ID: derivedID("rtbassoc-", table+" "+subnet), Table: table, Subnet: subnet, Main: main, State: "associated",
	}
}

// routeXML describes a route but for its destination.
func (s *Server) routeXML(st *state, to Target, in RouteState) routeXML {
	out := routeXML{Origin: "CreateRoute", State: string(in)}
	switch to.Kind {
	case TargetLocal:
		out.Gateway, out.Origin = "local", "CreateRouteTable"
	case TargetENI:
		out.ENI = to.ID
		if out.Instance = st.enis[to.ID].Instance; out.Instance != "" {
			out.InstanceOwner = s.config.AccountID
		}
	case TargetGateway:
		out.Gateway = to.ID
	case TargetNATGateway:
		out.NATGateway = to.ID
	case TargetTransitGateway:
		out.TransitGateway = to.ID
	case TargetPeering:
		out.Peering = to.ID
	}
	return out
}
