package ec2standin

import (
	"encoding/base64"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// fields tells what a thing says for each filter name it can be filtered by.
type fields map[string][]string

// withTags adds the filters every tagged thing has.
func (f fields) withTags(tags map[string]string) fields {
	for k, v := range tags {
		f["tag:"+k] = []string{v}
		f["tag-key"] = append(f["tag-key"], k)
		f["tag-value"] = append(f["tag-value"], v)
	}
	return f
}

// matches tells whether a thing passes all filters: for each, one of its
// values equals one of the wanted, where * and ? are wildcards.
func (f fields) matches(filters map[string][]string) bool {
	for name, wanted := range filters {
		ok := slices.ContainsFunc(f[name], func(have string) bool {
			return slices.ContainsFunc(wanted, func(w string) bool { return glob(w, have) })
		})
		if !ok {
			return false
		}
	}
	return true
}

// glob matches EC2's two wildcards. path.Match knows more (and stops * at a
// slash), so everything else is made literal first.
func glob(pattern, s string) bool {
	if !strings.ContainsAny(pattern, "*?\\") {
		return pattern == s
	}
	pattern = strings.NewReplacer("[", `\[`, "/", "\x00").Replace(pattern)
	ok, err := path.Match(pattern, strings.ReplaceAll(s, "/", "\x00"))
	return err == nil && ok
}

// collection is what a Describe call needs to know about a kind of thing.
type collection[T any] struct {
	resource
	idsParameter string   // list parameter with ids
	filterNames  []string // besides tag:…, tag-key and tag-value
	maxResults   [2]int   // least and most
	idsExclude   bool     // ids and MaxResults may not be given together
	pageSize     int      // items in a page unless MaxResults says otherwise; default: 1000
	items        []T      // all, sorted by id
	id           func(T) string
	fields       func(T) fields
}

// page selects what a call asks for: ids, filters, and one page of the result
// with the token for the next.
func (c collection[T]) page(p params) (items []T, next string, err *apiError) {
	ids := p.list(c.idsParameter)
	for _, id := range ids {
		if err := c.wellFormed(id); err != nil {
			return nil, "", err
		}
	}
	filters, err := p.filters()
	if err != nil {
		return nil, "", err
	}
	for name := range filters {
		if !strings.HasPrefix(name, "tag:") && name != "tag-key" && name != "tag-value" && !slices.Contains(c.filterNames, name) {
			return nil, "", errorf(codeInvalidParameter, "The filter '%s' is invalid", name)
		}
	}
	limit, after, err := c.window(p, len(ids) > 0)
	if err != nil {
		return nil, "", err
	}

	found := map[string]bool{}
	for _, it := range c.items {
		id := c.id(it)
		if len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		found[id] = true
		if id > after && (len(filters) == 0 || c.fields(it).matches(filters)) {
			items = append(items, it)
		}
	}
	absent := slices.DeleteFunc(ids, func(id string) bool { return found[id] })
	if len(absent) > 0 {
		return nil, "", c.absent(absent...)
	}
	if len(items) > limit {
		items = items[:limit]
		next = c.token(c.id(items[limit-1]))
	}
	return items, next, nil
}

// window returns how many items the call wants, and after which id.
func (c collection[T]) window(p params, ids bool) (limit int, after string, err *apiError) {
	limit = orElse(c.pageSize, 1000)
	if v := p.text("MaxResults"); v != "" {
		if ids && c.idsExclude {
			return 0, "", errorf(codeParameterCombination, "The parameter %s cannot be used with the parameter maxResults", lower(c.idsParameter))
		}
		n, convErr := strconv.Atoi(v)
		if convErr != nil || n < c.maxResults[0] || n > c.maxResults[1] {
			return 0, "", invalidValue(v, "MaxResults",
				fmt.Sprintf("Expecting a value from %d to %d.", c.maxResults[0], c.maxResults[1]))
		}
		limit = n
	}
	if v := p.text("NextToken"); v != "" {
		plain, decErr := base64.URLEncoding.DecodeString(v)
		id, ok := strings.CutPrefix(string(plain), c.noun+" ")
		if decErr != nil || !ok {
			return 0, "", errorf(codeInvalidNextToken, "The specified NextToken is not valid")
		}
		after = id
	}
	return limit, after, nil
}

// token continues a listing after an id, whatever was added or deleted since.
func (c collection[T]) token(id string) string {
	return base64.URLEncoding.EncodeToString([]byte(c.noun + " " + id))
}
