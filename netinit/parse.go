package netinit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// MaxInput bounds a description in bytes.
const MaxInput = 1 << 20

// keys are those at the top of a description.
type keys []string

// has reports whether one of the words is a key.
func (k keys) has(words ...string) bool {
	return slices.ContainsFunc(words, func(word string) bool { return slices.Contains(k, word) })
}

// format is a way to describe a network.
type format struct {
	name Format
	// detect reports whether the keys at the top are those of the format. One description should be detected by one format.
	detect func(keys) bool
	// read converts a description to a draft of a plan, for finish. It reports to in what is wrong with single values, and the error
	// is that nothing can be read.
	read func(name string, data []byte) (draft *Plan, in *input, err error)
	// fields are the format's words for those of the own format, for messages: match, vlan.id, vlan.parent, rename and mtu of a link;
	// to, via, source, metric, mtu, table, scope and type of a route. A word that is missing is the same.
	fields map[string]string
}

var formats = []format{
	{Own, detectOwn, readOwn, nil},
	{OpenStack, detectOpenStack, readOpenStack, openStackFields},
	{Neutron, detectNeutron, readNeutron, neutronFields},
	{Netplan, detectNetplan, readNetplan, netplanFields},
	{CNI, detectCNI, readCNI, cniFields},
}

// Parse converts a description to a plan. name is its source, for messages. An error lists everything that is wrong, with the lines and
// paths of the values; then there is no plan.
func Parse(format Format, name string, data []byte) (*Plan, error) {
	if len(data) > MaxInput {
		return nil, fmt.Errorf("cannot read %s: it has more than %d KiB", name, MaxInput>>10)
	}
	if format == Auto || format == "" {
		var err error
		if format, err = Detect(name, data); err != nil {
			return nil, err
		}
	}
	for _, f := range formats {
		if f.name == format {
			return f.parse(name, data)
		}
	}
	return nil, fmt.Errorf("cannot read %s: unknown format %q (there are: %s)", name, format, strings.Join(formatNames(), ", "))
}

func (f format) parse(name string, data []byte) (*Plan, error) {
	plan, in, err := f.read(name, data)
	if err != nil {
		return nil, err
	}
	plan.Format = f.name
	finish(in, plan, f.fields)
	if problems := in.layers.Problems(); len(problems) > 0 {
		return nil, problems
	}
	for _, w := range in.layers.Warnings() {
		plan.Warnings = append(plan.Warnings, w.String())
	}
	return plan, nil
}

// Detect finds out the format of a description from the keys at its top. name is its source, for messages.
func Detect(name string, data []byte) (Format, error) {
	top, ok := layeredyaml.Keys(data)
	if !ok {
		// The own format says what is wrong with a text that is no YAML.
		_, _, err := readOwn(name, data)
		if err == nil {
			err = fmt.Errorf("cannot read %s: it is empty", name)
		}
		return "", err
	}
	var fits []string
	for _, f := range formats {
		if f.detect(top) {
			fits = append(fits, string(f.name))
		}
	}
	if len(fits) == 1 {
		return Format(fits[0]), nil
	}
	seen := make([]string, 0, len(top))
	for _, key := range top[:min(len(top), 12)] {
		seen = append(seen, layeredyaml.Shorten(key))
	}
	what := "no format has the keys " + layeredyaml.QuoteList(seen)
	switch {
	case len(top) == 0:
		what = "it has no keys"
	case len(fits) > 1:
		what = "the keys " + layeredyaml.QuoteList(seen) + " are those of " + strings.Join(fits, " and ")
	}
	return "", fmt.Errorf("cannot tell the format of %s: %s (name it with --format, or netinit.format: %s)", name, what,
		strings.Join(formatNames(), ", "))
}

// formatNames are those that can be forced.
func formatNames() (out []string) {
	for _, f := range formats {
		out = append(out, string(f.name))
	}
	return out
}
