package ec2policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestPartitions(t *testing.T) {
	for region, want := range map[string]string{
		"us-west-2":     "arn:aws:ec2:us-west-2:123456789012:route-table/rtb-1",
		"cn-north-1":    "arn:aws-cn:ec2:cn-north-1:123456789012:route-table/rtb-1",
		"us-gov-west-1": "arn:aws-us-gov:ec2:us-gov-west-1:123456789012:route-table/rtb-1",
	} {
		if got := ARN(region, "123456789012", Table, "rtb-1"); got != want {
			t.Errorf("%s: got %s", region, got)
		}
		if got := (Config{Region: region, Account: "123456789012", Tables: []string{"rtb-1"}}).Document(); !strings.Contains(got, `"`+want+`"`) {
			t.Errorf("%s: the policy is %s", region, got)
		}
	}
}

// Whatever may be changed is named, or has a tag of ours.
func TestNoWildcardForWrites(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"CIDRs":                        func(*Config) {},
		"managed lists":                func(c *Config) { c.ManageLists = true },
		"checks":                       func(c *Config) { c.ManageCheck = true },
		"checks of known interfaces":   func(c *Config) { c.ManageCheck, c.Interfaces = true, []string{"eni-1", "eni-2"} },
		"all, and nothing read so far": func(c *Config) { c.ManageLists, c.ManageCheck, c.Account = true, true, "" },
	} {
		t.Run(name, func(t *testing.T) {
			c := Config{Region: "us-west-2", Account: "123456789012", Tables: []string{"rtb-1", "rtb-2"}}
			change(&c)
			var d document
			if err := json.Unmarshal([]byte(c.Document()), &d); err != nil {
				t.Fatal(err)
			}
			writes := 0
			for _, s := range d.Statement {
				if !slices.ContainsFunc(s.Action, changes) {
					continue
				}
				writes++
				if wild := wildcards(s); len(wild) > 0 && !s.tagged() || slices.Contains(wild, "*") {
					t.Errorf("%s lets %v be done on %v, whatever they are", s.Sid, s.Action, wild)
				}
			}
			if writes == 0 {
				t.Error("nothing may be changed")
			}
		})
	}
}

// What has an id in the configuration is named by it.
func TestKnownIDsAreNamed(t *testing.T) {
	c := Config{Region: "us-west-2", Account: "123456789012", Tables: []string{"rtb-1"}, ManageCheck: true, Interfaces: []string{"eni-1"}}
	var d document
	if err := json.Unmarshal([]byte(c.Document()), &d); err != nil {
		t.Fatal(err)
	}
	for _, s := range d.Statement {
		if wild := wildcards(s); slices.ContainsFunc(s.Action, changes) && len(wild) > 0 {
			t.Errorf("%s: %v", s.Sid, wild)
		}
	}
}

func changes(action string) bool {
	verb := strings.TrimPrefix(action, "ec2:")
	return !strings.HasPrefix(verb, "Describe") && !strings.HasPrefix(verb, "Get")
}

func wildcards(s statement) (wild []string) {
	for _, r := range s.Resource {
		if strings.ContainsAny(r, "*?") {
			wild = append(wild, r)
		}
	}
	return wild
}

// tagged tells whether a statement asks for a tag of ours.
func (s statement) tagged() bool {
	for _, prefix := range []string{"aws:ResourceTag/", "aws:RequestTag/"} {
		if s.Condition["StringEquals"][prefix+GatewayTag] == "true" {
			return true
		}
	}
	return false
}
