package agent

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

// verdict is what becomes of one endpoint of an object; an empty problem means
// that it is in the node's map.
type verdict struct {
	object, name string
	endpoint     onprem.Endpoint
	problem      string
}

// resolve reads the objects, and decides which endpoints apply.
func resolve(objects []*unstructured.Unstructured) []verdict {
	var all []verdict
	for _, o := range objects {
		list, _, err := unstructured.NestedSlice(o.Object, "spec", "endpoints")
		if err != nil {
			continue // an API server with the CRD does not let this in
		}
		for _, item := range list {
			fields, _ := item.(map[string]any)
			all = append(all, parse(o.GetName(), fields))
		}
	}
	claims := map[netip.Prefix]int{}
	for _, v := range all {
		if v.problem == "" {
			claims[v.endpoint.CIDR]++
		}
	}
	for i, v := range all {
		if v.problem == "" && claims[v.endpoint.CIDR] > 1 {
			all[i].problem = fmt.Sprintf("cidr %s is claimed more than once", v.endpoint.CIDR)
		}
	}
	slices.SortFunc(all, func(a, b verdict) int {
		return cmp.Or(cmp.Compare(a.object, b.object), cmp.Compare(a.name, b.name))
	})
	return all
}

func parse(object string, fields map[string]any) verdict {
	text := func(key string) string { s, _ := fields[key].(string); return s }
	v := verdict{object: object, name: text("name")}
	cidr, err := netip.ParsePrefix(text("cidr"))
	if err != nil || !cidr.Addr().Is4() {
		v.problem = fmt.Sprintf("cidr %q is not an IPv4 prefix", text("cidr"))
		return v
	}
	tunnel, err := netip.ParseAddr(text("tunnelEndpoint"))
	if err != nil || !tunnel.Is4() {
		v.problem = fmt.Sprintf("tunnelEndpoint %q is not an IPv4 address", text("tunnelEndpoint"))
		return v
	}
	mac, err := net.ParseMAC(text("mac"))
	if err != nil || len(mac) != 6 {
		v.problem = fmt.Sprintf("mac %q is not a MAC address", text("mac"))
		return v
	}
	v.endpoint = onprem.Endpoint{CIDR: cidr.Masked(), TunnelEndpoint: tunnel, MAC: mac}
	return v
}

// endpoints are those that apply.
func endpoints(all []verdict) []onprem.Endpoint {
	var list []onprem.Endpoint
	for _, v := range all {
		if v.problem == "" {
			list = append(list, v.endpoint)
		}
	}
	return list
}

// report is an object's status as this agent sees it.
type report map[string]string // endpoint name -> problem, "" when synced

// reports sorts verdicts by object; failed is what kept the map from being
// written, nil if nothing did.
func reports(all []verdict, failed error) map[string]report {
	byObject := map[string]report{}
	for _, v := range all {
		if byObject[v.object] == nil {
			byObject[v.object] = report{}
		}
		problem := v.problem
		if problem == "" && failed != nil {
			problem = failed.Error()
		}
		byObject[v.object][v.name] = problem
	}
	return byObject
}

// reported reads an object's status.
func reported(o *unstructured.Unstructured) report {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "endpointStatuses")
	r := report{}
	for _, item := range list {
		fields, _ := item.(map[string]any)
		name, _ := fields["name"].(string)
		problem, _ := fields["error"].(string)
		if synced, _ := fields["synced"].(bool); !synced && problem == "" {
			problem = "not synced"
		}
		r[name] = problem
	}
	return r
}

// names tells whether two reports are about the same endpoints.
func (r report) names(o report) bool {
	if len(r) != len(o) {
		return false
	}
	for name := range r {
		if _, ok := o[name]; !ok {
			return false
		}
	}
	return true
}
