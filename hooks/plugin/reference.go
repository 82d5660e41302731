package plugin

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/reference"
)

// referenced is one ${...} of a text.
type ref struct {
	// kind is params, env, label, or one of the words that stand alone.
	kind, name string
	// fallback stands where the value is not set or empty; nil: there is none.
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

// piece is a part of a text: words, or a reference.
type part struct {
	text string
	ref  *ref
}

// parseText splits a text at its references: ${params.NAME}, ${env.NAME},
// ${label.NAME}, ${plugin_dir}, ${state_dir} and ${stoker}, each also with a fallback,
// as in ${label.appid:-none}. $${ is ${ as it stands. With foreign both ${NAME} without
// a dot and $${ are left for who comes later.
func parseText(text string, foreign bool) ([]part, error) {
	parts, err := reference.Split(text)
	if err != nil {
		return nil, err
	}
	var out []part
	for _, p := range parts {
		ref, ok := parseReference(p.Text)
		_, _, variable := reference.Variable(p.Text)
		switch {
		case !p.Ref && foreign:
			out = append(out, part{text: strings.ReplaceAll(p.Text, "${", "$${")})
		case !p.Ref:
			out = append(out, part{text: p.Text})
		case ok:
			out = append(out, part{ref: &ref})
		case foreign && variable:
			out = append(out, part{text: "${" + p.Text + "}"})
		default:
			return nil, fmt.Errorf("%q is no reference", "${"+reference.Shorten(p.Text, 60)+"}")
		}
	}
	return out, nil
}

// parseReference reads what stands between the braces.
func parseReference(body string) (r ref, ok bool) {
	m := regexp.MustCompile(`^([a-z_]+)(?:\.([A-Za-z0-9_.-]+))?(:-[^\n\r\x00]*)?$`).FindStringSubmatch(body)
	if m == nil {
		return r, false
	}
	r.kind, r.name = m[1], m[2]
	if fallback, given := strings.CutPrefix(m[3], ":-"); given {
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

// usage says where a text stands.
type usage int

const (
	inArgument usage = iota // everybody can read a command line
	inVariable
	inRequest // ${NAME} is one of the hook's variables
	inDefault // of a parameter
)

// checkText says what is wrong with the references of a text.
func checkText(text string, params map[string]Param, use usage) error {
	pieces, err := parseText(text, use == inRequest)
	if err != nil {
		return fmt.Errorf("%w: there are ${params.NAME}, ${env.NAME}, ${label.NAME}, ${plugin_dir}, ${state_dir} and ${stoker}; $${ stands for itself", err)
	}
	for _, p := range pieces {
		if p.ref == nil || p.ref.kind != refParam {
			continue
		}
		param, known := params[p.ref.name]
		switch {
		case use == inDefault:
			return errors.New("a default cannot have a reference to a parameter")
		case !known:
			return fmt.Errorf("there is no parameter %q%s", p.ref.name, among(slices.Sorted(maps.Keys(params))))
		case param.Secret && use == inArgument:
			return fmt.Errorf("the parameter %q is secret, and everybody can read a command line; a script has it as STOKER_PARAM_%s", p.ref.name, strings.ToUpper(p.ref.name))
		}
	}
	return nil
}

// among lists what there is, for a message.
func among(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " (there are: " + strings.Join(names, ", ") + ")"
}

// scope is what references stand for.
type scope struct {
	params, env, labels         map[string]string
	pluginDir, stateDir, stoker string
	stateErr                    error // why there is no stateDir
	anything                    bool  // for trying: what is not set has a value
}

// value gives what a reference stands for. A variable or label that is not set
// needs a fallback.
func (s scope) value(r ref) (string, error) {
	value, set := "", true
	switch r.kind {
	case refParam:
		value, set = s.params[r.name], true // what is not set is empty
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
	case !set && s.anything:
		value = "sample"
	case !set:
		return "", fmt.Errorf("%s is not set, and ${%s} has no fallback (write ${%s:-TEXT})", strings.Replace(r.String(), ".", " ", 1), r, r)
	}
	if strings.ContainsAny(value, "\n\r\x00") {
		return "", fmt.Errorf("%s has a value of more than one line", r)
	}
	return value, nil
}

// expand fills the references of a text in. Values are data: what looks like a
// reference in one is none.
func (s scope) expand(text string) (string, error) {
	return s.fill(text, false, func(value string) string { return value })
}

// fill puts something made of its value in the place of each reference of a text;
// foreign is parseText's.
func (s scope) fill(text string, foreign bool, put func(value string) string) (string, error) {
	pieces, err := parseText(text, foreign)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range pieces {
		if p.ref != nil {
			value, err := s.value(*p.ref)
			if err != nil {
				return "", err
			}
			p.text = put(value)
		}
		b.WriteString(p.text)
	}
	return b.String(), nil
}

// WithoutReferences is a text with something in the place of each reference, to see
// whether it has the right form.
func WithoutReferences(text string) string {
	pieces, err := parseText(text, true)
	if err != nil {
		return text
	}
	var b strings.Builder
	for _, p := range pieces {
		if p.ref != nil {
			p.text = "1"
		}
		b.WriteString(p.text)
	}
	return b.String()
}

// expandAll does it for a list.
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

// request makes ${NAME} of every reference of a part of a request, and puts the
// values among the variables: who sends it escapes each for its place.
func (s scope) request(text string, variables map[string]string) (string, error) {
	return s.fill(text, true, func(value string) string {
		name := fmt.Sprintf("PLUGIN_REF_%d", len(variables)+1)
		variables[name] = value
		return "${" + name + "}"
	})
}
