package plan

import (
	"slices"

	"github.com/hybridgateway/gateway/libs/ec2policy"
)

// Need is a permission in IAM that the gateway's role must have. See the Service Authorization Reference,
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html.
type Need struct {
	// Action is a call of EC2's API, such as ReplaceRoute.
	Action string
	// ID is what it is made on; empty when it is on nothing in particular, or on what does not exist yet.
	ID string
	// Type is the type of resource of which ID is one, as in ARNs; empty for calls on nothing in particular.
	Type string
}

// Calls of the API.
const (
	ReplaceRoute                    = "ReplaceRoute"
	CreateRoute                     = "CreateRoute"
	DeleteRoute                     = "DeleteRoute"
	DescribeRouteTables             = "DescribeRouteTables"
	DescribeNetworkInterfaces       = "DescribeNetworkInterfaces"
	DescribeManagedPrefixLists      = "DescribeManagedPrefixLists"
	GetManagedPrefixListEntries     = "GetManagedPrefixListEntries"
	CreateManagedPrefixList         = "CreateManagedPrefixList"
	ModifyManagedPrefixList         = "ModifyManagedPrefixList"
	DeleteManagedPrefixList         = "DeleteManagedPrefixList"
	ModifyNetworkInterfaceAttribute = "ModifyNetworkInterfaceAttribute"
)

// Needs are the permissions of [Policy] that a dry run can ask for, in a fixed order. No dry run knows the conditions
// under which something is tagged, and what is done to managed lists cannot be asked for before there are any.
func Needs(c Config) []Need {
	needs := []Need{{Action: DescribeRouteTables}, {Action: DescribeNetworkInterfaces}, {Action: DescribeManagedPrefixLists}}
	for _, t := range c.AllTables() {
		for _, action := range []string{ReplaceRoute, CreateRoute, DeleteRoute} {
			needs = append(needs, Need{action, t, ec2policy.Table})
		}
	}
	for _, id := range c.Lists.IDs {
		needs = append(needs, Need{GetManagedPrefixListEntries, id, ec2policy.List})
	}
	if c.Lists.Managed != "" {
		needs = append(needs, Need{CreateManagedPrefixList, "", ec2policy.List})
	}
	if c.ManageCheck {
		needs = append(needs, Need{ModifyNetworkInterfaceAttribute, c.Interface, ec2policy.Interface})
	}
	return needs
}

// ARN is the resource of a need as IAM names it. An account that is not known is "*".
func (n Need) ARN(region, account string) string {
	if n.Type == "" {
		return "*"
	}
	return ec2policy.ARN(region, account, n.Type, n.ID)
}

// Policy prints the least IAM policy for a configuration. With --gateway-enis the interfaces are known; otherwise they are
// any with [GatewayTag].
func Policy(c Config, account string) string {
	p := ec2policy.Config{Region: c.Region, Account: account, Tables: c.AllTables(), ManageLists: c.Lists.Managed != "", ManageCheck: c.ManageCheck}
	if len(c.Gateways) > 0 {
		p.Interfaces = append([]string{c.Interface}, c.Gateways...)
		slices.Sort(p.Interfaces)
		p.Interfaces = slices.Compact(p.Interfaces)
	}
	return p.Document()
}
