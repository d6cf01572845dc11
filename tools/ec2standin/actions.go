package ec2standin

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// actions is everything the API can do.
func actions() map[string]action {
	return map[string]action{
		"CreateRoute":                     writeRouteAction(createRoute),
		"ReplaceRoute":                    writeRouteAction(replaceRoute),
		"DeleteRoute":                     deleteRouteAction(),
		"DescribeRouteTables":             describeRouteTablesAction(),
		"DescribeNetworkInterfaces":       describeNetworkInterfacesAction(),
		"ModifyNetworkInterfaceAttribute": modifyNetworkInterfaceAttributeAction(),
		"DescribeInstances":               describeInstancesAction(),
		"DescribeVpcs":                    describeVpcsAction(),
		"DescribeSubnets":                 describeSubnetsAction(),
		"CreateManagedPrefixList":         createManagedPrefixListAction(),
		"ModifyManagedPrefixList":         modifyManagedPrefixListAction(),
		"DeleteManagedPrefixList":         deleteManagedPrefixListAction(),
		"DescribeManagedPrefixLists":      describeManagedPrefixListsAction(),
		"GetManagedPrefixListEntries":     getManagedPrefixListEntriesAction(),
		"CreateTags":                      createTagsAction(),
		"DeleteTags":                      deleteTagsAction(),
		"DescribeTags":                    describeTagsAction(),
	}
}

type tagXML struct {
	Key   string `xml:"key"`
	Value string `xml:"value"`
}

func tagsXML(tags map[string]string) []tagXML {
	out := make([]tagXML, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, tagXML{k, tags[k]})
	}
	return out
}

// derivedID makes the id of something that exists because something else does.
func derivedID(prefix, of string) string { return fmt.Sprintf("%s%017x", prefix, hash(of)) }

// DescribeVpcs

type vpcsAnswer struct {
	root
	VPCs []vpcXML `xml:"vpcSet>item"`
	Next string   `xml:"nextToken,omitempty"`
}

type vpcXML struct {
	ID       string       `xml:"vpcId"`
	Owner    string       `xml:"ownerId"`
	State    string       `xml:"state"`
	CIDR     string       `xml:"cidrBlock"`
	CIDRs    []vpcCIDRXML `xml:"cidrBlockAssociationSet>item"`
	IPv6     []vpcIPv6XML `xml:"ipv6CidrBlockAssociationSet>item"`
	DHCP     string       `xml:"dhcpOptionsId"`
	Tenancy  string       `xml:"instanceTenancy"`
	Default  bool         `xml:"isDefault"`
	TagsList []tagXML     `xml:"tagSet>item"`
}

type vpcCIDRXML struct {
	ID    string `xml:"associationId"`
	CIDR  string `xml:"cidrBlock"`
	State string `xml:"cidrBlockState>state"`
}

type vpcIPv6XML struct {
	ID    string `xml:"associationId"`
	CIDR  string `xml:"ipv6CidrBlock"`
	State string `xml:"ipv6CidrBlockState>state"`
}

func describeVpcsAction() action {
	return action{
		params: []string{"VpcId", "Filter", "MaxResults", "NextToken"},
		parse: func(r *request) (work, *apiError) {
			return func() (answer, *apiError) {
				vpcs, next, err := r.server.vpcs(r.world()).page(r.params)
				out := &vpcsAnswer{Next: next}
				for _, v := range vpcs {
					out.VPCs = append(out.VPCs, r.server.vpcXML(v))
				}
				return out, err
			}, nil
		},
	}
}

func (s *Server) vpcs(st *state) collection[VPC] {
	return collection[VPC]{
		resource:     vpcResource(),
		idsParameter: "VpcId",
		filterNames: []string{"vpc-id", "owner-id", "state", "is-default", "cidr", "cidr-block", "cidrBlock",
			"cidr-block-association.cidr-block", "ipv6-cidr-block-association.ipv6-cidr-block"},
		maxResults: [2]int{5, 1000},
		idsExclude: true,
		items:      sorted(st.vpcs),
		id:         func(v VPC) string { return v.ID },
		fields: func(v VPC) fields {
			primary := []string{v.CIDRs[0].String()}
			f := fields{"vpc-id": {v.ID}, "owner-id": {s.config.AccountID}, "state": {"available"}, "is-default": {"false"},
				"cidr": primary, "cidr-block": primary, "cidrBlock": primary}
			for _, c := range v.CIDRs {
				name := "cidr-block-association.cidr-block"
				if c.Addr().Is6() {
					name = "ipv6-cidr-block-association.ipv6-cidr-block"
				}
				f[name] = append(f[name], c.String())
			}
			return f.withTags(v.Tags)
		},
	}
}

