package jvm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Layer is the source of an option. A later layer overrides an earlier one.
type Layer string

// The layers in rising precedence.
const (
	Default  Layer = "default"
	User     Layer = "user"
	Enforced Layer = "enforced"
)

// Option is one JVM option and where it came from.
type Option struct {
	// Args are the command line arguments: usually one, two for the forms that
	// take their value separately, such as "--add-opens X".
	Args []string
	// Layer is set by Merge.
	Layer Layer
	// Source is file:line, a variable, or the rule that made the option.
	Source string
	// Why is the reason, for the operator; may be empty.
	Why string
	// Generated marks the options of Sizing: any other source overrides them, also
	// one of the default layer, and they follow what they depend on.
	Generated bool
	// Replaced are the options that this one overrides.
	Replaced []Option
}

// String returns the option as it would be typed.
func (o Option) String() string { return strings.Join(o.Args, " ") }

// optionJSON is the form of an Option in JSON.
type optionJSON struct {
	Option    string   `json:"option"`
	Args      []string `json:"args,omitempty"` // where the option has several arguments
	Layer     Layer    `json:"layer"`
	Source    string   `json:"source"`
	Why       string   `json:"why"`
	Generated bool     `json:"generated,omitempty"`
	Replaced  []Option `json:"replaced"`
}

// MarshalJSON writes {"option","args","layer","source","why","generated","replaced"}.
func (o Option) MarshalJSON() ([]byte, error) {
	out := optionJSON{o.String(), nil, o.Layer, o.Source, o.Why, o.Generated, append([]Option{}, o.Replaced...)}
	if len(o.Args) != 1 {
		out.Args = o.Args
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (o *Option) UnmarshalJSON(data []byte) error {
	var in optionJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	if in.Args == nil {
		in.Args = []string{in.Option}
	}
	*o = Option{in.Args, in.Layer, in.Source, in.Why, in.Generated, in.Replaced}
	return nil
}

// rank orders layers; generated options are below everything.
func (o Option) rank() int {
	switch {
	case o.Layer == Enforced:
		return 3
	case o.Layer == User:
		return 2
	case o.Generated:
		return 0
	default:
		return 1
	}
}

// origin names an option's layer and source in messages.
func (o Option) origin() string {
	if o.Source == "" {
		return string(o.Layer) + " layer"
	}
	return fmt.Sprintf("%s layer, %s", o.Layer, o.Source)
}

// located is the option with its layer and source.
func (o Option) located() string { return fmt.Sprintf("%s (%s)", o, o.origin()) }

// Named is located with quotes.
func (o Option) Named() string { return fmt.Sprintf("%q (%s)", o, o.origin()) }

// TakesValue reports whether the value of a launcher's option may be an argument of its own.
func TakesValue(name string) bool {
	return slices.Contains([]string{"-cp", "-classpath", "--class-path", "-p", "--module-path", "--upgrade-module-path", "--add-modules",
		"--limit-modules", "--add-opens", "--add-exports", "--add-reads", "--patch-module", "--enable-native-access"}, name)
}

// ParseArgs turns arguments into options, each with the same source; a
// two-argument form becomes one option. Merge checks whether they are
// JVM options. A carriage return at the end, of a line of Windows, is left out.
func ParseArgs(source string, args []string) []Option {
	options := make([]Option, 0, len(args))
	for _, a := range args {
		options = appendArg(options, strings.TrimSuffix(a, "\r"), source)
	}
	return options
}

// appendArg adds an argument, as the value of the option before if that lacks one.
func appendArg(options []Option, arg, source string) []Option {
	if n := len(options); n > 0 && incomplete(options[n-1]) && !strings.HasPrefix(arg, "-") {
		options[n-1].Args = append(options[n-1].Args, arg)
		return options
	}
	return append(options, Option{Args: []string{arg}, Source: source})
}

// incomplete reports whether an option still lacks the value it needs.
func incomplete(o Option) bool { return len(o.Args) == 1 && TakesValue(o.Args[0]) }

// ReadVariables are the variables that the JVM or its launcher read themselves, the
// weaker first.
func ReadVariables() []string {
	return []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"}
}

// OptionVariables are all variables that hold options of one JVM: those, and what
// scripts give to the java that they start.
func OptionVariables() []string {
	return append(ReadVariables(), "JAVA_OPTS", "CATALINA_OPTS", "JPDA_OPTS", "JPDA_TRANSPORT", "JPDA_ADDRESS", "JPDA_SUSPEND")
}

// WithoutOptions is an environment for a program beside a JVM. It may be one itself,
// for which a port or a file of these options is taken.
func WithoutOptions(env map[string]string) map[string]string {
	out := maps.Clone(env)
	for _, name := range OptionVariables() {
		delete(out, name)
	}
	return out
}
