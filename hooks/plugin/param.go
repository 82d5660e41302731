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

	"github.com/stoker-init/stoker/internal/lazyregexp"
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

// samples has a value for each type that any parameter of the type may have.
var samples = map[string]string{TypeString: "sample", TypeInt: "1", TypeBool: "true", TypePort: "1", TypeDuration: "1s",
	TypePath: "/sample", TypeURL: "http://sample", TypeEnum: "sample"}

// Types lists all types.
func Types() []string {
	return []string{TypeString, TypeInt, TypeBool, TypePort, TypeDuration, TypePath, TypeURL, TypeEnum}
}

// Param is a parameter of a plugin. Its value is one line of text.
type Param struct {
	// Type is one of Types (default string).
	Type string `yaml:"type"`
	// Default is its value if none is set. It may have references, but not to parameters.
	Default *string `yaml:"default"`
	// Values are those of an enum.
	Values []string `yaml:"values"`
	// Min and Max bound an int, a port or a duration.
	Min *string `yaml:"min"`
	Max *string `yaml:"max"`
	// Pattern is a regular expression that the whole of a string or path must match.
	Pattern string `yaml:"pattern"`
	// Required means that the value must be set and not be empty.
	Required bool `yaml:"required"`
	// Secret masks the value, and forbids it where everybody can read it: in a command line.
	Secret      bool   `yaml:"secret"`
	Description string `yaml:"description"`
}

// maxValue bounds a value, in bytes.
const maxValue = 4096

func (p Param) kind() string { return cmp.Or(p.Type, TypeString) }

// isOrdered reports whether the type has an order, and so bounds.
func (p Param) isOrdered() bool {
	return slices.Contains([]string{TypeInt, TypePort, TypeDuration}, p.kind())
}

// Check checks a value. The error never has the value of a secret.
func (p Param) Check(value string) error {
	err := p.check(value)
	if err != nil && p.Secret {
		return errors.New("the value, which is secret, is not one that it may have")
	}
	return err
}

// urlPattern allows nothing that could change the meaning of the rest of a URL.
var urlPattern = lazyregexp.New(`^(https?://[A-Za-z0-9.:\[\]_-]+|unix:///[A-Za-z0-9._/-]+:)(/[A-Za-z0-9._~/%-]*)?$`)

func (p Param) check(value string) error {
	switch kind := p.kind(); {
	case len(value) > maxValue:
		return fmt.Errorf("it has %d bytes, more than %d", len(value), maxValue)
	case strings.ContainsAny(value, "\n\r\x00"):
		return fmt.Errorf("%q is more than one line", value)
	case value == "" && p.Required:
		return errors.New("it must not be empty")
	case value == "" && kind != TypeEnum:
		return nil
	case kind == TypeBool && value != "true" && value != "false":
		return fmt.Errorf("%q is not true or false", value)
	case kind == TypeEnum && !slices.Contains(p.Values, value):
		return fmt.Errorf("%q is not one of %s", value, strings.Join(p.Values, ", "))
	case kind == TypePath && (!path.IsAbs(value) || slices.Contains(strings.Split(value, "/"), "..")):
		return fmt.Errorf("%q is not an absolute path, or has .. in it", value)
	case kind == TypeURL && !urlPattern().MatchString(value):
		return fmt.Errorf("%q is not a URL such as http://registry:8080/agents, without a query", value)
	case p.isOrdered():
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

// checkNumber checks a value of an ordered type.
func (p Param) checkNumber(value string) error {
	n, err := p.number(value)
	if err != nil {
		return err
	}
	least, err := p.number(deref(cmp.Or(p.Min, &value)))
	if err != nil || n < least {
		return cmp.Or(err, fmt.Errorf("%s is below %s", value, deref(p.Min)))
	}
	most, err := p.number(deref(cmp.Or(p.Max, &value)))
	if err != nil || n > most {
		return cmp.Or(err, fmt.Errorf("%s is above %s", value, deref(p.Max)))
	}
	return nil
}

// number parses a value of an ordered type.
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
	case strconv.FormatInt(n, 10) != value: // +1, 007
		return 0, fmt.Errorf("%q is not written as %d", value, n)
	case p.kind() == TypePort && (n < 1 || n > 65535):
		return 0, fmt.Errorf("%d is not a port: they go from 1 to 65535", n)
	}
	return n, nil
}

// Problem is a problem with a key of a section.
type Problem struct{ Key, Message, Hint string }

// Problems checks the definition of a parameter, but for the references of its default.
func (p Param) Problems() []Problem {
	var out []Problem
	bad := func(key, hint, format string, args ...any) {
		out = append(out, Problem{key, fmt.Sprintf(format, args...), hint})
	}
	if !slices.Contains(Types(), p.kind()) {
		bad("type", "", "%q is not one of %s", p.Type, strings.Join(Types(), ", "))
		return out
	}
	for _, bound := range []struct {
		key  string
		text *string
	}{{"max", p.Max}, {"min", p.Min}} {
		if bound.text == nil {
			continue
		}
		if !p.isOrdered() {
			bad(bound.key, "", "only an int, a port or a duration has bounds")
		} else if _, err := p.number(*bound.text); err != nil {
			bad(bound.key, "", "%s", err)
		}
	}
	if _, err := regexp.Compile(p.Pattern); err != nil {
		bad("pattern", "", "it is no regular expression: %s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	} else if p.Pattern != "" && p.kind() != TypeString && p.kind() != TypePath {
		bad("pattern", "", "only a string or a path has a pattern")
	}
	switch isEnum := p.kind() == TypeEnum; {
	case isEnum && len(p.Values) == 0:
		bad("values", "write values: [a, b]", "an enum needs its values")
	case !isEnum && len(p.Values) > 0:
		bad("values", "write type: enum", "only an enum has values")
	}
	if len(out) == 0 && p.Default != nil && !strings.Contains(*p.Default, "${") {
		if err := p.check(*p.Default); err != nil && (!p.Required || *p.Default != "") {
			bad("default", "", "%s", err)
		}
	}
	return out
}

// sample is a value that the parameter may have.
func (p Param) sample() string {
	if p.kind() == TypeEnum && len(p.Values) > 0 {
		return p.Values[0]
	}
	if p.isOrdered() {
		return cmp.Or(deref(p.Min), deref(p.Max), samples[p.kind()])
	}
	return samples[p.kind()]
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
