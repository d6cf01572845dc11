package ec2standin

import (
	"maps"
	"slices"
	"strings"
)

const (
	maxTags     = 50 // of one thing
	maxTagKey   = 127
	maxTagValue = 255
)

// tagged is a thing that can have tags.
type tagged struct {
	resource
	kind string // as in ARNs and DescribeTags
	tags func(st *state, id string) (tags map[string]string, exists bool)
	set  func(st *state, id string, tags map[string]string)
}

// taggable lists the kinds of things that can have tags.
func (s *Server) taggable() []tagged {
	return []tagged{
		taggedKind(vpcResource(), "vpc", func(st *state) map[string]VPC { return st.vpcs }, func(v *VPC) *map[string]string { return &v.Tags }),
		taggedKind(subnetResource(), "subnet", func(st *state) map[string]Subnet { return st.subnets }, func(v *Subnet) *map[string]string { return &v.Tags }),
		taggedKind(s.routeTableResource(), "route-table", func(st *state) map[string]table { return st.tables }, func(v *table) *map[string]string { return &v.Tags }),
		taggedKind(instanceResource(), "instance", func(st *state) map[string]Instance { return st.instances }, func(v *Instance) *map[string]string { return &v.Tags }),
		taggedKind(eniResource(), "network-interface", func(st *state) map[string]ENI { return st.enis }, func(v *ENI) *map[string]string { return &v.Tags }),
		taggedKind(s.prefixListResource(), "prefix-list", func(st *state) map[string]list { return st.lists }, func(v *list) *map[string]string { return &v.Tags }),
	}
}

// taggedKind is a kind of thing that the state keeps in a map by id.
func taggedKind[V any](r resource, kind string, all func(*state) map[string]V, tags func(*V) *map[string]string) tagged {
	return tagged{
		resource: r,
		kind:     kind,
		tags: func(st *state, id string) (map[string]string, bool) {
			v, ok := all(st)[id]
			return *tags(&v), ok
		},
		set: func(st *state, id string, to map[string]string) {
			v := all(st)[id]
			*tags(&v) = to
			all(st)[id] = v
		},
	}
}

// kindOf returns the kind of thing an id is for, by its prefix.
func (s *Server) kindOf(id string) (tagged, *apiError) {
	for _, k := range s.taggable() {
		if hasPrefix(id, k.prefixes...) {
			return k, nil
		}
	}
	return tagged{}, errorf("InvalidID", "The ID '%s' is not valid", id)
}

// tagPairs returns the tags of a list of key and value, by key.
func tagPairs(list []params) (map[string]string, *apiError) {
	tags := map[string]string{}
	for _, t := range list {
		key, value := t.text("Key"), t.text("Value")
		switch _, twice := tags[key]; {
		case key == "":
			return nil, errorf(codeMissingParameter, "The request must contain the parameter key for each tag")
		case twice:
			return nil, errorf(codeInvalidParameter, "Duplicate tag key '%s' specified.", key)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return nil, errorf(codeInvalidParameter, "Tag keys starting with 'aws:' are reserved for internal use")
		case len([]rune(key)) > maxTagKey || len([]rune(value)) > maxTagValue:
			return nil, errorf(codeInvalidParameter, "Tag key exceeds the maximum length of %d characters, or its value that of %d", maxTagKey, maxTagValue)
		}
		tags[key] = value
	}
	if len(tags) > maxTags {
		return nil, errorf("TagLimitExceeded", "More than %d tags specified", maxTags)
	}
	return tags, nil
}

// tagSpecification returns the tags that a call gives to what it creates.
func (p params) tagSpecification(kind string) (map[string]string, *apiError) {
	specs, err := p.structures("TagSpecification")
	if err != nil {
		return nil, err
	}
	var pairs []params
	for _, s := range specs {
		if s.text("ResourceType") != kind {
			return nil, invalidValue(s.text("ResourceType"), "ResourceType", "Expecting "+kind+".")
		}
		of, err := s.structures("Tag")
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, of...)
	}
	return tagPairs(pairs)
}

