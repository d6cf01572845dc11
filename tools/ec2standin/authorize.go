package ec2standin

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// SetPolicies lets an access key do only what these policies allow, from the
// next call on; without any policy, nothing. A key that no policies have been
// set for may do everything. DryRun calls are judged like others.
//
// Actions need permission for the resources that the Service Authorization
// Reference lists as required; a resource that does not exist has no tags.
func (s *Server) SetPolicies(accessKey string, policies ...Policy) {
	s.identities.Store(accessKey, slices.Clone(policies))
}

// ClearPolicies lets an access key do everything again.
func (s *Server) ClearPolicies(accessKey string) { s.identities.Delete(accessKey) }

// identities are the policies by access key.
type identities struct{ sync.Map }

func (i *identities) of(accessKey string) ([]Policy, bool) {
	v, ok := i.Load(accessKey)
	if !ok {
		return nil, false
	}
	return v.([]Policy), true
}

// authorize refuses a call that its access key's policies do not allow.
func (s *Server) authorize(accessKey, name string, a action, r *request) *apiError {
	policies, limited := s.identities.of(accessKey)
	if !limited {
		return nil
	}
	needs := []access{{resource: "*"}}
	if a.needs != nil {
		needs = a.needs(r, s.head.Load().state)
	}
	for _, n := range needs {
		n.action = "ec2:" + orElse(n.action, name)
		n.keys = cloned(n.keys)
		n.keys["ec2:region"], n.keys["aws:requestedregion"] = []string{s.config.Region}, []string{s.config.Region}
		n.keys["aws:principalaccount"] = []string{s.config.AccountID}
		if ruled, by := rule(policies, n); ruled != allowed {
			return s.unauthorized(accessKey, n, ruled, by)
		}
	}
	return nil
}

// unauthorized is EC2's answer to what policies do not allow: who, what, on
// what, why, and the decision in a form that only AWS can decode. The
// stand-in's is the base64 of the JSON that decoding gives.
func (s *Server) unauthorized(accessKey string, a access, ruled ruling, by statement) *apiError {
	user := fmt.Sprintf("arn:%s:iam::%s:user/%s", s.partition(), s.config.AccountID, accessKey)
	on, why := "", "because no identity-based policy allows the "+a.action+" action"
	if a.resource != "*" {
		on = " on resource: " + a.resource
	}
	if ruled == deniedExplicitly {
		why = "with an explicit deny in an identity-based policy"
	}
	decision, err := json.Marshal(map[string]any{
		"allowed": false, "explicitDeny": ruled == deniedExplicitly, "matchedStatements": by.sid,
		"context": map[string]any{"principal": user, "action": a.action, "resource": a.resource, "conditions": a.keys},
	})
	if err != nil {
		return errorf(codeInternalError, "encode the decision: %v", err)
	}
	return errorf("UnauthorizedOperation",
		"You are not authorized to perform this operation. User: %s is not authorized to perform: %s%s %s. Encoded authorization failure message: %s",
		user, a.action, on, why, base64.RawURLEncoding.EncodeToString(decision))
}

// needsOf is for actions that need permission for what a parameter names.
func needsOf(parameter string) func(*request, *state) []access {
	return func(r *request, st *state) []access {
		return []access{r.server.accessTo(st, r.text(parameter))}
	}
}

// accessTo describes a thing to policies.
func (s *Server) accessTo(st *state, id string) access {
	k, err := s.kindOf(id)
	if err != nil {
		return access{resource: "*"} // parse has refused it
	}
	a := access{resource: s.arn(k.kind, id), keys: map[string][]string{}}
	tags, _ := k.tags(st, id)
	for key, value := range tags {
		for _, name := range []string{"aws:resourcetag/", "ec2:resourcetag/"} {
			a.keys[name+strings.ToLower(key)] = []string{value}
		}
	}
	vpc, subnet := "", ""
	switch k.kind {
	case "route-table":
		vpc = st.tables[id].VPC
		a.keys["ec2:routetableid"] = []string{id}
	case "subnet":
		vpc = st.subnets[id].VPC
		a.keys["ec2:subnetid"] = []string{id}
	case "network-interface":
		subnet = st.enis[id].Subnet
		vpc = st.subnets[subnet].VPC
		a.keys["ec2:networkinterfaceid"] = []string{id}
	}
	if vpc != "" {
		a.keys["ec2:vpc"] = []string{s.arn("vpc", vpc)}
	}
	if subnet != "" {
		a.keys["ec2:subnet"] = []string{s.arn("subnet", subnet)}
		a.keys["ec2:availabilityzone"] = []string{st.subnets[subnet].Zone}
	}
	return a
}

// withRequestTags adds the keys about tags that a call gives.
func (a access) withRequestTags(tags map[string]string) access {
	a.keys = cloned(a.keys)
	for key, value := range tags {
		a.keys["aws:requesttag/"+strings.ToLower(key)] = []string{value}
	}
	if len(tags) > 0 {
		a.keys["aws:tagkeys"] = slices.Sorted(maps.Keys(tags))
	}
	return a
}

// needsToCreateList is for a list that has no id yet: permission to create
// any, and to tag it if the call does.
func needsToCreateList(r *request, _ *state) []access {
	tags, err := r.tagSpecification("prefix-list")
	if err != nil {
		return nil // parse has refused it
	}
	create := access{resource: r.server.arn("prefix-list", "*")}.withRequestTags(tags)
	if len(tags) == 0 {
		return []access{create}
	}
	tag := create
	tag.action = "CreateTags"
	tag.keys = cloned(tag.keys)
	tag.keys["ec2:createaction"] = []string{"CreateManagedPrefixList"}
	return []access{create, tag}
}

// needsToTag is for CreateTags and DeleteTags: permission for each thing.
func needsToTag(r *request, st *state) []access {
	tags := map[string]string{}
	if pairs, err := r.structures("Tag"); err == nil {
		for _, t := range pairs {
			tags[t.text("Key")] = t.text("Value")
		}
	}
	var out []access
	for _, id := range r.list("ResourceId") {
		out = append(out, r.server.accessTo(st, id).withRequestTags(tags))
	}
	return out
}
