package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/suggest"
)

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
	if strings.HasPrefix(text, "/") && !noLogFile().MatchString(text) {
		return word(text)
	}
	return "/var/log/app.log"
}