// taggedIDs returns the ids a call names; each is of a known kind.
func (r *request) taggedIDs() ([]string, *apiError) {
	ids := r.list("ResourceId")
	if len(ids) == 0 {
		return nil, errorf(codeMissingParameter, "The request must contain the parameter resourceIdSet")
	}
	for _, id := range ids {
		if _, err := r.server.kindOf(id); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// retag changes the tags of things, all or none.
func (s *Server) retag(ids []string, change func(tags map[string]string)) work {
	return func() (answer, *apiError) {
		err := s.commitCall(func(st *state) *apiError {
			for _, id := range ids {
				k, err := s.kindOf(id)
				if err != nil {
					return err
				}
				tags, exists := k.tags(st, id)
				if !exists {
					return k.absent(id)
				}
				tags = cloned(tags)
				change(tags)
				if len(tags) > maxTags {
					return errorf("TagLimitExceeded", "The maximum number of tags for %s has been reached", id)
				}
				k.set(st, id, tags)
			}
			return nil
		})
		return &done{Return: true}, err
	}
}

func createTagsAction() action {
	return action{
		mutating: true,
		params:   []string{"ResourceId", "Tag"},
		needs:    needsToTag,
		parse: func(r *request) (work, *apiError) {
			ids, err := r.taggedIDs()
			if err != nil {
				return nil, err
			}
			pairs, err := r.structures("Tag")
			if err != nil {
				return nil, err
			}
			tags, err := tagPairs(pairs)
			if err != nil {
				return nil, err
			}
			if len(tags) == 0 {
				return nil, errorf(codeMissingParameter, "The request must contain the parameter tagSet")
			}
			return r.server.retag(ids, func(have map[string]string) { maps.Copy(have, tags) }), nil
		},
	}
}

// deleteTagsAction deletes tags by key; where a value is given, only if the
// tag has it; without any tag named, all.
func deleteTagsAction() action {
	return action{
		mutating: true,
		params:   []string{"ResourceId", "Tag"},
		needs:    needsToTag,
		parse: func(r *request) (work, *apiError) {
			ids, err := r.taggedIDs()
			if err != nil {
				return nil, err
			}
			pairs, err := r.structures("Tag")
			if err != nil {
				return nil, err
			}
			return r.server.retag(ids, func(have map[string]string) {
				if len(pairs) == 0 {
					clear(have)
				}
				for _, t := range pairs {
					key, value := t.text("Key"), t.text("Value")
					if _, given := t.form["Value"]; !given || have[key] == value {
						delete(have, key)
					}
				}
			}), nil
		},
	}
}

// DescribeTags

type tagsAnswer struct {
	root
	Tags []tagOfXML `xml:"tagSet>item"`
	Next string     `xml:"nextToken,omitempty"`
}

type tagOfXML struct {
	Resource string `xml:"resourceId"`
	Kind     string `xml:"resourceType"`
	Key      string `xml:"key"`
	Value    string `xml:"value"`
}

func describeTagsAction() action {
	return action{
		params: []string{"Filter", "MaxResults", "NextToken"},
		parse: func(r *request) (work, *apiError) {
			return func() (answer, *apiError) {
				tags, next, err := r.server.allTags(r.world()).page(r.params)
				return &tagsAnswer{Tags: tags, Next: next}, err
			}, nil
		},
	}
}

func (s *Server) allTags(st *state) collection[tagOfXML] {
	var all []tagOfXML
	add := func(id string) {
		k, err := s.kindOf(id)
		if err != nil {
			return
		}
		tags, _ := k.tags(st, id)
		for key, value := range tags {
			all = append(all, tagOfXML{id, k.kind, key, value})
		}
	}
	for _, id := range slices.Concat(ids(st.vpcs), ids(st.subnets), ids(st.tables), ids(st.instances), ids(st.enis), ids(st.lists)) {
		add(id)
	}
	name := func(t tagOfXML) string { return t.Resource + " " + t.Key }
	slices.SortFunc(all, func(a, b tagOfXML) int { return strings.Compare(name(a), name(b)) })
	return collection[tagOfXML]{
		resource:    resource{noun: "tag"},
		filterNames: []string{"key", "resource-id", "resource-type", "value"},
		maxResults:  [2]int{5, 1000},
		items:       all,
		id:          name,
		fields: func(t tagOfXML) fields {
			return fields{"key": {t.Key}, "resource-id": {t.Resource}, "resource-type": {t.Kind}, "value": {t.Value}, "tag:" + t.Key: {t.Value}}
		},
	}
}

func ids[V any](m map[string]V) []string { return slices.Collect(maps.Keys(m)) }
