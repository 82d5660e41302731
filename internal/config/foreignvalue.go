package config

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/suggest"
	"go.yaml.in/yaml/v3"
)

// maxExample bounds what of a user's value is repeated in a hint, in bytes.
const maxExample = 60

// anyText, digits and capital are the forms of items.
const (
	anyText = `^[^\s"'{}\[\],#]+$`
	digits  = `^[0-9]{1,3}$`
	capital = `^[A-Za-z_]+$`
)

// example is as much of a node as a hint could show: what an alias repeats a thousand
// times is not gone through as often.
func example(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	out := *n
	out.Content = n.Content[:min(len(n.Content), maxExample)]
	out.Value = strings.ToValidUTF8(n.Value[:min(len(n.Value), 4*maxExample)], "")
	return &out
}

// word is text as a value of YAML, in quotes where it needs them.
func word(s string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_/][A-Za-z0-9_./:@+-]*$`).MatchString(s) && len(s) <= maxExample {
		return s
	}
	return quote("", s)
}

// cmpWord is word, or a default for what would be no use as an example.
func cmpWord(s, otherwise string) string {
	if !regexp.MustCompile(anyText).MatchString(s) || len(s) > maxExample {
		return otherwise
	}
	return word(s)
}

func cmpList(list []string, otherwise string) []string {
	if len(list) == 0 || len(strings.Join(list, ", ")) > maxExample {
		return []string{otherwise}
	}
	return list
}

// items are the words of a list, or of a text with blanks or commas between them, that
// have a form.
func items(n *yaml.Node, form string) (out []string) {
	words := strings.FieldsFunc(n.Value, func(c rune) bool { return c == ' ' || c == ',' || c == ';' })
	if n.Kind == yaml.SequenceNode {
		for _, item := range n.Content {
			words = append(words, item.Value)
		}
	}
	for _, w := range words {
		if regexp.MustCompile(form).MatchString(w) {
			out = append(out, word(w))
		}
	}
	return out
}

// number is a whole number, or the default.
func number(n *yaml.Node, otherwise string) string {
	if i, err := strconv.Atoi(n.Value); err == nil && i > 0 {
		return n.Value
	}
	return otherwise
}

// seconds is a time of which the unit may be missing, as a duration of ours.
func seconds(n *yaml.Node, otherwise string) string {
	text := n.Value
	if d, _, ok := parseDuration("", text); ok && d > 0 {
		return text
	}
	if m := regexp.MustCompile(`^([1-9][0-9]{0,5}) *([a-zA-Z]*)$`).FindStringSubmatch(text); m != nil {
		if unit, ok := knownUnit(cmp.Or(m[2], "s")); ok {
			return m[1] + unit
		}
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

// namesIn are the services that something needs: a list, the keys of a section, or
// systemd's names of units.
func namesIn(n *yaml.Node, otherwise string) string {
	var names []string
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			names = append(names, word(n.Content[i].Value))
		}
	} else {
		names = items(n, anyText)
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(strings.TrimSuffix(name, ".service"), ".target")
	}
	return strings.Join(cmpList(names, otherwise), ", ")
}

// commandIn are the arguments of a command line: a text, a list, or the command key of
// a section.
func commandIn(n *yaml.Node) string {
	n = example(n)
	switch n.Kind {
	case yaml.ScalarNode:
		return asList(strings.ReplaceAll(strings.TrimLeft(n.Value, "-@:+!"), "$MAINPID", "$STOKER_PID"))
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if suggest.Fold(n.Content[i].Value) == "command" {
				return commandIn(n.Content[i+1])
			}
		}
	case yaml.SequenceNode:
		var words []string
		for _, item := range n.Content {
			words = append(words, item.Value)
		}
		if out := quoted(redact.Args(words)); out != "" && len(out) <= 2*maxExample {
			return out
		}
	}
	return asList("")
}

// hookAdvice makes a hook of a command that another program runs around a start.
func hookAdvice(e lifecycle.Event, service string, n *yaml.Node, more string) advice {
	name := word(service)
	return advice{fmt.Sprintf("hooks: {%s: [{name: %s, command: [%s], %sservices: [%s]}]}", e, name, commandIn(n), more, name), true, ""}
}

// healthcheck makes a probe of compose's section, or of its like.
func healthcheck(section string, n *yaml.Node) advice {
	parts := []string{`exec: ["PROGRAM", "ARGUMENT"]`}
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		switch value := n.Content[i+1]; suggest.Fold(n.Content[i].Value) {
		case "test":
			parts[0] = "exec: [" + testCommand(value) + "]"
		case "interval":
			parts = append(parts, "every: "+seconds(value, "10s"))
		case "timeout":
			parts = append(parts, "timeout: "+seconds(value, "5s"))
		case "retries":
			if section == "live" {
				parts = append(parts, "failures: "+number(value, "3"))
			}
		}
	}
	return advice{fmt.Sprintf("%s: {%s}", section, strings.Join(parts, ", ")), false,
		"ready says when it is started, live that it hangs; both can ask http, tcp, exec or file"}
}

// testCommand is that of compose: [CMD, program, argument] or [CMD-SHELL, line].
func testCommand(n *yaml.Node) string {
	if n.Kind != yaml.SequenceNode || len(n.Content) < 2 {
		return commandIn(n)
	}
	switch rest := n.Content[1:]; n.Content[0].Value {
	case "CMD":
		return commandIn(&yaml.Node{Kind: yaml.SequenceNode, Content: rest})
	case "CMD-SHELL":
		shell := []*yaml.Node{{Kind: yaml.ScalarNode, Value: "sh"}, {Kind: yaml.ScalarNode, Value: "-c"}}
		return commandIn(&yaml.Node{Kind: yaml.SequenceNode, Content: append(shell, rest...)})
	}
	return commandIn(n)
}

// ulimits are compose's, by name a number or a section of soft and hard.
func ulimits(n *yaml.Node) string {
	var out []string
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		name, value := n.Content[i].Value, example(n.Content[i+1])
		limits := map[string]string{"soft": "1024", "hard": "4096"}
		for k := 0; k+1 < len(value.Content); k += 2 {
			limits[value.Content[k].Value] = number(value.Content[k+1], "4096")
		}
		text := limits["soft"] + ":" + limits["hard"]
		if value.Kind == yaml.ScalarNode {
			text = number(value, "1024")
		}
		if regexp.MustCompile(`^[a-z]+$`).MatchString(name) {
			out = append(out, fmt.Sprintf("%s: %q", name, text))
		}
	}
	return strings.Join(cmpList(out, `nofile: "1024:4096"`), ", ")
}

// envIn are the variables of a section, of a list of NAME=VALUE, or of a text with several
// of them, as a section in one line. What is likely to be a secret is hidden.
func envIn(n *yaml.Node) string {
	var out []string
	add := func(name, value string) { out = append(out, word(name)+": "+quote(name, value)) }
	pair := regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_.]*)=("[^"]*"|'[^']*'|[^,\s]*)`)
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			add(n.Content[i].Value, n.Content[i+1].Value)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if name, value, ok := strings.Cut(item.Value, "="); ok {
				add(name, value)
			}
		}
	default:
		for _, m := range pair.FindAllStringSubmatch(n.Value, -1) {
			add(m[1], strings.Trim(m[2], `"'`))
		}
	}
	return "{" + strings.Join(cmpList(out, `NAME: "VALUE"`), ", ") + "}"
}
