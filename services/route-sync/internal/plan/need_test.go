package plan

import (
	"strings"
	"testing"
)

// All gateways share a role, so that a policy with the interface of one of them only would stop the others.
func TestPolicyNamesInterfacesOnceAllAreKnown(t *testing.T) {
	const any, own, other = ":network-interface/*", ":network-interface/eni-1", ":network-interface/eni-2"
	c := Config{Region: "us-west-2", Tables: []string{"rtb-1"}, ManageCheck: true, Interface: "eni-1"}
	if got := Policy(c, "123456789012"); !strings.Contains(got, any) || strings.Contains(got, own) {
		t.Errorf("of a gateway that does not know the others: %s", got)
	}
	c.Gateways = []string{"eni-2", "eni-1"}
	if got := Policy(c, "123456789012"); strings.Contains(got, any) || strings.Count(got, own+`"`) != 1 || strings.Count(got, other+`"`) != 1 {
		t.Errorf("of one that does: %s", got)
	}
}
