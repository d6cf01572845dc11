package plan

import (
	"strings"
	"testing"
)

func TestPartitions(t *testing.T) {
	for region, want := range map[string]string{
		"us-west-2":     "arn:aws:ec2:us-west-2:123456789012:route-table/rtb-1",
		"cn-north-1":    "arn:aws-cn:ec2:cn-north-1:123456789012:route-table/rtb-1",
		"us-gov-west-1": "arn:aws-us-gov:ec2:us-gov-west-1:123456789012:route-table/rtb-1",
	} {
		if got := (Need{ReplaceRoute, "rtb-1", typeTable}).ARN(region, "123456789012"); got != want {
			t.Errorf("%s: got %s", region, got)
		}
		if got := Policy(Config{Region: region, Tables: []string{"rtb-1"}}, "123456789012"); !strings.Contains(got, `"`+want+`"`) {
			t.Errorf("%s: the policy is %s", region, got)
		}
	}
}

// Nothing may be written on everything, nor on what is not tagged.
func TestPolicyHasNoWildcardForWrites(t *testing.T) {
	c := Config{Region: "us-west-2", Tables: []string{"rtb-1"}, Lists: Lists{Managed: "pods"}, ManageCheck: true, Interface: "eni-1"}
	for _, part := range strings.Split(Policy(c, ""), `"Sid"`)[1:] {
		writes := false
		for _, action := range []string{"Route\"", "Create", "Modify", "Delete", "Replace"} {
			writes = writes || strings.Contains(part, action)
		}
		wild := strings.Contains(part, "\"*\"")
		if writes && (wild || !strings.Contains(part, "Condition")) {
			t.Errorf("this lets too much be written: %s", part)
		}
	}
}
