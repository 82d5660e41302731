package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/suggest"
)

// maxExample bounds what of a user's value a hint repeats, in bytes.
const maxExample = 60

var (
	placeholder = regexp.MustCompile(`<([a-z]+)(?: ([^>]*))?>`)
	bareWord    = regexp.MustCompile(`^[A-Za-z0-9_/][A-Za-z0-9_./:@+-]*$`)
	variable    = regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_.]*)=("[^"]*"|'[^']*'|[^,\s]*)`)

	// Forms of items.
	anyText    = regexp.MustCompile(`^[^\s"'{}\[\],#]+$`)
	digits     = regexp.MustCompile(`^[0-9]{1,3}$`)
	letters    = regexp.MustCompile(`^[A-Za-z_]+$`)
	secretName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	envFile    = regexp.MustCompile(`^-?/[^\s"'{}\[\],#]+$`)
)

// fill replaces the placeholders of a template, <form default>, by the adviser's value in
// that form, or by the default.
func (a adviser) fill(template string) string {
	return placeholder.ReplaceAllStringFunc(template, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		return a.form(m[1], m[2])
	})
}

func (a adviser) form(form, otherwise string) string {
	text := a.value.Text()
	switch form {
	case "key":
		return a.key
	case "service":
		return word(a.service)
	case "command":
		return commandIn(a.value)
	case "seconds":
		return seconds(text, otherwise)
	case "backoff":
		first := seconds(text, "1s")
		if d, err := time.ParseDuration(first); err == nil && d > longBackoff {
			first += ", max: " + first
		}
		return first
	case "number":
		if i, err := strconv.Atoi(text); err == nil && i > 0 {
			return text
		}
		return otherwise
	case "word":
		return wordOr(text, otherwise)
	case "upper":
		return wordOr(strings.ToUpper(text), otherwise)
	case "argument":
		return layeredyaml.Quote("", redact.Arg(text))
	case "absolute":
		if !strings.HasPrefix(text, "/") {
			return otherwise
		}
		return word(text)
	case "log":
		return logPath(text)
	case "limit":
		limit := wordOr(strings.Replace(text, "infinity", "unlimited", 1), otherwise)
		return strings.TrimPrefix(a.key, "limit") + ": " + layeredyaml.Quote("", limit)
	}
	return a.listForm(form, otherwise)
}

// listForm is form for what has several items.
func (a adviser) listForm(form, otherwise string) string {
	switch form {
	case "items":
		return joinOr(items(a.value, anyText), otherwise)
	case "item":
		return strings.SplitN(joinOr(items(a.value, secretName), otherwise), ", ", 2)[0]
	case "codes":
		return joinOr(items(a.value, digits), otherwise)
	case "files":
		return joinOr(items(a.value, envFile), otherwise)
	case "capabilities":
		return joinOr(items(a.value, letters), otherwise)
	case "dropped": // without the ~ they are those that it keeps
		lost, inverted := strings.CutPrefix(a.value.Text(), "~")
		if !inverted {
			return otherwise
		}
		return joinOr(wordsIn(strings.FieldsFunc(lost, isSeparator), letters), otherwise)
	case "names":
		return joinOr(unitNames(a.value), otherwise)
	case "policy":
		return policy(a.value.Text())
	case "cores":
		return cores(a.value.Text())
	case "ulimits":
		return ulimits(a.value)
	case "env":
		return envIn(a.value)
	}
	return otherwise
}

// word is text as a value of YAML, in quotes where it needs them.
func word(s string) string {
	if bareWord.MatchString(s) && len(s) <= maxExample {
		return s
	}
	return layeredyaml.Quote("", s)
}

