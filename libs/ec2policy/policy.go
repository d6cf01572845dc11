// Package ec2policy prints the least IAM policy with which route-sync can do what it is configured to.
package ec2policy

import (
	"cmp"
	"encoding/json"
	"strings"
)

const (
	// GatewayTag marks, with the value "true", what the gateways' role may change.
	GatewayTag = "eks-hybrid-nodes-gateway"
	// ListTag marks, with the value "true", the prefix lists that were made by a gateway. They carry GatewayTag as well.
	ListTag = GatewayTag + "-managed"
)

// Types of resources, as in ARNs.
const (
	Table     = "route-table"
	List      = "prefix-list"
	Interface = "network-interface"
)

// Config says what the gateways do. All gateways of an installation share one role, so it is about all of them.
type Config struct {
	// Region and Account are where the tables are; "*" stands for one that is not known.
	Region, Account string
	// Tables are the ids of all route tables with routes to gateways.
	Tables []string
	// ManageLists says that prefix lists are made and kept in step.
	ManageLists bool
	// ManageCheck says that the source/destination checks of Interfaces are switched off; of any with GatewayTag when
	// there are none.
	ManageCheck bool
	Interfaces  []string
}

type statement struct {
	Sid       string     `json:"Sid"`
	Effect    string     `json:"Effect"`
	Action    []string   `json:"Action"`
	Resource  []string   `json:"Resource"`
	Condition conditions `json:"Condition,omitempty"`
}

// conditions are values by operator and key.
type conditions map[string]map[string]string

type document struct {
	Version   string      `json:"Version"`
	Statement []statement `json:"Statement"`
}

// Document prints the policy, indented. Every statement that lets something be changed names resources by their ids where
// they are known, and asks for tags on them, or that what is made gets the tags. See the Service Authorization Reference,
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html.
func (c Config) Document() string {
	gateways := conditions{"StringEquals": {"aws:ResourceTag/" + GatewayTag: "true"}}
	anyList := c.arns(List, "*")
	d := document{Version: "2012-10-17", Statement: []statement{
		// EC2 knows no resources for calls that describe.
		{Sid: "Read", Action: actions("DescribeRouteTables", "DescribeNetworkInterfaces", "DescribeManagedPrefixLists"), Resource: []string{"*"}},
		{Sid: "ReadLists", Action: actions("GetManagedPrefixListEntries"), Resource: anyList},
		{Sid: "Routes", Action: actions("ReplaceRoute", "CreateRoute", "DeleteRoute"), Resource: c.arns(Table, c.Tables...), Condition: gateways},
	}}
	if c.ManageLists {
		// Their ids are EC2's choice, so it takes the tags to tell them from others.
		d.Statement = append(d.Statement,
			statement{Sid: "MakeLists", Action: actions("CreateManagedPrefixList"), Resource: anyList, Condition: both("aws:RequestTag/")},
			statement{Sid: "TagListsWhenMade", Action: actions("CreateTags"), Resource: anyList,
				Condition: both("aws:RequestTag/").and("ec2:CreateAction", "CreateManagedPrefixList")},
			statement{Sid: "ChangeLists", Action: actions("ModifyManagedPrefixList", "DeleteManagedPrefixList"), Resource: anyList,
				Condition: both("aws:ResourceTag/")})
	}
	if c.ManageCheck {
		interfaces := c.Interfaces
		if len(interfaces) == 0 {
			interfaces = []string{"*"}
		}
		d.Statement = append(d.Statement, statement{Sid: "SourceDestCheck", Action: actions("ModifyNetworkInterfaceAttribute"),
			Resource: c.arns(Interface, interfaces...), Condition: gateways})
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

// both asks for the two tags of lists that gateways make.
func both(prefix string) conditions {
	return conditions{"StringEquals": {prefix + GatewayTag: "true", prefix + ListTag: "true"}}
}

func (c conditions) and(key, value string) conditions {
	c["StringEquals"][key] = value
	return c
}

func (c Config) arns(kind string, ids ...string) []string {
	arns := make([]string, len(ids))
	for i, id := range ids {
		arns[i] = ARN(c.Region, c.Account, kind, id)
	}
	return arns
}

// ARN names a resource. What is empty is "*".
func ARN(region, account, kind, id string) string {
	return "arn:" + partition(region) + ":ec2:" + cmp.Or(region, "*") + ":" + cmp.Or(account, "*") + ":" + kind + "/" + cmp.Or(id, "*")
}

// partition is the part of AWS that a region belongs to.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

func actions(names ...string) []string {
	for i := range names {
		names[i] = "ec2:" + names[i]
	}
	return names
}
