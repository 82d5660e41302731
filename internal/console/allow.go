package console

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/jvm"
)

// Bounds of command and environment of a session, in bytes: they are kept as JSON in the fd store, whose items have 64 KiB.
const (
	maxArguments = 32 << 10
	maxEscaped   = 56 << 10 // as JSON, where < has 6
)

// validate checks what can be checked without the container.
func (s *Spec) validate(c Config) error {
	bad := func(field, format string, args ...any) error { return &SpecError{field, fmt.Sprintf(format, args...)} }
	size := 0
	all := slices.Concat(s.Command, s.Env, []string{s.Dir, s.User, s.AuditID, s.Context, s.Container})
	for _, text := range all {
		if size += 2*len(text) + 4; strings.ContainsRune(text, 0) {
			return bad("command", "nothing of a session may hold a NUL")
		}
	}
	escaped, _ := json.Marshal(all) // texts can always be encoded
	switch {
	case size > maxArguments:
		return bad("command", "command and environment have more than %d bytes", maxArguments/2)
	case len(escaped) > maxEscaped:
		return bad("command", "command and environment have too many characters that JSON escapes, such as < and control characters")
	case len(s.Command) == 0 && !s.TTY:
		return bad("command", "is missing: a shell needs a terminal (tty)")
	case len(s.Command) > 0 && s.Command[0] == "":
		return bad("command", "its first argument is empty")
	case s.Dir != "" && !filepath.IsAbs(s.Dir):
		return bad("dir", "%q is not an absolute path", s.Dir)
	case s.Keep < 0:
		return bad("keep", "is below 0")
	}
	for _, kv := range s.Env {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || !isVariable(name) {
			return bad("env", "%.60q is not NAME=VALUE", kv)
		}
		if !mayChoose(c.Env, name) {
			return bad("env", "%s may not be set by a client (console.env lists more that may)", name)
		}
		if !wellFormed(name, value) {
			return bad("env", "%.60q is no value of %s that a client may choose", value, name)
		}
	}
	return nil
}

// isVariable reports whether a shell could have a variable of that name.
func isVariable(name string) bool {
	for k, r := range name {
		if r != '_' && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && (k == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// mayChoose reports whether a client may set a variable.
func mayChoose(more []string, name string) bool {
	always := []string{"TERM", "COLORTERM", "LANG", "LC_*", "COLUMNS", "LINES", "TZ"}
	return matches(always, name) || !isDangerous(name) && matches(more, name)
}

// wellFormed reports whether a value is in the form of those that every client may set. Programs take more than that: TERM, TZ and the
// language can be the path of a file that the C library loads, and a shell computes with COLUMNS.
func wellFormed(name, value string) bool {
	const maxValue = 128
	punctuation, begin := "", ""
	switch {
	case name == "COLUMNS" || name == "LINES":
		return value != "" && len(value) <= 5 && strings.Trim(value, "0123456789") == ""
	case name == "TERM" || name == "COLORTERM":
		punctuation = "._+-"
	case name == "LANG" || name == "LANGUAGE" || strings.HasPrefix(name, "LC_"):
		punctuation = "._@:+-"
	case name == "TZ": // Europe/Berlin, <-03>3, CET-1CEST,M3.5.0,M10.5.0/3
		punctuation, begin = "._+-,/:<>", "<"
	default:
		return true
	}
	if value == "" {
		return true
	}
	isWord := func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }
	return len(value) <= maxValue && !strings.Contains(value, "..") && (isWord(rune(value[0])) || strings.Contains(begin, value[:1])) &&
		!strings.ContainsFunc(value, func(r rune) bool { return !isWord(r) && !strings.ContainsRune(punctuation, r) })
}

// isDangerous reports whether a variable changes what program is run or how, so that a client who may run one command could run any.
func isDangerous(name string) bool {
	return matches([]string{"LD_*", "JAVA_*", "JDK_*", "BASH_*", "STOKER_*", "GCONV_PATH", "PATH", "IFS", "ENV", "HOME", "SHELL", "USER",
		"LOGNAME", "PERL5*", "PYTHON*", "LOCPATH", "MUSL_LOCPATH", "NLSPATH", "TEXTDOMAINDIR", "TERMINFO*", "TERMCAP", "TZDIR",
		"GLIBC_TUNABLES", "SHELLOPTS", "BASHOPTS", "PROMPT_COMMAND", "PS4", "CLASSPATH"}, name) ||
		strings.HasSuffix(name, "_OPTS") || strings.HasSuffix(name, "_OPTIONS")
}

// matches reports whether a name is in a list, in which "*" at the end of a name is any rest.
func matches(list []string, name string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		prefix, open := strings.CutSuffix(p, "*")
		return p == name || open && strings.HasPrefix(name, prefix)
	})
}

// mayRun returns why an identity may not run a command. "*" in a pattern is one argument that is no option, and no file of arguments.
// The error is a *CommandError.
func (c Config) mayRun(by string, command []string) error {
	patterns, listed := c.Commands[by]
	if !listed {
		patterns, listed = c.Commands["*"]
	}
	if !listed || slices.ContainsFunc(patterns, func(p []string) bool {
		return slices.EqualFunc(p, command, func(want, have string) bool {
			return want == have || want == "*" && !strings.HasPrefix(have, "-") && !strings.HasPrefix(have, "@")
		})
	}) {
		return nil
	}
	return &CommandError{by, command[0], patterns}
}

// mayAttach returns why a client may not attach to a session.
func (m *Manager) mayAttach(s *Session, by access.Identity) error {
	if !m.Enabled() {
		return ErrOff
	}
	s.mu.Lock()
	opener, admin, command := s.saved.By, s.saved.Admin, s.saved.Command
	s.mu.Unlock()
	switch {
	case by.Grants.Has(access.Admin) || by.Name == opener:
		return nil
	case !by.Grants.Has(access.Exec):
		return fmt.Errorf("%w: a session needs the grant exec", ErrNotAllowed)
	case admin:
		return fmt.Errorf("%w: this session needs the grant admin, since it runs as another user", ErrNotAllowed)
	}
	return m.config().mayRun(by.Name, command)
}

// maxScrollback bounds the memory of the output of a session.
const maxScrollback = 64 << 20

// Validate returns what is wrong with the section beside the forms of its fields.
func (c Config) Validate() []SpecError {
	var out []SpecError
	if size, err := jvm.ParseMemory(c.Scrollback); err == nil && (size < leastKept || size > maxScrollback) {
		out = append(out, SpecError{"scrollback",
			fmt.Sprintf("%s is not between %dKiB and %dMiB", c.Scrollback, leastKept>>10, maxScrollback>>20)})
	}
	for k, name := range c.Env {
		prefix := strings.TrimSuffix(name, "*")
		switch {
		case prefix != "" && !isVariable(prefix):
			out = append(out, SpecError{fmt.Sprintf("env[%d]", k), fmt.Sprintf("%q is no name of a variable", name)})
		case prefix == "":
			out = append(out, SpecError{fmt.Sprintf("env[%d]", k), "a client may not set every variable: name them, or a prefix with *"})
		case isDangerous(name) || isDangerous(prefix):
			out = append(out, SpecError{fmt.Sprintf("env[%d]", k),
				fmt.Sprintf("%s is never set by a client: it changes which programs are run, or how", name)})
		}
	}
	for name, patterns := range c.Commands {
		for k, p := range patterns {
			if len(p) == 0 || p[0] == "" {
				out = append(out, SpecError{fmt.Sprintf("commands.%s[%d]", name, k), "is an empty command"})
			}
		}
	}
	return append(out, c.Recording.validate()...)
}
