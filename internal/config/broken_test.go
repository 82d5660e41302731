package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/layeredyaml"
)

// brokenFiles are files that are no YAML, each in a way of its own; mended is what the
// hint makes of it.
func brokenFiles() []struct{ name, text, mended string } {
	return []struct{ name, text, mended string }{
		{"tab", "services:\n\ta:\n\t\tcommand: [x]\n", "services:\n  a:\n    command: [x]\n"},
		{"tab behind blanks", "services:\n  a:\n  \tcommand: [x]\n", ""},
		{"tab before a list item", "services:\n  a:\n    command:\n    \t- x\n", ""},
		{"deeper below a value", "stop:\n  timeout: 8s\n   more: 1\n", "log:\n  level: info\n"},
		{"deeper below a list", "services:\n  a:\n    command: [x]\n      user: app\n", "services:\n  a:\n    command: [x]\n    user: app\n"},
		{"a colon in a value", "labels:\n  title: stoker: the init\n", "labels:\n  title: \"stoker: the init\"\n"},
		{"a URL with a port behind a blank", "services:\n  a:\n    ready: {http: http://h: 80/}\n", ""},
		{"less deep than its siblings", "services:\n    a:\n        command: [x]\n      user: app\n",
			"services:\n    a:\n        command: [x]\n        user: app\n"},
		{"less deep at the top", "  services:\n    a: {command: [x]}\n  log: {level: info}\nstop: {timeout: 5s}\n",
			"  services:\n    a: {command: [x]}\n  log: {level: info}\n  stop: {timeout: 5s}\n"},
		{"deeper at the top", "log: {level: info}\n  stop: {timeout: 5s}\n", "log: {level: info}\nstop: {timeout: 5s}\n"},
		{"a list among keys", "services:\n  a:\n    command: [x]\n    - y\n", ""},
		{"a key among items", "services:\n  a:\n    command:\n    - x\n    y: z\n    - w\n", ""},
		{"an item behind its key", "services:\n  a:\n    command: - x\n", "services:\n  a:\n    command:\n    - x\n"},
		{"no colon", "services:\n  a:\n    command [x]\n    user: app\n", "services:\n  a:\n    command: [x]\n    user: app\n"},
		{"no colon at the end", "services\n  a:\n    command: [x]\n", "services:\n  a:\n    command: [x]\n"},
		{"no blank behind the colon", "stop:\n  timeout:8s\nlog: {level: info}\n", "stop:\n  timeout: 8s\nlog: {level: info}\n"},
		{"no blank behind the colon of the first key", "services:\n  a:\n    user:app\n    command: [x]\n",
			"services:\n  a:\n    user: app\n    command: [x]\n"},
		{"an open brace", "stop: {timeout: 8s\nlog: {level: info}\n", "stop: {timeout: 8s}\nlog: {level: info}\n"},
		{"an open bracket", "services:\n  a:\n    command: [x, y\n    user: app\n", "services:\n  a:\n    command: [x, y]\n    user: app\n"},
		{"a closing brace too many", "stop: {timeout: 8s}}\n", "stop: {timeout: 8s}\n"},
		{"the wrong closing brace", "services: {a: {command: [x}}}\n", "services: {a: {command: [x]}}\n"},
		{"an open double quote", "services:\n  a:\n    command: [\"x, y]\n    user: app\n",
			"services:\n  a:\n    command: [\"x\", y]\n    user: app\n"},
		{"an open single quote", "labels:\n  a: 'it''s\n  b: c\n", "labels:\n  a: 'it''s'\n  b: c\n"},
		{"an apostrophe in quotes", "labels:\n  a: 'it's'\n  b: c\n", "labels:\n  a: 'it''s'\n  b: c\n"},
		{"text behind quotes", "labels:\n  a: \"b\" c\n", "labels:\n  a: \"b c\"\n"},
		{"a backslash in double quotes", "labels:\n  a: \"C:\\dir\"\n", "labels:\n  a: 'C:\\dir'\n"},
		{"an unknown anchor", "services:\n  a: *base\n", ""},
		{"a value that begins with *", "services:\n  a:\n    command: [ls, *.jar]\n", "services:\n  a:\n    command: [ls, \"*.jar\"]\n"},
		{"a value that begins with @", "services:\n  a:\n    command: [java, @args]\n", "services:\n  a:\n    command: [java, \"@args\"]\n"},
		{"a value that begins with a backquote", "labels:\n  a: `date`\n", "labels:\n  a: \"`date`\"\n"},
		{"a value that begins with %", "labels:\n  a: %h\n", "labels:\n  a: \"%h\"\n"},
		{"a value that begins with &", "labels:\n  a: & b\n", "labels:\n  a: \"& b\"\n"},
		{"a value that begins with !", "labels:\n  a: !b!c d\n", "labels:\n  a: \"!b!c d\"\n"},
		{"a template", "labels:\n  a: {{ .Values.name }}\n", "labels:\n  a: \"{{ .Values.name }}\"\n"},
		{"text behind |", "labels:\n  a: | text\n    more\n", "labels:\n  a: |\n    text\n    more\n"},
		{"a key twice", "stop: {timeout: 8s}\nlog: {level: info}\nstop: {timeout: 9s}\n", ""},
		{"an anchor twice is fine, and its cycle not", "labels: &l\n  a: *l\n", ""},
		{"a merge of a value", "services:\n  a:\n    <<: 3\n    command: [x]\n", ""},
		{"a second document", "stop: {timeout: 8s}\n---\nlog: {level: info}\n", ""},
		{"a secret in the line", "services:\n  a:\n    env: {DB_PASSWORD: hunter2: x}\n", ""},
		{"JSON with a comma too many is fine, with a comment not", "{\"stop\": {\"timeout\": \"8s\",}, // why\n \"log\": {}}\n", ""},
		{"a file of Supervisor", "[program:web]\ncommand=java -jar app.jar\nautostart=true\n",
			"services: {app: {command: [\"PROGRAM\", \"ARGUMENT\"]}}\n"},
		{"a unit of systemd", "[Service]\nExecStart=/usr/bin/java -jar app.jar\n", ""},
		{"properties", "stop.timeout=8s\nlog.level=info\n", ""},
		{"a conflict of git", "stop:\n<<<<<<< HEAD\n  timeout: 8s\n=======\n  timeout: 9s\n>>>>>>> other\n", "stop:\n  timeout: 8s\n"},
		{"the end of a heredoc", "stop: {timeout: 8s}\nEOF\n", ""},
	}
}

func TestBrokenFiles(t *testing.T) {
	var report strings.Builder
	for _, tc := range brokenFiles() {
		_, err := loadText(t, tc.text)
		var ps layeredyaml.Problems
		if !errors.As(err, &ps) {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if _, err := loadText(t, tc.mended); err != nil {
			t.Errorf("%s: after the hint %q: %v", tc.name, ps[0].Hint, err)
		}
		fmt.Fprintf(&report, "# %s\n%s\n\n", tc.name, strings.ReplaceAll(ps.Error(), ps[0].File, "FILE"))
	}
	golden(t, "testdata/broken.golden", report.String())
}
