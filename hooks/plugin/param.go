package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Types of parameters.
const (
	TypeString   = "string"
	TypeInt      = "int"
	TypeBool     = "bool"
	TypePort     = "port"
	TypeDuration = "duration"
	TypePath     = "path"
	TypeURL      = "url" // a hook's url may begin with it
	TypeEnum     = "enum"
)

// Types lists them all.
func Types() []string {
	return []string{TypeString, TypeInt, TypeBool, TypePort, TypeDuration, TypePath, TypeURL, TypeEnum}
}

// Param is one parameter of a plugin. All values are one line of text.
type Param struct {
	// Type is one of Types (default string).
	Type string `yaml:"type"`
	// Default counts where nobody sets one. It may have references, but to parameters.
	Default *string `yaml:"default"`
	// Values are those of an enum.
	Values []string `yaml:"values"`
	// Min and Max bound an int, a port or a duration.
	Min *string `yaml:"min"`
	Max *string `yaml:"max"`
	// Pattern is a regular expression that the whole of a string or path must match.
	Pattern string `yaml:"pattern"`
	// Required says that there must be a value that is not empty.
	Required bool `yaml:"required"`
	// Secret keeps the value from being shown, and from being a part of what
	// everybody can read: a command line.
	Secret      bool   `yaml:"secret"`
	Description string `yaml:"description"`
}

// maxValue bounds a parameter's value, in bytes.
const maxValue = 4096

// kind is the type, also where it is not given.
func (p Param) kind() string { return cmp.Or(p.Type, TypeString) }

// Check says what is wrong with a value; it never repeats one that is secret.
func (p Param) Check(value string) error {
	err := p.check(value)
	if err != nil && p.Secret {
		return errors.New("the value, which is secret, is not one that it may have")
	}
	return err
}

func (p Param) check(value string) error {
	switch {
	case len(value) > maxValue:
		return fmt.Errorf("it has %d bytes, more than %d", len(value), maxValue)
	case strings.ContainsAny(value, "\n\r\x00"):
		return fmt.Errorf("%q is more than one line", value)
	case value == "" && p.Required:
		return errors.New("it must not be empty")
	case value == "" && p.kind() != TypeEnum:
		return nil // nothing is asked for
	}
	switch p.kind() {
	case TypeBool:
		if value != "true" && value != "false" {
			return fmt.Errorf("%q is not true or false", value)
		}
	case TypeEnum:
		if !slices.Contains(p.Values, value) {
			return fmt.Errorf("%q is not one of %s", value, strings.Join(p.Values, ", "))
		}
	case TypePath:
		if !path.IsAbs(value) || slices.Contains(strings.Split(value, "/"), "..") {
			return fmt.Errorf("%q is not an absolute path, or has .. in it", value)
		}
	case TypeURL:
		// Nothing that a URL which goes on behind it could mean otherwise.
		if !regexp.MustCompile(`^(https?://[A-Za-z0-9.:\[\]_-]+|unix:///[A-Za-z0-9._/-]+:)(/[A-Za-z0-9._~/%-]*)?$`).MatchString(value) {
			return fmt.Errorf("%q is not a URL such as http://registry:8080/agents, without a query", value)
		}
	case TypeInt, TypePort, TypeDuration:
		return p.checkNumber(value)
	}
	if p.Pattern != "" {
		whole, err := regexp.Compile(`^(?:` + p.Pattern + `)$`)
		if err != nil {
			return err
		}
		if !whole.MatchString(value) {
			return fmt.Errorf("%q does not match %s", value, p.Pattern)
		}
	}
	return nil
}

// checkNumber checks the types that have an order.
func (p Param) checkNumber(value string) error {
	n, err := p.number(value)
	if err != nil {
		return err
	}
	for _, bound := range []struct {
		at   *string
		past int
		word string
	}{{p.Min, -1, "below"}, {p.Max, 1, "above"}} {
		if bound.at == nil {
			continue
		}
		limit, err := p.number(*bound.at)
		if err != nil {
			return err
		}
		if cmp.Compare(n, limit) == bound.past {
			return fmt.Errorf("%s is %s %s", value, bound.word, *bound.at)
		}
	}
	return nil
}

// number reads a value of a type that has an order.
func (p Param) number(value string) (int64, error) {
	if p.kind() == TypeDuration {
		d, err := time.ParseDuration(value)
		if err != nil {
			return 0, fmt.Errorf("%q is not a duration such as 30s", value)
		}
		return int64(d), nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a whole number", value)
	case strconv.FormatInt(n, 10) != value: // +1, 007: not what would stand in a command line
		return 0, fmt.Errorf("%q is not written as %d", value, n)
	case p.kind() == TypePort && (n < 1 || n > 65535):
		return 0, fmt.Errorf("%d is not a port: they go from 1 to 65535", n)
	}
	return n, nil
}

// Fault is what is wrong with one key of a section.
type Problem struct{ Key, Message, Hint string }

// Faults says what is wrong with a parameter as its plugin defines it. Whether the
// references of its default are right is not looked at.
func (p Param) Problems() []Problem {
	var out []Problem
	bad := func(key, hint, format string, args ...any) {
		out = append(out, Problem{key, fmt.Sprintf(format, args...), hint})
	}
	if !slices.Contains(Types(), p.kind()) {
		bad("type", "", "%q is not one of %s", p.Type, strings.Join(Types(), ", "))
		return out
	}
	switch isEnum := p.kind() == TypeEnum; {
	case isEnum && len(p.Values) == 0:
		bad("values", "write values: [a, b]", "an enum needs its values")
	case !isEnum && len(p.Values) > 0:
		bad("values", "write type: enum", "only an enum has values")
	}
	if _, err := regexp.Compile(p.Pattern); err != nil {
		bad("pattern", "", "it is no regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	} else if p.Pattern != "" && p.kind() != TypeString && p.kind() != TypePath {
		bad("pattern", "", "only a string or a path has a pattern")
	}
	ordered := slices.Contains([]string{TypeInt, TypePort, TypeDuration}, p.kind())
	for key, bound := range map[string]*string{"min": p.Min, "max": p.Max} {
		if bound == nil {
			continue
		}
		if !ordered {
			bad(key, "", "only an int, a port or a duration has bounds")
		} else if _, err := p.number(*bound); err != nil {
			bad(key, "", "%s", err)
		}
	}
	if len(out) == 0 && p.Default != nil && !strings.Contains(*p.Default, "${") {
		if err := p.check(*p.Default); err != nil && (!p.Required || *p.Default != "") {
			bad("default", "", "%s", err)
		}
	}
	slices.SortFunc(out, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// sample is a value that the parameter may have, to try its plugin with.
func (p Param) sample() string {
	switch p.kind() {
	case TypeBool:
		return "true"
	case TypeEnum:
		if len(p.Values) > 0 {
			return p.Values[0]
		}
	case TypePath:
		return "/sample"
	case TypeURL:
		return "http://sample"
	case TypeInt, TypePort:
		return cmp.Or(deref(p.Min), deref(p.Max), "1")
	case TypeDuration:
		return cmp.Or(deref(p.Min), deref(p.Max), "1s")
	}
	return "sample"
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
