package ec2standin

import (
	"fmt"
	"slices"
)

type interfacesAnswer struct {
	root
	Interfaces []interfaceXML `xml:"networkInterfaceSet>item"`
	Next       string         `xml:"nextToken,omitempty"`
}

type interfaceXML struct {
	ID               string         `xml:"networkInterfaceId"`
	Subnet           string         `xml:"subnetId"`
	VPC              string         `xml:"vpcId"`
	Zone             string         `xml:"availabilityZone"`
	Description      string         `xml:"description"`
	Owner            string         `xml:"ownerId"`
	RequesterManaged bool           `xml:"requesterManaged"`
	Status           string         `xml:"status"`
	MAC              string         `xml:"macAddress"`
	PrivateIP        string         `xml:"privateIpAddress"`
	PrivateDNS       string         `xml:"privateDnsName"`
	SourceDestCheck  bool           `xml:"sourceDestCheck"`
	Type             string         `xml:"interfaceType"`
	Groups           struct{}       `xml:"groupSet"`
	Attachment       *attachmentXML `xml:"attachment"`
	Addresses        []addressXML   `xml:"privateIpAddressesSet>item"`
	TagsList         []tagXML       `xml:"tagSet>item"`
}

type attachmentXML struct {
	ID                  string `xml:"attachmentId"`
	Instance            string `xml:"instanceId,omitempty"`
	InstanceOwner       string `xml:"instanceOwnerId,omitempty"`
	DeviceIndex         int    `xml:"deviceIndex"`
	Status              string `xml:"status"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
}

type addressXML struct {
	Address    string `xml:"privateIpAddress"`
	PrivateDNS string `xml:"privateDnsName"`
	Primary    bool   `xml:"primary"`
}

func describeNetworkInterfacesAction() action {
	return action{
		params:      []string{"NetworkInterfaceId", "Filter", "MaxResults", "NextToken"},
		unsupported: []string{"IncludeManagedResources"},
		parse: func(r *request) (work, *apiError) {
			return func() (answer, *apiError) {
				st, s := r.world(), r.server
				enis, next, err := s.interfaces(st).page(r.params)
				out := &interfacesAnswer{Next: next}
				for _, e := range enis {
					out.Interfaces = append(out.Interfaces, s.interfaceXML(st, e))
				}
				return out, err
			}, nil
		},
	}
}

func (s *Server) interfaces(st *state) collection[ENI] {
	return collection[ENI]{
		resource:     eniResource(),
		idsParameter: "NetworkInterfaceId",
		filterNames: []string{"network-interface-id", "subnet-id", "vpc-id", "owner-id", "availability-zone", "description",
			"mac-address", "private-ip-address", "addresses.private-ip-address", "source-dest-check", "status", "interface-type",
			"attachment.attachment-id", "attachment.device-index", "attachment.instance-id", "attachment.instance-owner-id",
			"attachment.status", "attachment.delete-on-termination"},
		maxResults: [2]int{5, 1000},
		idsExclude: true,
		items:      sorted(st.enis),
		id:         func(e ENI) string { return e.ID },
		fields:     func(e ENI) fields { return s.interfaceXML(st, e).fields().withTags(e.Tags) },
	}
}

func (e interfaceXML) fields() fields {
	f := fields{"network-interface-id": {e.ID}, "subnet-id": {e.Subnet}, "vpc-id": {e.VPC}, "owner-id": {e.Owner},
		"availability-zone": {e.Zone}, "description": {e.Description}, "mac-address": {e.MAC},
		"source-dest-check": {fmt.Sprint(e.SourceDestCheck)}, "status": {e.Status}, "interface-type": {e.Type}}
	for _, a := range e.Addresses {
		f["private-ip-address"] = append(f["private-ip-address"], a.Address)
	}
	f["addresses.private-ip-address"] = f["private-ip-address"]
	if a := e.Attachment; a != nil {
		f["attachment.attachment-id"] = []string{a.ID}
		f["attachment.device-index"] = []string{fmt.Sprint(a.DeviceIndex)}
		f["attachment.instance-id"] = []string{a.Instance}
		f["attachment.instance-owner-id"] = []string{a.InstanceOwner}
		f["attachment.status"] = []string{a.Status}
		f["attachment.delete-on-termination"] = []string{fmt.Sprint(a.DeleteOnTermination)}
	}
	return f
}

func (s *Server) interfaceXML(st *state, e ENI) interfaceXML {
	n := st.subnets[e.Subnet]
	out := interfaceXML{ID: e.ID, Subnet: e.Subnet, VPC: n.VPC, Zone: n.Zone, Description: e.Description,
		Owner: s.config.AccountID, Status: "available", MAC: e.MAC, PrivateIP: e.PrivateIP.String(),
		PrivateDNS: s.privateDNS(e.PrivateIP.String()), SourceDestCheck: e.SourceDestCheck, Type: "interface", TagsList: tagsXML(e.Tags)}
	out.Addresses = append(out.Addresses, addressXML{out.PrivateIP, out.PrivateDNS, true})
	for _, a := range e.SecondaryIPs {
		out.Addresses = append(out.Addresses, addressXML{a.String(), s.privateDNS(a.String()), false})
	}
	if e.Instance != "" {
		out.Status = "in-use"
		out.Attachment = s.attachment(e)
		out.Attachment.Instance, out.Attachment.InstanceOwner = e.Instance, s.config.AccountID
	}
	return out
}

// attachment describes an attachment as an instance's listing does: without
// the instance.
func (s *Server) attachment(e ENI) *attachmentXML {
	return &attachmentXML{ID: derivedID("eni-attach-", e.ID+" "+e.Instance), DeviceIndex: e.DeviceIndex,
		Status: "attached", DeleteOnTermination: e.DeviceIndex == 0}
}

// ModifyNetworkInterfaceAttribute

func modifyNetworkInterfaceAttributeAction() action {
	return action{
		mutating: true,
		params:   []string{"NetworkInterfaceId", "SourceDestCheck", "Description"},
		unsupported: []string{"Attachment", "SecurityGroupId", "AssociatedSubnetId", "AssociatePublicIpAddress",
			"ConnectionTrackingSpecification", "EnablePrimaryIpv6", "EnaSrdSpecification"},
		parse: parseModifyInterface,
		needs: needsOf("NetworkInterfaceId"),
	}
}

func parseModifyInterface(r *request) (work, *apiError) {
	id, err := r.required("NetworkInterfaceId")
	if err != nil {
		return nil, err
	}
	if err := eniResource().wellFormed(id); err != nil {
		return nil, err
	}
	check, checkGiven, err := r.boolean("SourceDestCheck.Value")
	if err != nil {
		return nil, err
	}
	_, descriptionGiven := r.form["Description.Value"]
	switch {
	case !checkGiven && !descriptionGiven:
		return nil, errorf(codeMissingParameter, "The request must contain exactly one attribute to modify")
	case checkGiven && descriptionGiven:
		return nil, errorf(codeParameterCombination, "The request must contain exactly one attribute to modify")
	}
	return func() (answer, *apiError) {
		err := r.server.commitCall(func(st *state) *apiError {
			e, ok := st.enis[id]
			if !ok {
				return eniResource().absent(id)
			}
			if checkGiven {
				e.SourceDestCheck = check
			} else {
				e.Description = r.text("Description.Value")
			}
			st.enis[id] = e
			return nil
		})
		return &done{Return: true}, err
	}, nil
}

// DescribeInstances

type instancesAnswer struct {
	root
	Reservations []reservationXML `xml:"reservationSet>item"`
	Next         string           `xml:"nextToken,omitempty"`
}

type reservationXML struct {
	ID        string        `xml:"reservationId"`
	Owner     string        `xml:"ownerId"`
	Groups    struct{}      `xml:"groupSet"`
	Instances []instanceXML `xml:"instancesSet>item"`
}

type instanceXML struct {
	ID              string                 `xml:"instanceId"`
	Image           string                 `xml:"imageId"`
	Code            int                    `xml:"instanceState>code"`
	State           string                 `xml:"instanceState>name"`
	PrivateDNS      string                 `xml:"privateDnsName"`
	Type            string                 `xml:"instanceType"`
	Zone            string                 `xml:"placement>availabilityZone"`
	Tenancy         string                 `xml:"placement>tenancy"`
	Subnet          string                 `xml:"subnetId,omitempty"`
	VPC             string                 `xml:"vpcId,omitempty"`
	PrivateIP       string                 `xml:"privateIpAddress,omitempty"`
	SourceDestCheck *bool                  `xml:"sourceDestCheck"`
	Architecture    string                 `xml:"architecture"`
	Interfaces      []instanceInterfaceXML `xml:"networkInterfaceSet>item"`
	TagsList        []tagXML               `xml:"tagSet>item"`
}

type instanceInterfaceXML struct {
	ID              string         `xml:"networkInterfaceId"`
	Subnet          string         `xml:"subnetId"`
	VPC             string         `xml:"vpcId"`
	Description     string         `xml:"description"`
	Owner           string         `xml:"ownerId"`
	Status          string         `xml:"status"`
	MAC             string         `xml:"macAddress"`
	PrivateIP       string         `xml:"privateIpAddress"`
	PrivateDNS      string         `xml:"privateDnsName"`
	SourceDestCheck bool           `xml:"sourceDestCheck"`
	Type            string         `xml:"interfaceType"`
	Attachment      *attachmentXML `xml:"attachment"`
	Addresses       []addressXML   `xml:"privateIpAddressesSet>item"`
}

// instanceStateCodes are the numbers that go with the states' names.
func instanceStateCodes() map[InstanceState]int {
	return map[InstanceState]int{InstancePending: 0, InstanceRunning: 16, InstanceShuttingDown: 32,
		InstanceTerminated: 48, InstanceStopping: 64, InstanceStopped: 80}
}

func describeInstancesAction() action {
	return action{
		params:      []string{"InstanceId", "Filter", "MaxResults", "NextToken"},
		unsupported: []string{"IncludeManagedResources"},
		parse: func(r *request) (work, *apiError) {
			return func() (answer, *apiError) {
				st, s := r.world(), r.server
				list, next, err := s.instances(st).page(r.params)
				out := &instancesAnswer{Next: next}
				for _, i := range list {
					out.Reservations = append(out.Reservations, reservationXML{ID: derivedID("r-", i.ID),
						Owner: s.config.AccountID, Instances: []instanceXML{s.instanceXML(st, i)}})
				}
				return out, err
			}, nil
		},
	}
}

func (s *Server) instances(st *state) collection[Instance] {
	return collection[Instance]{
		resource:     instanceResource(),
		idsParameter: "InstanceId",
		filterNames: []string{"instance-id", "instance-state-name", "instance-state-code", "instance-type", "owner-id",
			"private-ip-address", "private-dns-name", "network-interface.private-dns-name", "subnet-id", "vpc-id",
			"availability-zone", "network-interface.network-interface-id", "network-interface.addresses.private-ip-address"},
		maxResults: [2]int{5, 1000},
		idsExclude: true,
		items:      sorted(st.instances),
		id:         func(i Instance) string { return i.ID },
		fields:     func(i Instance) fields { return s.instanceXML(st, i).fields(s.config.AccountID).withTags(i.Tags) },
	}
}

func (i instanceXML) fields(owner string) fields {
	f := fields{"instance-id": {i.ID}, "instance-state-name": {i.State}, "instance-state-code": {fmt.Sprint(i.Code)},
		"instance-type": {i.Type}, "owner-id": {owner}, "private-ip-address": {i.PrivateIP}, "private-dns-name": {i.PrivateDNS},
		"subnet-id": {i.Subnet}, "vpc-id": {i.VPC}, "availability-zone": {i.Zone}}
	for _, e := range i.Interfaces {
		f["network-interface.network-interface-id"] = append(f["network-interface.network-interface-id"], e.ID)
		f["network-interface.private-dns-name"] = append(f["network-interface.private-dns-name"], e.PrivateDNS)
		for _, a := range e.Addresses {
			f["network-interface.addresses.private-ip-address"] = append(f["network-interface.addresses.private-ip-address"], a.Address)
		}
	}
	return f
}

func (s *Server) instanceXML(st *state, i Instance) instanceXML {
	out := instanceXML{ID: i.ID, Image: derivedID("ami-", s.config.Region), Code: instanceStateCodes()[i.State],
		State: string(i.State), Type: i.Type, Tenancy: "default", Architecture: "x86_64", TagsList: tagsXML(i.Tags)}
	enis := st.enisOf(i.ID)
	for _, e := range enis {
		x := s.interfaceXML(st, e)
		out.Interfaces = append(out.Interfaces, instanceInterfaceXML{ID: x.ID, Subnet: x.Subnet, VPC: x.VPC,
			Description: x.Description, Owner: x.Owner, Status: x.Status, MAC: x.MAC, PrivateIP: x.PrivateIP,
			PrivateDNS: x.PrivateDNS, SourceDestCheck: x.SourceDestCheck, Type: x.Type, Attachment: s.attachment(e),
			Addresses: x.Addresses})
	}
	if p := slices.IndexFunc(enis, func(e ENI) bool { return e.DeviceIndex == 0 }); p >= 0 {
		x := out.Interfaces[p]
		out.PrivateDNS, out.PrivateIP, out.Subnet, out.VPC = x.PrivateDNS, x.PrivateIP, x.Subnet, x.VPC
		out.Zone, out.SourceDestCheck = st.subnets[x.Subnet].Zone, &x.SourceDestCheck
	}
	return out
}

// privateDNS is the name EC2 gives an address: ip-10-0-0-1.<region>.compute.internal.
func (s *Server) privateDNS(ip string) string {
	name := []byte("ip-" + ip)
	for i, c := range name {
		if c == '.' || c == ':' {
			name[i] = '-'
		}
	}
	if s.config.Region == "us-east-1" {
		return string(name) + ".ec2.internal"
	}
	return string(name) + "." + s.config.Region + ".compute.internal"
}
