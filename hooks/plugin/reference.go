package plugin

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/reference"
)

// ref is a reference such as ${label.appid:-none}.
type ref struct {
	kind, name string
	// fallback is for a value that is not set or empty; nil: there is none.
	fallback *string
}

// Kinds of references.
const (
	refParam  = "params"
	refEnv    = "env"
	refLabel  = "label"
	refPlugin = "plugin_dir"
	refState  = "state_dir"
	refStoker = "stoker"
)

func (r ref) String() string {
	if r.name == "" {
		return r.kind
	}
	return r.kind + "." + r.name
}

// part is a part of a text: literal, or a reference.
type part struct {
	text string
	ref  *ref
}

// parseText splits a text at its references: ${params.NAME}, ${env.NAME}, ${label.NAME}, ${plugin_dir},
// ${state_dir} and ${stoker}, each also with a fallback. $${ is a literal ${. With foreign, ${NAME} and
// $${ are left for what sends a request.
func parseText(text string, foreign bool) ([]part, error) {
	pieces, err := reference.Split(text)
	if err != nil {
		return nil, err
	}
	var out []part
	for _, p := range pieces {
		r, ok := parseReference(p.Text)
		_, _, variable := reference.Variable(p.Text)
		switch {
		case !p.Ref && foreign:
			out = append(out, part{text: strings.ReplaceAll(p.Text, "${", "$${")})
		case !p.Ref:
			out = append(out, part{text: p.Text})
		case ok:
			out = append(out, part{ref: &r})
		case foreign && variable:
			out = append(out, part{text: "${" + p.Text + "}"})
		default:
			return nil, fmt.Errorf("%q is no reference", "${"+reference.Shorten(p.Text, 60)+"}")
		}
	}
	return out, nil
}

var referenceBody = lazyregexp.New(`^([a-z_]+)(?:\.([A-Za-z0-9_.-]+))?(:-[^\n\r\x00]*)?$`)

// parseReference parses the text between the braces.
func parseReference(body string) (r ref, ok bool) {
	m := referenceBody().FindStringSubmatch(body)
	if m == nil {
		return r, false
	}
	r.kind, r.name = m[1], m[2]
	if fallback, ok := strings.CutPrefix(m[3], ":-"); ok {
		r.fallback = &fallback
	}
	switch r.kind {
	case refParam, refEnv, refLabel:
		return r, r.name != ""
	case refPlugin, refState, refStoker:
		return r, r.name == ""
	}
	return r, false
}

// usage is where a text is used.
type usage int

const (
	inArgument usage = iota // everybody can read a command line
	inVariable
	inRequest // ${NAME} is a variable of the hook
	inDefault // of a parameter
)

// checkText checks the references of a text.
func checkText(text string, params map[string]Param, use usage) error {
	parts, err := parseText(text, use == inRequest)
	if err != nil {
		return fmt.Errorf("%w: there are ${params.NAME}, ${env.NAME}, ${label.NAME}, ${plugin_dir}, ${state_dir} and ${stoker}; "+
			"$${ stands for itself", err)
	}
	for _, p := range parts {
		if p.ref == nil || p.ref.kind != refParam {
			continue
		}
		name := p.ref.name
		param, known := params[name]
		switch {
		case use == inDefault:
			return errors.New("a default cannot have a reference to a parameter")
		case !known:
			return fmt.Errorf("there is no parameter %q%s", name, among(slices.Sorted(maps.Keys(params))))
		case param.Secret && use == inArgument:
			return fmt.Errorf("the parameter %q is secret, and everybody can read a command line; a script has it as STOKER_PARAM_%s", name,
				strings.ToUpper(name))
		}
	}
	return nil
}

// among lists names for a message.
func among(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (there are: " + strings.Join(names, ", ") + ")"
}

// scope has the values of references.
type scope struct {
	params, env, labels         map[string]string
	pluginDir, stateDir, stoker string
	stateErr                    error // why there is no stateDir
	sample                      bool  // variables and labels that are not set have a value
}

// value resolves a reference. A variable or label that is not set needs a fallback.
func (s scope) value(r ref) (string, error) {
	value, set := "", true
	switch r.kind {
	case refParam:
		value = s.params[r.name]
	case refEnv:
		value, set = s.env[r.name]
	case refLabel:
		value, set = s.labels[r.name]
	case refPlugin:
		value = s.pluginDir
	case refState:
		if value = s.stateDir; s.stateErr != nil {
			return "", s.stateErr
		}
	case refStoker:
		value = s.stoker
	}
	switch {
	case value == "" && r.fallback != nil:
		value = *r.fallback
	case !set && s.sample:
		value = "sample"
	case !set:
		return "", fmt.Errorf("%s is not set, and ${%s} has no fallback (write ${%s:-TEXT})", strings.Replace(r.String(), ".", " ", 1), r, r)
	}
	if strings.ContainsAny(value, "\n\r\x00") {
		return "", fmt.Errorf("%s has a value of more than one line", r)
	}
	return value, nil
}

// expand replaces the references of a text. References in their values are not resolved.
func (s scope) expand(text string) (string, error) {
	return replace(text, false, s.value)
}

// replace replaces each reference of a text; foreign is that of parseText.
func replace(text string, foreign bool, value func(ref) (string, error)) (string, error) {
	parts, err := parseText(text, foreign)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range parts {
		if p.ref != nil {
			if p.text, err = value(*p.ref); err != nil {
				return "", err
			}
		}
		b.WriteString(p.text)
	}
	return b.String(), nil
}

// WithoutReferences replaces each reference by "1", so that the form of the text can be checked.
func WithoutReferences(text string) string {
	out, err := replace(text, true, func(ref) (string, error) { return "1", nil })
	if err != nil {
		return text
	}
	return out
}

func (s scope) expandAll(list []string) ([]string, error) {
	out := make([]string, len(list))
	for k, text := range list {
		var err error
		if out[k], err = s.expand(text); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// request replaces each reference in a part of a request by ${NAME} of a new variable with its value:
// the sender escapes the values of variables.
func (s scope) request(text string, variables map[string]string) (string, error) {
	return replace(text, true, func(r ref) (string, error) {
		value, err := s.value(r)
		name := fmt.Sprintf("PLUGIN_REF_%d", len(variables)+1)
		variables[name] = value
		return "${" + name + "}", err
	})
}
