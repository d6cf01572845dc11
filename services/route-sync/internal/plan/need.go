package plan

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
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

const (
	typeTable     = "route-table"
	typeList      = "prefix-list"
	typeInterface = "network-interface"
)

// Needs are the permissions of [Policy] that a dry run can ask for, in a fixed order. No dry run knows the conditions
// under which something is tagged, and what is done to managed lists cannot be asked for before there are any.
func Needs(c Config) []Need {
	needs := []Need{{Action: DescribeRouteTables}, {Action: DescribeNetworkInterfaces}, {Action: DescribeManagedPrefixLists}}
	for _, t := range c.AllTables() {
		for _, action := range []string{ReplaceRoute, CreateRoute, DeleteRoute} {
			needs = append(needs, Need{action, t, typeTable})
		}
	}
	for _, id := range c.Lists.IDs {
		needs = append(needs, Need{GetManagedPrefixListEntries, id, typeList})
	}
	if c.Lists.Managed != "" {
		needs = append(needs, Need{CreateManagedPrefixList, "", typeList})
	}
	if c.ManageCheck {
		needs = append(needs, Need{ModifyNetworkInterfaceAttribute, c.Interface, typeInterface})
	}
	return needs
}

// ARN is the resource of a need as IAM names it. An account that is not known is "*".
func (n Need) ARN(region, account string) string {
	if n.Type == "" {
		return "*"
	}
	return "arn:" + Partition(region) + ":ec2:" + cmp.Or(region, "*") + ":" + cmp.Or(account, "*") + ":" + n.Type + "/" + cmp.Or(n.ID, "*")
}

// Partition is the part of AWS that a region belongs to.
func Partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// statement and document are an IAM policy.
type statement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Action    []string                     `json:"Action"`
	Resource  []string                     `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

type document struct {
	Version   string      `json:"Version"`
	Statement []statement `json:"Statement"`
}

// Policy prints the least IAM policy for a configuration, indented. Every statement that lets something be changed
// names resources, and asks for [GatewayTag] on them. All gateways share one role, so that the interfaces are any
// with the tag.
func Policy(c Config, account string) string {
	region := c.Region
	arn := func(kind, id string) string { return Need{Type: kind, ID: id}.ARN(region, account) }
	tagged := map[string]map[string]string{"StringEquals": {"aws:ResourceTag/" + GatewayTag: "true"}}
	var tables []string
	for _, t := range c.AllTables() {
		tables = append(tables, arn(typeTable, t))
	}
	lists := []string{arn(typeList, "*")}
	d := document{Version: "2012-10-17", Statement: []statement{
		// EC2 knows no resources for calls that describe.
		{Sid: "Read", Action: actions(DescribeRouteTables, DescribeNetworkInterfaces, DescribeManagedPrefixLists), Resource: []string{"*"}},
		{Sid: "ReadLists", Action: actions(GetManagedPrefixListEntries), Resource: lists},
		{Sid: "Routes", Action: actions(ReplaceRoute, CreateRoute, DeleteRoute), Resource: tables, Condition: tagged},
	}}
	if c.Lists.Managed != "" {
		asked := map[string]string{"aws:RequestTag/" + GatewayTag: "true"}
		d.Statement = append(d.Statement,
			statement{Sid: "MakeLists", Action: actions(CreateManagedPrefixList), Resource: lists, Condition: map[string]map[string]string{"StringEquals": asked}},
			statement{Sid: "TagListsWhenMade", Action: actions("CreateTags"), Resource: lists,
				Condition: map[string]map[string]string{"StringEquals": {"ec2:CreateAction": CreateManagedPrefixList}}},
			statement{Sid: "ChangeLists", Action: actions(ModifyManagedPrefixList, DeleteManagedPrefixList), Resource: lists, Condition: tagged})
	}
	if c.ManageCheck {
		d.Statement = append(d.Statement, statement{Sid: "SourceDestCheck", Action: actions(ModifyNetworkInterfaceAttribute),
			Resource: []string{arn(typeInterface, "*")}, Condition: tagged})
	}
	for i := range d.Statement {
		d.Statement[i].Effect = "Allow"
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return "" // a struct of strings can always be encoded
	}
	return string(text) + "\n"
}

func actions(names ...string) []string {
	out := slices.Clone(names)
	for i := range out {
		out[i] = "ec2:" + out[i]
	}
	return out
}
