package config

import (
	_ "embed"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/stoker-init/stoker/supervisor"
)

//go:embed advice.txt
var adviceText string

// serviceExample is the smallest configuration.
const serviceExample = `services: {app: {command: ["PROGRAM", "ARGUMENT"]}}`

// adviseKey is the advice for a key that the section of type t at path lacks.
func adviseKey(t reflect.Type, path, key string, v layeredyaml.Value) (layeredyaml.Advice, bool) {
	a := adviser{service: layeredyaml.LastKey(path), key: suggest.Fold(key), text: v.Text(), value: v}
	switch {
	case t == reflect.TypeFor[Config]() && layeredyaml.HasKey(reflect.TypeFor[Service](), key):
		return layeredyaml.Advice{Write: serviceExample, Top: true, Note: key + " belongs to a service"}, true
	case t == reflect.TypeFor[Config]() && strings.HasPrefix(strings.ToLower(key), "program:"):
		a.service = strings.TrimSpace(strings.ToLower(key)[len("program:"):])
		return layeredyaml.Advice{Write: a.fill("services: {<service>: {command: [<command>]}}"), Top: true}, true
	case t == reflect.TypeFor[Config]() && strings.HasPrefix(key, "x-"):
		a.key = "version"
	case slices.Contains([]string{"stdoutlogfile", "stderrlogfile", "standardoutput", "standarderror", "logfile"}, a.key):
		a.text = logMode().ReplaceAllString(a.text, "")
		if a.text != "null" && !strings.EqualFold(a.text, "none") && !isLogFile(a.text) {
			a.text = "container"
		}
	}
	return a.lookUp(t)
}

// adviser makes advice about a value that was written for another program.
type adviser struct {
	service, key string
	text         string // of the value
	value        layeredyaml.Value
}

// lookUp finds the advice for a section of type t in the table.
func (a adviser) lookUp(t reflect.Type) (layeredyaml.Advice, bool) {
	wanted := false
	for line := range strings.Lines(adviceText) {
		if types, ok := strings.CutPrefix(strings.TrimSpace(line), "["); ok {
			wanted = slices.Contains(strings.Fields(strings.TrimSuffix(types, "]")), t.String())
		}
		if !wanted || strings.HasPrefix(line, "#") {
			continue
		}
		keys, rest, _ := strings.Cut(line, "|")
		if words := strings.Fields(keys); slices.Contains(words, a.key) || slices.Contains(words, a.key+"="+strings.ToLower(a.text)) {
			write, note, _ := strings.Cut(rest, "|")
			write, top := strings.CutPrefix(strings.TrimSpace(write), "^ ")
			return layeredyaml.Advice{Write: a.fill(write), Top: top, Note: strings.TrimSpace(note)}, true
		}
	}
	return layeredyaml.Advice{}, false
}

var (
	containerOutput = lazyregexp.New(`^/(dev|proc)/`)
	logMode         = lazyregexp.New(`^(file|append|truncate):`)
	keyWithoutBlank = lazyregexp.New(`^([A-Za-z_][\w-]*):(\S+)$`)
)

// isLogFile reports whether a path does not lead to the container's output.
func isLogFile(path string) bool {
	return strings.HasPrefix(path, "/") && !containerOutput().MatchString(path)
}

// adviseSection is how a value in the place of a section of type t is written as one;
// empty: that is not known.
func adviseSection(t reflect.Type, path string, v layeredyaml.Value) string {
	text, key := v.Text(), layeredyaml.LastKey(path)
	a := adviser{key: "*", text: text, value: v}
	if m := keyWithoutBlank().FindStringSubmatch(text); m != nil && v.IsPlain() && layeredyaml.HasKey(t, m[1]) {
		return "put a space after the colon: " + m[1] + ": " + word(m[2])
	}
	template := ""
	_, notSignal := proc.ParseSignal(text)
	switch {
	case t == reflect.TypeFor[map[string]string]() && key == "env":
		return `write env: {NAME: "VALUE"}`
	case v.IsList() && key == "secrets":
		template = "NAME: /run/secrets/NAME"
	case v.IsList() && t != reflect.TypeFor[Service](), !v.IsList() && !v.IsText():
		return ""
	case t == reflect.TypeFor[Config]():
		return "write keys with a colon, as in " + serviceExample
	case t == reflect.TypeFor[supervisor.Stop]() && notSignal == nil && a.fill("<number>") == "":
		template = "signal: " + word(text)
	case (t == reflect.TypeFor[supervisor.Ready]() || t == reflect.TypeFor[supervisor.Live]()) && strings.HasPrefix(redact.Arg(text), "http"):
		template = "http: <argument>"
	case t == reflect.TypeFor[supervisor.Output]() &&
		slices.Contains([]string{supervisor.OutputRaw, supervisor.OutputPrefix, supervisor.OutputJSON, supervisor.OutputNone}, text):
		template = "format: " + text
	}
	section := a.fill(template)
	if advice, ok := a.lookUp(t); ok && template == "" {
		section = advice.Write
	}
	if section == "" {
		return ""
	}
	return "write " + word(key) + ": {" + section + "}"
}

// maxExample bounds what of a user's value a hint repeats, in bytes.
const maxExample = 60

