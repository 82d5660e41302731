package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/hooks"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/reference"
)

// ref is a reference such as ${label.appid:-none}.
type ref struct {
	kind, name string // params, env and label have a name
	fallback   string // for a value that is not set or empty
	optional   bool   // there is a fallback
}

func (r ref) String() string { return strings.TrimSuffix(r.kind+"."+r.name, ".") }

var referencePattern = lazyregexp.New(`^(?:(params|env|label)\.([A-Za-z0-9_.-]+)|(plugin_dir|state_dir|stoker))(:-[^\n\r\x00]*)?$`)

// replace replaces each reference of a text. $${ is a literal ${. With foreign, ${NAME} and $${ are left for what sends a request.
func replace(text string, foreign bool, value func(ref) (string, error)) (string, error) {
	const forms = "there are ${params.NAME}, ${env.NAME}, ${label.NAME}, ${plugin_dir}, ${state_dir} and ${stoker}; $${ stands for itself"
	pieces, err := reference.Split(text)
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, forms)
	}
	var b strings.Builder
	for _, p := range pieces {
		m := referencePattern().FindStringSubmatch(p.Text)
		_, _, variable := reference.Variable(p.Text)
		switch {
		case !p.Ref && foreign:
			p.Text = strings.ReplaceAll(p.Text, "${", "$${")
		case !p.Ref:
		case m != nil:
			p.Text, err = value(ref{kind: m[1] + m[3], name: m[2], fallback: strings.TrimPrefix(m[4], ":-"), optional: m[4] != ""})
		case foreign && variable:
			p.Text = "${" + p.Text + "}"
		default:
			err = fmt.Errorf("%q is no reference: %s", "${"+reference.Shorten(p.Text, 60)+"}", forms)
		}
		if err != nil {
			return "", err
		}
		b.WriteString(p.Text)
	}
	return b.String(), nil
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
	_, err := replace(text, use == inRequest, func(r ref) (string, error) {
		param, known := params[r.name]
		switch {
		case r.kind != "params":
		case use == inDefault:
			return "", errors.New("a default cannot have a reference to a parameter")
		case !known:
			return "", fmt.Errorf("there is no parameter %q%s", r.name, among(slices.Sorted(maps.Keys(params))))
		case param.Secret && use == inArgument:
			return "", fmt.Errorf("the parameter %q is secret, and everybody can read a command line; a script has it as STOKER_PARAM_%s",
				r.name, strings.ToUpper(r.name))
		}
		return "", nil
	})
	return err
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
	case "params":
		value = s.params[r.name]
	case "env":
		value, set = s.env[r.name]
	case "label":
		value, set = s.labels[r.name]
	case "plugin_dir":
		value = s.pluginDir
	case "state_dir":
		if value = s.stateDir; s.stateErr != nil {
			return "", s.stateErr
		}
	case "stoker":
		value = s.stoker
	}
	switch {
	case r.optional:
		value = cmp.Or(value, r.fallback)
	case !set && s.sample:
		value = "sample"
	case !set:
		return "", fmt.Errorf("%s %s is not set, and ${%s} has no fallback (write ${%s:-TEXT})", r.kind, r.name, r, r)
	}
	if strings.ContainsAny(value, "\n\r\x00") {
		return "", fmt.Errorf("%s has a value of more than one line", r)
	}
	return value, nil
}

// expand replaces the references of a text. References in their values are not resolved.
func (s scope) expand(text string) (string, error) { return replace(text, false, s.value) }

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

// replaceTexts replaces the texts of a hook that may have references. key is below that of the hook.
func replaceTexts(h *hooks.Hook, replace func(key, text string, use usage) string) {
	h.Command = slices.Clone(h.Command)
	for k, text := range h.Command {
		h.Command[k] = replace(fmt.Sprintf("command[%d]", k), text, inArgument)
	}
	replaceValues := func(key string, values map[string]string, use usage) map[string]string {
		out := map[string]string{}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			out[name] = replace(key+"."+name, values[name], use)
		}
		return out
	}
	h.Env = replaceValues("env", h.Env, inVariable)
	h.CAFile = replace("ca_file", h.CAFile, inVariable)
	h.URL = replace("url", h.URL, inRequest)
	h.Body = replace("body", h.Body, inRequest)
	h.Headers = replaceValues("headers", h.Headers, inRequest)
}

// WithoutReferences replaces each reference in a hook by "1", so that the form of the hook can be checked.
func WithoutReferences(h hooks.Hook) hooks.Hook {
	replaceTexts(&h, func(_, text string, _ usage) string {
		out, err := replace(text, true, func(ref) (string, error) { return "1", nil })
		if err != nil {
			return text
		}
		return out
	})
	return h
}
