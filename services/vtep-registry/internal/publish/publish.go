// Package publish decides what the CiliumVTEPConfig that tells on-premises nodes where the
// VPC is must say, and whether this gateway may write it now. It is pure.
//
// The object belongs to the gateway that holds the leadership record. It carries the
// epoch it was written under, so that a gateway that has lost the record, but does
// not know it yet, never undoes what its successor wrote: an object of a newer epoch is
// left alone, and every write names the version of the object it was decided on, which
// the API server checks.
package publish

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// MaxEndpoints is how many endpoints Cilium takes per node
// (https://docs.cilium.io, VXLAN Tunnel Endpoint integration), and the CRD per object.
const MaxEndpoints = 8

// Endpoint is one entry of the object as it is written there: unchecked text.
type Endpoint struct {
	Name           string
	TunnelEndpoint string
	CIDR           string
	MAC            string
}

// Object is a CiliumVTEPConfig as last seen.
type Object struct {
	Name    string
	Version string // the resourceVersion
	// Epoch and Gateway are the annotations as written; empty when absent.
	Epoch   string
	Gateway string
	// Endpoints are empty when the object's spec cannot be read.
	Endpoints []Endpoint
	// Flaw says what else in the spec is not as it should be; empty when nothing.
	Flaw string
	// Reports are what Cilium says about the object's endpoints, where it says it in the object.
	Reports []Report
}

// Leadership is what this gateway knows of the record.
type Leadership struct {
	Epoch uint64
	// Active is true while this gateway holds the record and the time until which it may
	// write has not passed.
	Active bool
	// Gateway, VTEP and MAC describe the holder.
	Gateway string
	VTEP    netip.Addr
	MAC     netaddr.MAC
}

// Content is what the object is to say.
type Content struct {
	Epoch     uint64
	Gateway   string
	Endpoints []Endpoint
}

// Verdict says what to do about the object.
type Verdict uint8

// The verdicts.
const (
	Nothing    Verdict = iota // the object is as it should be, or is not ours to write
	Create                    // the object is missing
	Update                    // the object of the given version is wrong
	Newer                     // the object was written under a newer epoch than ours, so it stays
	Incomplete                // we lead, but the record does not tell our address and MAC
)

func (v Verdict) String() string {
	return [...]string{"nothing", "create", "update", "newer", "incomplete"}[v]
}

// Decision is a verdict with what its execution needs.
type Decision struct {
	Verdict Verdict
	Version string // of the object to update
	// Fresh is true when Cilium gets to see other endpoints than before.
	Fresh   bool
	Content Content
	// Reason says in what the object differs, or why nothing can be written.
	Reason string
}

// Decide compares what the object of our name is (nil when there is none) with what it
// should be.
func Decide(l Leadership, vpc []netip.Prefix, actual *Object) Decision {
	if !l.Active {
		return Decision{Reason: "this gateway is not active"}
	}
	if !l.VTEP.Is4() || l.MAC.IsZero() {
		return Decision{Verdict: Incomplete, Reason: fmt.Sprintf("the record of epoch %d does not tell this gateway's address and MAC", l.Epoch)}
	}
	want := Content{Epoch: l.Epoch, Gateway: l.Gateway, Endpoints: endpoints(l, vpc)}
	if actual == nil {
		return Decision{Verdict: Create, Fresh: true, Content: want, Reason: "it does not exist"}
	}
	// An epoch that is no number was not written by a gateway.
	epoch, err := strconv.ParseUint(actual.Epoch, 10, 64)
	if err == nil && epoch > l.Epoch {
		return Decision{Verdict: Newer, Reason: fmt.Sprintf("it was written by gateway %q under epoch %d, ours is %d", actual.Gateway, epoch, l.Epoch)}
	}
	reason := difference(actual, want)
	if reason == "" {
		return Decision{}
	}
	return Decision{Verdict: Update, Fresh: !sameEndpoints(actual.Endpoints, want.Endpoints), Version: actual.Version, Content: want, Reason: reason}
}

// endpoints are one per network of the VPC: vpc-gateway, or vpc-gateway-0, -1, … .
func endpoints(l Leadership, vpc []netip.Prefix) []Endpoint {
	list := make([]Endpoint, 0, len(vpc))
	for i, p := range vpc {
		list = append(list, Endpoint{Name: EndpointName(i, len(vpc)), TunnelEndpoint: l.VTEP.String(), CIDR: p.String(), MAC: l.MAC.String()})
	}
	return list
}

// EndpointName is the name of the i-th of n endpoints.
func EndpointName(i, n int) string {
	if n == 1 {
		return "vpc-gateway"
	}
	return "vpc-gateway-" + strconv.Itoa(i)
}

func sameEndpoints(actual, want []Endpoint) bool {
	return len(actual) == len(want) && !slices.ContainsFunc(want, func(e Endpoint) bool { return !slices.ContainsFunc(actual, e.same) })
}

// difference is "" when the object says what it should. The order of endpoints means
// nothing: the list is a map keyed by name.
func difference(actual *Object, want Content) string {
	if actual.Epoch != strconv.FormatUint(want.Epoch, 10) || actual.Gateway != want.Gateway {
		return fmt.Sprintf("it was written by gateway %q under epoch %q", actual.Gateway, actual.Epoch)
	}
	for _, e := range want.Endpoints {
		if !slices.ContainsFunc(actual.Endpoints, e.same) {
			return fmt.Sprintf("endpoint %s is missing or was changed", e.Name)
		}
	}
	if len(actual.Endpoints) != len(want.Endpoints) {
		return "it has endpoints that are not ours"
	}
	return actual.Flaw
}

func (e Endpoint) same(o Endpoint) bool {
	return e.Name == o.Name && e.TunnelEndpoint == o.TunnelEndpoint && e.CIDR == o.CIDR && strings.EqualFold(e.MAC, o.MAC)
}

// Conflict is another object that claims some of what ours does.
type Conflict struct {
	Object   string
	Endpoint string
	CIDR     netip.Prefix
	// VPC is the network of ours that CIDR overlaps. When they are equal Cilium applies
	// neither object; otherwise the longer prefix wins.
	VPC netip.Prefix
}

// Conflicts finds them among all objects but ours, sorted by object and endpoint.
func Conflicts(ours string, vpc []netip.Prefix, objects []Object) []Conflict {
	var found []Conflict
	for _, o := range objects {
		if o.Name == ours {
			continue
		}
		for _, e := range o.Endpoints {
			cidr, err := netip.ParsePrefix(e.CIDR)
			if err != nil {
				continue // Cilium does not apply it either
			}
			for _, p := range vpc {
				if p.Overlaps(cidr) {
					found = append(found, Conflict{Object: o.Name, Endpoint: e.Name, CIDR: cidr.Masked(), VPC: p})
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b Conflict) int { return strings.Compare(a.String(), b.String()) })
	return found
}

// String is the conflict as one line.
func (c Conflict) String() string {
	what := "the longer prefix wins"
	if c.CIDR == c.VPC {
		what = "Cilium applies neither"
	}
	return fmt.Sprintf("CiliumVTEPConfig %s endpoint %s claims %s, which overlaps the VPC's %s: %s", c.Object, c.Endpoint, c.CIDR, c.VPC, what)
}
