// Package timeline turns the spans of one trace, as all services reported them,
// into lines that tell what happened when: one line per start, end and event
// that matters, in order, with the time since a moment the caller names. It is
// pure: spans in, lines out.
package timeline
