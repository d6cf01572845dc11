package ec2standin

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// params are the parameters of one call, names as on the wire: a list
// "Name.1", "Name.2"…, a structure "Name.Member".
type params struct{ form url.Values }

// check refuses parameters the action does not take.
func (p params) check(accepted, unsupported []string) *apiError {
	for _, name := range sortedKeys(p.form) {
		base, _, _ := strings.Cut(name, ".")
		switch {
		case base == "Action" || base == "Version" || base == "DryRun" || slices.Contains(accepted, base):
		case slices.Contains(unsupported, base):
			return errorf(codeUnsupported, "The parameter %s is not supported by the stand-in", base)
		default:
			return errorf(codeUnknownParameter, "The parameter %s is not recognized", base)
		}
	}
	return nil
}

func sortedKeys(v url.Values) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// lower is a parameter's name as EC2 writes it in messages.
func lower(name string) string { return strings.ToLower(name[:1]) + name[1:] }

// text returns a parameter, empty when it was not given.
func (p params) text(name string) string { return p.form.Get(name) }

// required returns a parameter that must be given.
func (p params) required(name string) (string, *apiError) {
	if v := p.text(name); v != "" {
		return v, nil
	}
	return "", errorf(codeMissingParameter, "The request must contain the parameter %s", lower(name))
}

// boolean returns a parameter that is true or false, and whether it was given.
func (p params) boolean(name string) (value, given bool, err *apiError) {
	switch v := p.text(name); strings.ToLower(v) {
	case "":
		return false, false, nil
	case "true":
		return true, true, nil
	case "false":
		return false, true, nil
	default:
		return false, false, invalidValue(v, name, "Expecting true or false.")
	}
}

func invalidValue(value, name, why string) *apiError {
	return errorf(codeInvalidParameter, "Value (%s) for parameter %s is invalid. %s", value, lower(name), why)
}

// list returns the values of a list, in the order of their indices.
func (p params) list(name string) []string {
	type item struct {
		index int
		value string
	}
	var items []item
	for k, v := range p.form {
		rest, ok := strings.CutPrefix(k, name+".")
		if !ok {
			continue
		}
		if i, err := strconv.Atoi(rest); err == nil && len(v) > 0 {
			items = append(items, item{i, v[0]})
		}
	}
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.index, b.index) })
	out := make([]string, len(items))
	for i, it := range items {
		out[i] = it.value
	}
	return out
}

// filters returns the filters by name; values given twice under a name join.
func (p params) filters() (map[string][]string, *apiError) {
	out := map[string][]string{}
	for k := range p.form {
		rest, ok := strings.CutPrefix(k, "Filter.")
		if !ok {
			continue
		}
		index, member, _ := strings.Cut(rest, ".")
		if _, err := strconv.Atoi(index); err != nil {
			return nil, errorf(codeUnknownParameter, "The parameter %s is not recognized", k)
		}
		if member != "Name" {
			continue
		}
		name := p.text(k)
		values := p.list("Filter." + index + ".Value")
		if len(values) == 0 {
			return nil, errorf(codeInvalidParameter, "The filter '%s' has no values", name)
		}
		out[name] = append(out[name], values...)
	}
	if len(out) == 0 && slices.ContainsFunc(sortedKeys(p.form), func(k string) bool { return strings.HasPrefix(k, "Filter.") }) {
		return nil, errorf(codeInvalidParameter, "The filter 'null' is invalid")
	}
	return out, nil
}

// destination returns the prefix that DestinationCidrBlock or
// DestinationIpv6CidrBlock names, host bits cleared.
func (p params) destination() (netip.Prefix, *apiError) {
	v4, v6 := p.text("DestinationCidrBlock"), p.text("DestinationIpv6CidrBlock")
	switch {
	case v4 != "" && v6 != "":
		return netip.Prefix{}, errorf(codeParameterCombination,
			"The request must contain exactly one of destinationCidrBlock and destinationIpv6CidrBlock")
	case v4 != "":
		return parseCIDR(v4, "DestinationCidrBlock", netip.Addr.Is4)
	case v6 != "":
		return parseCIDR(v6, "DestinationIpv6CidrBlock", netip.Addr.Is6)
	default:
		return netip.Prefix{}, errorf(codeMissingParameter,
			"The request must contain the parameter destinationCidrBlock or destinationIpv6CidrBlock")
	}
}

func parseCIDR(value, name string, family func(netip.Addr) bool) (netip.Prefix, *apiError) {
	c, err := netip.ParsePrefix(value)
	if err != nil || !family(c.Addr()) {
		return netip.Prefix{}, invalidValue(value, name, "This is not a valid CIDR block.")
	}
	return c.Masked(), nil
}
