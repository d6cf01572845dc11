package ec2standin

import (
	"cmp"
	"fmt"
	"maps"
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

// destination returns what the one destination given names: a prefix, host
// bits cleared, or the id of a prefix list.
func (p params) destination() (destination, *apiError) {
	var given []string
	for _, name := range destinationParameters() {
		if p.text(name) != "" {
			given = append(given, name)
		}
	}
	switch len(given) {
	case 1:
	case 0:
		return destination{}, errorf(codeMissingParameter,
			"The request must contain the parameter destinationCidrBlock, destinationIpv6CidrBlock or destinationPrefixListId")
	default:
		return destination{}, errorf(codeParameterCombination, "The request must contain exactly one of %s",
			strings.Join(destinationParameters(), ", "))
	}
	value := p.text(given[0])
	switch given[0] {
	case "DestinationPrefixListId":
		return destination{list: value}, nil
	case "DestinationCidrBlock":
		c, err := parseCIDR(value, given[0], netip.Addr.Is4)
		return destination{prefix: c}, err
	default:
		c, err := parseCIDR(value, given[0], netip.Addr.Is6)
		return destination{prefix: c}, err
	}
}

func parseCIDR(value, name string, family func(netip.Addr) bool) (netip.Prefix, *apiError) {
	c, err := netip.ParsePrefix(value)
	if err != nil || !family(c.Addr()) {
		return netip.Prefix{}, invalidValue(value, name, "This is not a valid CIDR block.")
	}
	return c.Masked(), nil
}

// integer returns a parameter that is a whole number of at least least, and
// whether it was given.
func (p params) integer(name string, least int64) (value int64, given bool, err *apiError) {
	v := p.text(name)
	if v == "" {
		return 0, false, nil
	}
	n, convErr := strconv.ParseInt(v, 10, 64)
	if convErr != nil || n < least {
		return 0, true, invalidValue(v, name, fmt.Sprintf("Expecting a number of at least %d.", least))
	}
	return n, true, nil
}

// structures returns a list of structures: for each, its members by name.
func (p params) structures(name string) ([]params, *apiError) {
	byIndex := map[int]params{}
	for k, v := range p.form {
		rest, ok := strings.CutPrefix(k, name+".")
		if !ok || len(v) == 0 {
			continue
		}
		index, member, _ := strings.Cut(rest, ".")
		i, err := strconv.Atoi(index)
		if err != nil || member == "" {
			return nil, errorf(codeUnknownParameter, "The parameter %s is not recognized", k)
		}
		if byIndex[i].form == nil {
			byIndex[i] = params{url.Values{}}
		}
		byIndex[i].form[member] = v
	}
	out := make([]params, 0, len(byIndex))
	for _, i := range slices.Sorted(maps.Keys(byIndex)) {
		out = append(out, byIndex[i])
	}
	return out, nil
}