func (s *Server) vpcXML(v VPC) vpcXML {
	out := vpcXML{ID: v.ID, Owner: s.config.AccountID, State: "available", CIDR: v.CIDRs[0].String(),
		DHCP: derivedID("dopt-", s.config.Region), Tenancy: "default", TagsList: tagsXML(v.Tags)}
	for _, c := range v.CIDRs {
		id := derivedID("vpc-cidr-assoc-", v.ID+" "+c.String())
		if c.Addr().Is4() {
			out.CIDRs = append(out.CIDRs, vpcCIDRXML{id, c.String(), "associated"})
		} else {
			out.IPv6 = append(out.IPv6, vpcIPv6XML{id, c.String(), "associated"})
		}
	}
	return out
}

// DescribeSubnets

type subnetsAnswer struct {
	root
	Subnets []subnetXML `xml:"subnetSet>item"`
	Next    string      `xml:"nextToken,omitempty"`
}

type subnetXML struct {
	ID        string   `xml:"subnetId"`
	ARN       string   `xml:"subnetArn"`
	VPC       string   `xml:"vpcId"`
	Owner     string   `xml:"ownerId"`
	State     string   `xml:"state"`
	CIDR      string   `xml:"cidrBlock"`
	Free      int      `xml:"availableIpAddressCount"`
	Zone      string   `xml:"availabilityZone"`
	ZoneID    string   `xml:"availabilityZoneId"`
	Default   bool     `xml:"defaultForAz"`
	MapPublic bool     `xml:"mapPublicIpOnLaunch"`
	TagsList  []tagXML `xml:"tagSet>item"`
}

func describeSubnetsAction() action {
	return action{
		params: []string{"SubnetId", "Filter", "MaxResults", "NextToken"},
		parse: func(r *request) (work, *apiError) {
			return func() (answer, *apiError) {
				st := r.world()
				subnets, next, err := r.server.subnets(st).page(r.params)
				out := &subnetsAnswer{Next: next}
				for _, n := range subnets {
					out.Subnets = append(out.Subnets, r.server.subnetXML(st, n))
				}
				return out, err
			}, nil
		},
	}
}

func (s *Server) subnets(st *state) collection[Subnet] {
	return collection[Subnet]{
		resource:     subnetResource(),
		idsParameter: "SubnetId",
		filterNames: []string{"subnet-id", "vpc-id", "owner-id", "state", "cidr", "cidr-block", "cidrBlock",
			"availability-zone", "availabilityZone", "availability-zone-id"},
		maxResults: [2]int{5, 1000},
		idsExclude: true,
		items:      sorted(st.subnets),
		id:         func(n Subnet) string { return n.ID },
		fields: func(n Subnet) fields {
			cidr, zone := []string{n.CIDR.String()}, []string{n.Zone}
			return fields{"subnet-id": {n.ID}, "vpc-id": {n.VPC}, "owner-id": {s.config.AccountID}, "state": {"available"},
				"cidr": cidr, "cidr-block": cidr, "cidrBlock": cidr, "availability-zone": zone, "availabilityZone": zone,
				"availability-zone-id": {zoneID(n.Zone)}}.withTags(n.Tags)
		},
	}
}

func (s *Server) subnetXML(st *state, n Subnet) subnetXML {
	used := 0
	for _, e := range st.enis {
		if e.Subnet == n.ID {
			used += 1 + len(e.SecondaryIPs)
		}
	}
	const reserved = 5 // addresses EC2 keeps for itself in each subnet
	free := 1<<(n.CIDR.Addr().BitLen()-n.CIDR.Bits()) - reserved - used
	return subnetXML{ID: n.ID, ARN: s.arn("subnet", n.ID),
		VPC: n.VPC, Owner: s.config.AccountID, State: "available", CIDR: n.CIDR.String(), Free: max(0, free),
		Zone: n.Zone, ZoneID: zoneID(n.Zone), TagsList: tagsXML(n.Tags)}
}

// zoneID makes the account-independent id of a zone: "us-west-2a" is "usw2-az1".
func zoneID(zone string) string {
	if zone == "" {
		return ""
	}
	region, letter := zone[:len(zone)-1], zone[len(zone)-1]
	short := strings.NewReplacer("-", "", "north", "n", "south", "s", "east", "e", "west", "w", "central", "c", "gov", "g")
	return fmt.Sprintf("%s-az%d", short.Replace(region), letter-'a'+1)
}
