package timeline

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Line is one thing that happened.
type Line struct {
	Offset  time.Duration // since the moment the caller named; negative when before
	Gateway string
	Service string
	Text    string
}

// String prints the line in columns.
func (l Line) String() string {
	return fmt.Sprintf("%+8.3f s  %-4s %-13s %s", l.Offset.Seconds(), l.Gateway, l.Service, l.Text)
}

// moment is a line before it is put in order and merged.
type moment struct {
	at   time.Time
	span Span
	kind string // lines of one kind that follow each other become one
	text string
	what string // what a merged line lists
	took time.Duration
}

// Of makes the lines of a trace. Spans are told when they end, and roots also
// when they begin; events when they happen. Neighbouring lines of the same
// kind from the same service become one.
func Of(spans []Span, since time.Time) []Line {
	var moments []moment
	ids := map[string]bool{}
	for _, s := range spans {
		ids[s.ID] = true
	}
	for _, s := range spans {
		if s.Parent == "" || !ids[s.Parent] {
			moments = append(moments, moment{at: s.Start, span: s, kind: s.ID + "/begin", text: began(s)})
		}
		text, what := ended(s)
		moments = append(moments, moment{
			at: s.End, span: s, kind: s.Name + "/" + s.Error, text: text, what: what, took: s.End.Sub(s.Start),
		})
		for _, e := range s.Events {
			moments = append(moments, moment{at: e.At, span: s, kind: s.ID + "/" + e.Name, text: happened(s, e)})
		}
	}
	slices.SortStableFunc(moments, func(a, b moment) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.span.Gateway, b.span.Gateway), strings.Compare(a.span.Service, b.span.Service))
	})
	return merge(moments, since)
}

// merge joins neighbours of one kind into one line, at the time of the last.
func merge(moments []moment, since time.Time) []Line {
	var lines []Line
	for i := 0; i < len(moments); {
		j := i + 1
		for j < len(moments) && moments[j].kind == moments[i].kind && sameSource(moments[i].span, moments[j].span) {
			j++
		}
		group := moments[i:j]
		last := group[len(group)-1]
		lines = append(lines, Line{
			Offset: last.at.Sub(since), Gateway: last.span.Gateway, Service: last.span.Service, Text: groupText(group),
		})
		i = j
	}
	return lines
}

func sameSource(a, b Span) bool { return a.Gateway == b.Gateway && a.Service == b.Service }

func groupText(group []moment) string {
	first := group[0]
	shortest, longest := first.took, first.took
	var whats []string
	for _, m := range group {
		shortest, longest = min(shortest, m.took), max(longest, m.took)
		if m.what != "" {
			whats = append(whats, m.what)
		}
	}
	text := first.text
	if len(group) > 1 {
		text = fmt.Sprintf("%d x %s", len(group), text)
	}
	if len(whats) > 0 {
		text += ": " + list(whats)
	}
	switch {
	case longest == 0:
	case longest-shortest < time.Millisecond:
		text += fmt.Sprintf(" (%s)", duration(longest))
	default:
		text += fmt.Sprintf(" (%s to %s)", duration(shortest), duration(longest))
	}
	return text
}

// listed bounds how many things a merged line names.
const listed = 3

// list names the first few, sorted.
func list(things []string) string {
	things = slices.Sorted(slices.Values(things))
	if len(things) <= listed {
		return strings.Join(things, ", ")
	}
	return strings.Join(things[:listed-1], ", ") + ", …"
}

func duration(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// dull are attributes that every line would repeat.
var dull = []string{"shard", "gateway", "service"}

// attributes lists them, sorted.
func attributes(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] == "" || slices.Contains(dull, k) {
			continue
		}
		fmt.Fprintf(&b, " %s=%s", k, m[k])
	}
	return b.String()
}