var (
	placeholder = lazyregexp.New(`<([a-z]+)(?: ([^>]*))?>`)
	bareWord    = lazyregexp.New(`^[A-Za-z0-9_/][A-Za-z0-9_./:@+-]*$`)
	anyText     = lazyregexp.New(`^[^\s"'{}\[\],#]+$`)
	digits      = lazyregexp.New(`^[0-9]{1,3}$`)
)

// fill replaces the placeholders of a template, <form default>, by the adviser's value in
// that form, or by the default.
func (a adviser) fill(template string) string {
	return placeholder().ReplaceAllStringFunc(template, func(p string) string {
		m := placeholder().FindStringSubmatch(p)
		return a.form(m[1], m[2])
	})
}

func (a adviser) form(form, otherwise string) string {
	text := a.text
	switch form {
	case "example":
		return serviceExample
	case "key":
		return a.key
	case "service":
		return word(a.service)
	case "command":
		return commandIn(a.value)
	case "seconds":
		return seconds(text, otherwise)
	case "number":
		if i, err := strconv.Atoi(text); err == nil && i > 0 {
			return text
		}
		return otherwise
	case "word":
		return wordOr(text, otherwise)
	case "argument":
		return layeredyaml.Quote("", redact.Arg(text))
	case "absolute":
		if !strings.HasPrefix(text, "/") {
			return otherwise
		}
		return word(text)
	case "log":
		return logPath(text)
	case "items":
		return joinOr(items(a.value, anyText()), otherwise)
	case "codes":
		return joinOr(items(a.value, digits()), otherwise)
	case "names":
		return joinOr(unitNames(a.value), otherwise)
	case "policy":
		return policy(text)
	case "limit":
		limit := wordOr(strings.Replace(text, "infinity", "unlimited", 1), otherwise)
		return strings.TrimPrefix(a.key, "limit") + ": " + layeredyaml.Quote("", limit)
	}
	return otherwise
}

// word is text as a value of YAML, in quotes where it needs them.
func word(s string) string {
	if bareWord().MatchString(s) && len(s) <= maxExample {
		return s
	}
	return layeredyaml.Quote("", s)
}

// wordOr is word, or a default for what is no use as an example.
func wordOr(s, otherwise string) string {
	if !anyText().MatchString(s) || len(s) > maxExample {
		return otherwise
	}
	return word(s)
}

func joinOr(list []string, otherwise string) string {
	out := strings.Join(list, ", ")
	if out == "" || len(out) > maxExample {
		return otherwise
	}
	return out
}

// items are the words of a list, or of a text with blanks or commas between them, that
// have a form.
func items(v layeredyaml.Value, form *regexp.Regexp) (out []string) {
	words := strings.FieldsFunc(v.Text(), func(c rune) bool { return c == ' ' || c == ',' || c == ';' })
	for _, item := range v.Items() {
		words = append(words, item.Text())
	}
	for _, w := range words {
		if form.MatchString(w) {
			out = append(out, word(w))
		}
	}
	return out
}

// seconds is a time as a duration; its unit may be missing.
func seconds(text, otherwise string) string {
	if guess, ok := layeredyaml.GuessDuration(text); ok {
		text = guess
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return text
	}
	return otherwise
}

// policy is the restart section for a word of another program.
func policy(text string) string {
	kind, times, _ := strings.Cut(strings.ToLower(text), ":")
	switch kind {
	case "always", "true", "yes", "unless-stopped", "on-success":
		return "policy: always"
	case "no", "never", "false":
		return "policy: never"
	}
	if n, err := strconv.Atoi(times); err == nil && n > 0 {
		return fmt.Sprintf("policy: on-failure, limit: {starts: %d, retry_every: 0s}", n)
	}
	return "policy: on-failure"
}

// unitNames are the services that something needs: a list, the keys of a section, or
// systemd's names of units.
func unitNames(v layeredyaml.Value) []string {
	names := items(v, anyText())
	for name := range v.Pairs() {
		names = append(names, word(name))
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(strings.TrimSuffix(name, ".service"), ".target")
	}
	return names
}

// commandIn are the arguments of a command line: a text, a list, or the command or test
// key of a section. compose begins a test with CMD or CMD-SHELL.
func commandIn(v layeredyaml.Value) string {
	for key, command := range v.Pairs() {
		if key = suggest.Fold(key); key == "command" || key == "test" {
			return commandIn(command)
		}
	}
	var argv []string
	for i, item := range v.Items() {
		switch text := item.Text(); {
		case i == 0 && text == "CMD":
		case i == 0 && text == "CMD-SHELL":
			argv = []string{"sh", "-c"}
		default:
			argv = append(argv, text)
		}
	}
	if out := layeredyaml.QuoteList(redact.Args(argv)); out != "" && len(out) <= 2*maxExample {
		return out
	}
	return layeredyaml.AsList(strings.ReplaceAll(strings.TrimLeft(v.Text(), "-@:+!"), "$MAINPID", "$STOKER_PID"))
}

// logPath is a path of a log as an example.
func logPath(text string) string {
	if isLogFile(text) {
		return word(text)
	}
	return "/var/log/app.log"
}
