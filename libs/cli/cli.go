// Package cli reads a program's flags and their environment variables into a struct.
package cli

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

// ServiceEnv begins the environment variables of the services' flags.
const ServiceEnv = "HYBRID_GATEWAY"

// Program describes the program to its users.
type Program struct {
	Name string
	// Summary is one sentence on what the program does.
	Summary string
	// Env begins the environment variable of every flag that names no other:
	// HYBRID_GATEWAY makes HYBRID_GATEWAY_SOCKET_DIR of --socket-dir.
	Env string
	// Vars are values for ${name} in the struct's tags.
	Vars map[string]string
}

// ErrHelp is returned when the user asked for help or the version, and got it.
var ErrHelp = fmt.Errorf("help was asked for")

// UsageError says that the command line or the environment cannot be used. Its text
// is one line that names the flag, its value and what is allowed.
type UsageError struct{ message string }

func (e *UsageError) Error() string { return e.message }

// Usagef makes a UsageError, for checks that a Validate method makes.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Sprintf(format, args...)}
}

// Parse fills config, a pointer to a struct with kong tags
// (https://github.com/alecthomas/kong), from args and the environment. If config
// has a Validate method it is called last. Help and version are written to out. It
// returns the name of the chosen command, if config has commands. The error is
// ErrHelp or a *UsageError.
func Parse(p Program, config any, args []string, out io.Writer) (command string, err error) {
	exited := false
	parser, err := kong.New(config,
		kong.Name(p.Name),
		kong.Description(p.Summary),
		kong.Vars(p.Vars),
		kong.Vars{"version": Version()},
		kong.DefaultEnvars(p.Env),
		kong.Writers(out, out),
		kong.Exit(func(int) { exited = true }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100}),
		kong.ValueFormatter(describe),
	)
	if err != nil {
		return "", fmt.Errorf("flags of %s: %w", p.Name, err)
	}
	parsed, err := parser.Parse(args)
	switch {
	case exited:
		return "", ErrHelp
	case err != nil:
		return "", &UsageError{oneLine(err)}
	}
	return parsed.Command(), nil
}

// describe is a flag's help text with its default and its environment variable.
func describe(v *kong.Value) string {
	text := v.Help
	if v.HasDefault && v.Default != "" && v.Flag != nil && v.Flag.PlaceHolder != "" {
		text += " Default: " + v.Default + "."
	}
	if len(v.Tag.Envs) > 0 {
		text += " ($" + strings.Join(v.Tag.Envs, ", $") + ")"
	}
	return text
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

// Version is what the build was stamped with: the module's version or the commit it
// was built from, with "+changed" when the tree differed from the commit; "unknown" when
// the build has no stamp.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if stamp != "" {
		return stamp
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changed"
		}
	}
	if revision == "" {
		return "unknown"
	}
	return revision + changed
}

// stamp is set by the linker: -X github.com/hybridgateway/gateway/libs/cli.stamp=v1.2.3.
var stamp string
