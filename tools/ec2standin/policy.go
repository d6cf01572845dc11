package ec2standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Policy is an identity-based IAM policy.
type Policy struct{ statements []statement }

type statement struct {
	sid        string
	deny       bool
	actions    patterns
	resources  patterns
	conditions []condition
}

// patterns are wildcard patterns of which one must match, or none if not.
type patterns struct {
	not  bool
	list []string
}

func (p patterns) matches(match func(pattern string) bool) bool {
	return slices.ContainsFunc(p.list, match) != p.not
}

// ParsePolicy reads an IAM policy document. What the stand-in could not
// enforce is an error: an element that identity-based policies do not have, an
// operator it does not know (it knows those for strings, ARNs and booleans,
// and Null, with IfExists, ForAnyValue and ForAllValues), a policy variable.
func ParsePolicy(document []byte) (Policy, error) {
	p, err := parsePolicy(document)
	if err != nil {
		return Policy{}, fmt.Errorf("ec2standin: policy: %w", err)
	}
	return p, nil
}

func parsePolicy(document []byte) (Policy, error) {
	top, err := object(document, "Version", "Id", "Statement")
	if err != nil {
		return Policy{}, err
	}
	if raw, given := top["Version"]; given {
		var v string
		if err := json.Unmarshal(raw, &v); err != nil || v != "2012-10-17" && v != "2008-10-17" {
			return Policy{}, fmt.Errorf("version %s: must be 2012-10-17 or 2008-10-17", raw)
		}
	}
	var list []json.RawMessage
	if raw := top["Statement"]; json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	if len(top["Statement"]) == 0 || len(list) == 0 {
		return Policy{}, errors.New("no statement")
	}
	var p Policy
	for i, raw := range list {
		s, err := parseStatement(raw)
		if err != nil {
			return Policy{}, fmt.Errorf("statement %d: %w", i+1, err)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

// object reads a JSON object that has no other members than these.
func object(raw json.RawMessage, members ...string) (map[string]json.RawMessage, error) {
	var out map[string]json.RawMessage
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, err
	}
	for name := range out {
		if len(members) > 0 && !slices.Contains(members, name) {
			return nil, fmt.Errorf("element %q: not in an identity-based policy", name)
		}
	}
	return out, nil
}

func parseStatement(raw json.RawMessage) (statement, error) {
	var s statement
	o, err := object(raw, "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if err != nil {
		return s, err
	}
	if sid, given := o["Sid"]; given {
		if err := json.Unmarshal(sid, &s.sid); err != nil {
			return s, fmt.Errorf("element Sid: %w", err)
		}
	}
	var effect string
	if err := json.Unmarshal(o["Effect"], &effect); err != nil || effect != "Allow" && effect != "Deny" {
		return s, fmt.Errorf("effect %s: must be Allow or Deny", o["Effect"])
	}
	s.deny = effect == "Deny"
	if s.actions, err = parsePatterns(o, "Action", checkAction); err != nil {
		return s, err
	}
	if s.resources, err = parsePatterns(o, "Resource", checkResource); err != nil {
		return s, err
	}
	if c, given := o["Condition"]; given {
		s.conditions, err = parseConditions(c)
	}
	return s, err
}

// parsePatterns reads an element or its opposite, of which there is one.
func parsePatterns(o map[string]json.RawMessage, name string, check func(string) error) (patterns, error) {
	raw, given := o[name]
	not, notGiven := o["Not"+name]
	if given == notGiven {
		return patterns{}, fmt.Errorf("must have one of %s and Not%s", name, name)
	}
	if notGiven {
		raw = not
	}
	list, err := oneOrMany(raw)
	if err != nil {
		return patterns{}, fmt.Errorf("element %s: %w", name, err)
	}
	for _, p := range list {
		if err := check(p); err != nil {
			return patterns{}, fmt.Errorf("%s %q: %w", strings.ToLower(name), p, err)
		}
	}
	return patterns{not: notGiven, list: list}, nil
}

func checkAction(p string) error {
	if service, name, ok := strings.Cut(p, ":"); p != "*" && (!ok || service == "" || name == "") {
		return errors.New("must be * or service:action")
	}
	return nil
}

func checkResource(p string) error {
	parts := arnParts(p)
	if p != "*" && (len(parts) != 6 || parts[0] != "arn") {
		return errors.New("must be * or an ARN")
	}
	return noVariables(p)
}

func noVariables(s string) error {
	if strings.Contains(s, "${") {
		return errors.New("policy variables are not supported")
	}
	return nil
}

// oneOrMany reads a string or a list of strings; booleans and numbers count as
// their text.
func oneOrMany(raw json.RawMessage) ([]string, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	var out []string
	for _, item := range list {
		var s string
		if json.Unmarshal(item, &s) != nil {
			if s = string(item); s == "null" || strings.ContainsAny(s, `{["`) {
				return nil, fmt.Errorf("%s: must be a string or a list of strings", raw)
			}
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, errors.New("must not be empty")
	}
	return out, nil
}

// arnParts splits an ARN into its six parts; the last may contain colons.
func arnParts(s string) []string { return strings.SplitN(s, ":", 6) }

// matchARN matches part by part, so that no wildcard reaches over a colon,
// except in the last.
func matchARN(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}
	p, a := arnParts(pattern), arnParts(arn)
	return len(p) == len(a) && slices.EqualFunc(p, a, wildcard)
}

// wildcard matches IAM's wildcards: * for any text, ? for any one character.
func wildcard(pattern, s string) bool {
	star, retry := -1, 0 // position after the last *, and where it stopped to match
	p, i := 0, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			p++
			star, retry = p, i
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			retry++
			p, i = star, retry
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
