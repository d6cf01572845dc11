package ec2standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// condition is one operator applied to one key.
type condition struct {
	operator
	key    string // lower case: names of keys do not depend on it
	values []string
}

type operator struct {
	match    func(want, have string) bool
	negated  bool
	null     bool // Null: asks whether the key is there
	ifExists bool // true when the key is not there
	set      setOperator
}

// setOperator says how an operator treats a key with several values.
type setOperator int

const (
	single setOperator = iota
	forAnyValue
	forAllValues
)

// operators are those of which the stand-in knows the meaning.
func operators() map[string]operator {
	equal := func(a, b string) bool { return a == b }
	return map[string]operator{
		"StringEquals":              {match: equal},
		"StringNotEquals":           {match: equal, negated: true},
		"StringEqualsIgnoreCase":    {match: strings.EqualFold},
		"StringNotEqualsIgnoreCase": {match: strings.EqualFold, negated: true},
		"StringLike":                {match: wildcard},
		"StringNotLike":             {match: wildcard, negated: true},
		"ArnEquals":                 {match: matchARN},
		"ArnLike":                   {match: matchARN},
		"ArnNotEquals":              {match: matchARN, negated: true},
		"ArnNotLike":                {match: matchARN, negated: true},
		"Bool":                      {match: strings.EqualFold},
		"Null":                      {null: true},
	}
}

func parseOperator(name string) (operator, error) {
	base, set := name, single
	if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		base, set = rest, forAnyValue
	} else if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		base, set = rest, forAllValues
	}
	base, ifExists := strings.CutSuffix(base, "IfExists")
	o, known := operators()[base]
	if !known || o.null && (ifExists || set != single) {
		return operator{}, fmt.Errorf("operator %q: not supported", name)
	}
	o.set, o.ifExists = set, ifExists
	return o, nil
}

func parseConditions(raw json.RawMessage) ([]condition, error) {
	var byOperator map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &byOperator); err != nil {
		return nil, fmt.Errorf("element Condition: %w", err)
	}
	var out []condition
	for _, name := range slices.Sorted(maps.Keys(byOperator)) {
		o, err := parseOperator(name)
		if err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(byOperator[name])) {
			values, err := oneOrMany(byOperator[name][key])
			if err == nil {
				err = errors.Join(noVariables(key), noVariables(strings.Join(values, " ")))
			}
			if err != nil {
				return nil, fmt.Errorf("condition %s of %s: %w", name, key, err)
			}
			out = append(out, condition{operator: o, key: strings.ToLower(key), values: values})
		}
	}
	return out, nil
}

// holds evaluates a condition on the keys of a request.
func (c condition) holds(keys map[string][]string) bool {
	have, there := keys[c.key]
	if c.null {
		return slices.ContainsFunc(c.values, func(v string) bool { return strings.EqualFold(v, fmt.Sprint(!there)) })
	}
	if !there && c.ifExists {
		return true
	}
	one := func(value string) bool {
		return slices.ContainsFunc(c.values, func(want string) bool { return c.match(want, value) }) != c.negated
	}
	switch {
	case c.set == forAllValues:
		return !slices.ContainsFunc(have, func(v string) bool { return !one(v) })
	case !there:
		return c.negated && c.set == single
	default:
		return slices.ContainsFunc(have, one)
	}
}

// access is one permission that a call needs.
type access struct {
	action   string              // for example "ec2:ReplaceRoute"
	resource string              // ARN; "*" for actions that know no resources
	keys     map[string][]string // condition keys, names in lower case
}

func (s statement) applies(a access) bool {
	return s.actions.matches(func(p string) bool { return wildcard(strings.ToLower(p), strings.ToLower(a.action)) }) &&
		s.resources.matches(func(p string) bool { return matchARN(p, a.resource) }) &&
		!slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(a.keys) })
}

// ruling is what policies say about an access.
type ruling int

const (
	deniedByDefault ruling = iota
	deniedExplicitly
	allowed
)

// rule evaluates an access: one statement that denies it decides, else one
// that allows it.
func rule(policies []Policy, a access) (ruling, statement) {
	out, by := deniedByDefault, statement{}
	for _, p := range policies {
		for _, s := range p.statements {
			switch {
			case !s.applies(a):
			case s.deny:
				return deniedExplicitly, s
			default:
				out, by = allowed, s
			}
		}
	}
	return out, by
}
