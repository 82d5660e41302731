package service

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Bounds of environment input in bytes. The kernel rejects a variable of 128 KiB with its name and "=" (execve(2), MAX_ARG_STRLEN).
const (
	maxEnvFile  = 1 << 20
	maxVariable = 128<<10 - 1
)

// variable is one line of an env file.
type variable struct{ name, value string }

// parseEnvFile reads NAME=VALUE lines as data; nothing is expanded or executed.
//
//   - blank lines, and lines whose first character is #, are left out;
//   - a value that does not begin with a quote is taken as it stands, # and
//     backslash included, less the blanks around it;
//   - within single quotes everything is itself; within double quotes a backslash
//     makes \, ", $ and ` themselves, and is itself before anything else. Behind
//     the closing quote nothing may follow;
//   - export is rejected: it needs a shell.
//
// An error gives the line's number and never its text, which may be a secret.
func parseEnvFile(text string) ([]variable, error) {
	var out []variable
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		n++
		line = strings.Trim(line, " \t\r\n")
		if line == "" || line[0] == '#' {
			continue
		}
		v, err := parseVariable(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		out = append(out, v)
	}
	return out, nil
}

func parseVariable(line string) (v variable, err error) {
	name, value, ok := strings.Cut(line, "=")
	name = strings.TrimRight(name, " \t")
	word, rest, _ := strings.Cut(name, " ")
	switch {
	case strings.ContainsRune(line, 0):
		return v, errors.New("it has a NUL byte, which no environment can hold")
	case !utf8.ValidString(line):
		return v, errors.New("it is not UTF-8")
	case word == "export" && rest != "":
		return v, errors.New("it begins with export\nhint: remove that word; the file is read as data, not by a shell")
	case !ok:
		return v, errors.New("it has no =\nhint: write NAME=VALUE, or # before a comment")
	case name == "":
		return v, errors.New("there is no name before the =")
	case !namePattern().MatchString(name):
		return v, errors.New("what stands before the = is not the name of a variable\n" +
			"hint: a name has letters, digits, _ . -, and begins with a letter or _")
	}
	v.name = name
	if v.value, err = unquote(strings.TrimLeft(value, " \t")); err == nil && len(name)+1+len(v.value) > maxVariable {
		err = fmt.Errorf("the variable %s is longer than the 128 KiB that the kernel takes", name)
	}
	return v, err
}

var (
	namePattern  = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	quotedValue  = lazyregexp.New(`(?s)^(?:'([^']*)'|"((?:[^"\\]|\\.)*)")(.*)$`)
	escapedValue = lazyregexp.New("\\\\([\\\\\"$`])")
)

// unquote removes the quotes of a quoted value.
func unquote(value string) (string, error) {
	if !strings.HasPrefix(value, `"`) && !strings.HasPrefix(value, "'") {
		return value, nil
	}
	m := quotedValue().FindStringSubmatch(value)
	switch {
	case m == nil:
		return "", errors.New("the quote is not closed on its line")
	case m[3] != "":
		return "", errors.New("something follows the closing quote\nhint: put the whole value into quotes, or none of it")
	}
	return m[1] + escapedValue().ReplaceAllString(m[2], "$1"), nil
}

// readEnvFile reads the variables of a file. A path with the prefix "-" is optional.
func readEnvFile(path string) (map[string]string, error) {
	path, optional := strings.CutPrefix(path, "-")
	data, err := untrusted.ReadFile(path, maxEnvFile)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read env file %q: %w", path, err)
	}
	vars, err := parseEnvFile(string(data))
	if err != nil {
		return nil, fmt.Errorf("cannot use env file %q, %w", path, err)
	}
	env := map[string]string{}
	for _, v := range vars {
		env[v.name] = v.value
	}
	return env, nil
}

// readSecret returns the content of a file without one final newline. Its errors never contain the content.
func readSecret(name, path string) (string, error) {
	data, err := untrusted.ReadFile(path, maxVariable)
	if err != nil {
		return "", fmt.Errorf("cannot read the secret %s from %q: %w", name, path, err)
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case bytes.IndexByte(data, 0) >= 0:
		return "", fmt.Errorf("cannot use the secret %s: %q has a NUL byte, which no environment can hold", name, path)
	case len(name)+1+len(data) > maxVariable:
		return "", fmt.Errorf("cannot use the secret %s: %q is longer than the 128 KiB that the kernel takes", name, path)
	}
	return string(data), nil
}

// shortSecret is the minimum length of a masked secret: a shorter one would match everywhere and hide nothing.
const shortSecret = 4

// Mask holds the values of secrets to hide in output.
type Mask []string

// Add adds a secret; of a multi-line one also each line.
func (m *Mask) Add(value string) {
	for _, part := range append(strings.Split(value, "\n"), value) {
		if part = strings.TrimSpace(part); len(part) >= shortSecret {
			*m = append(*m, part)
		}
	}
	slices.SortFunc(*m, func(a, b string) int { return len(b) - len(a) }) // one may contain another
}

// Text masks secret values and anything that looks like a secret.
func (m Mask) Text(s string) string { return redact.Text(m.Values(s)) }

// Values masks only the secret values.
func (m Mask) Values(s string) string {
	for _, value := range m {
		s = strings.ReplaceAll(s, value, redact.Hidden)
	}
	return s
}

// Error returns the error, or one with a masked text.
func (m Mask) Error(err error) error {
	if err == nil || m.Text(err.Error()) == err.Error() {
		return err
	}
	return errors.New(m.Text(err.Error()))
}
