// Package narrate prints what the demo does, for somebody who sees it for the
// first time: a heading per step, what is being done and why, and what was
// measured. It only formats: text goes in, lines come out.
package narrate

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// width of a line, in characters.
const width = 100

// Narrator prints. Its zero value prints nowhere; see New.
type Narrator struct {
	out   io.Writer
	start time.Time
	now   func() time.Time
	step  int
	steps int
}

// New makes a narrator of a story with so many steps.
func New(out io.Writer, steps int, now func() time.Time) *Narrator {
	return &Narrator{out: out, start: now(), now: now, steps: steps}
}

// Step begins the next step.
func (n *Narrator) Step(title string) {
	n.step++
	fmt.Fprintf(n.out, "\n[%5.1f s] %d/%d  %s\n", n.now().Sub(n.start).Seconds(), n.step, n.steps, title)
}

// Title is a heading that is no step.
func (n *Narrator) Title(title string) {
	fmt.Fprintf(n.out, "\n[%5.1f s] %s\n", n.now().Sub(n.start).Seconds(), title)
}

// Doing says what is being done right now.
func (n *Narrator) Doing(format string, args ...any) {
	n.paragraph("     … ", fmt.Sprintf(format, args...))
}

// Why explains.
func (n *Narrator) Why(format string, args ...any) {
	n.paragraph("       ", fmt.Sprintf(format, args...))
}

// OK says what was found as it should be.
func (n *Narrator) OK(format string, args ...any) {
	n.paragraph("     ✓ ", fmt.Sprintf(format, args...))
}

// Line prints a line as it is.
func (n *Narrator) Line(line string) { fmt.Fprintln(n.out, "         "+line) }

// paragraph breaks text into lines; the first begins with the mark, the others
// are indented as deep.
func (n *Narrator) paragraph(mark, text string) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(mark))
	for i, line := range Wrap(text, width-len(indent)) {
		begin := mark
		if i > 0 {
			begin = indent
		}
		fmt.Fprintln(n.out, begin+line)
	}
}

// Wrap breaks text at spaces into lines of at most so many characters; a longer
// word stands alone.
func Wrap(text string, width int) []string {
	var lines []string
	var line string
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