// wordOr is word, or a default for what is no use as an example.
func wordOr(s, otherwise string) string {
	if !anyText.MatchString(s) || len(s) > maxExample {
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
func items(v layeredyaml.Value, form *regexp.Regexp) []string {
	words := strings.FieldsFunc(v.Text(), isSeparator)
	for _, item := range v.Items() {
		words = append(words, item.Text())
	}
	return wordsIn(words, form)
}

func isSeparator(c rune) bool { return c == ' ' || c == ',' || c == ';' }

func wordsIn(list []string, form *regexp.Regexp) (out []string) {
	for _, w := range list {
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

// cores is a number of CPUs, also from a percentage.
func cores(text string) string {
	percent, ok := strings.CutSuffix(text, "%")
	x, err := strconv.ParseFloat(percent, 64)
	switch {
	case err != nil || !(x > 0) || x > 1e6:
		return "1.5"
	case ok:
		x /= 100
	}
	return strconv.FormatFloat(x, 'g', 4, 64)
}

// unitNames are the services that something needs: a list, the keys of a section, or
// systemd's names of units.
func unitNames(v layeredyaml.Value) []string {
	names := items(v, anyText)
	for name := range v.Pairs() {
		names = append(names, word(name))
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(strings.TrimSuffix(name, ".service"), ".target")
	}
	return names
}

// commandIn are the arguments of a command line: a text, a list, or the command key of a
// section.
func commandIn(v layeredyaml.Value) string {
	for key, command := range v.Pairs() {
		if suggest.Fold(key) == "command" {
			return commandIn(command)
		}
	}
	if v.IsList() {
		return argumentsIn(v.Items(), nil)
	}
	return layeredyaml.AsList(strings.ReplaceAll(strings.TrimLeft(v.Text(), "-@:+!"), "$MAINPID", "$STOKER_PID"))
}

func argumentsIn(list []layeredyaml.Value, argv []string) string {
	for _, item := range list {
		argv = append(argv, item.Text())
	}
	if out := layeredyaml.QuoteList(redact.Args(argv)); out != "" && len(out) <= 2*maxExample {
		return out
	}
	return layeredyaml.AsList("")
}

// testCommand is that of compose: [CMD, program, argument] or [CMD-SHELL, line].
func testCommand(v layeredyaml.Value) string {
	if list := v.Items(); len(list) > 1 {
		switch list[0].Text() {
		case "CMD":
			return argumentsIn(list[1:], nil)
		case "CMD-SHELL":
			return argumentsIn(list[1:], []string{"sh", "-c"})
		}
	}
	return commandIn(v)
}

// ulimits are compose's, by name a number or a section of soft and hard.
func ulimits(v layeredyaml.Value) string {
	var out []string
	for name, value := range v.Pairs() {
		limits := map[string]string{"soft": "1024", "hard": "4096"}
		for which, limit := range value.Pairs() {
			limits[which] = adviser{value: limit}.fill("<number 4096>")
		}
		text := limits["soft"] + ":" + limits["hard"]
		if value.IsText() {
			text = adviser{value: value}.fill("<number 1024>")
		}
		if letters.MatchString(name) {
			out = append(out, fmt.Sprintf("%s: %q", name, text))
		}
	}
	return joinOr(out, `nofile: "1024:4096"`)
}

// envIn are the variables of a section, of a list of NAME=VALUE, or of a text with several
// of them, as a section in one line. What is likely to be a secret is hidden.
func envIn(v layeredyaml.Value) string {
	var out []string
	add := func(name, value string) { out = append(out, word(name)+": "+layeredyaml.Quote(name, value)) }
	for name, value := range v.Pairs() {
		add(name, value.Text())
	}
	for _, item := range v.Items() {
		if name, value, ok := strings.Cut(item.Text(), "="); ok {
			add(name, value)
		}
	}
	for _, m := range variable.FindAllStringSubmatch(v.Text(), -1) {
		add(m[1], strings.Trim(m[2], `"'`))
	}
	return "{" + joinOr(out, `NAME: "VALUE"`) + "}"
}

// logPath is a path of a log as an example.
func logPath(text string) string {
	if strings.HasPrefix(text, "/") && !noLogFile.MatchString(text) {
		return word(text)
	}
	return "/var/log/app.log"
}
