package hooks

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// Limits of the file of STOKER_OUT.
const (
	maxOut      = 64 << 10 // bytes
	maxOutLines = 200
)

// Output is what hooks write to STOKER_OUT.
type Output struct {
	Env         map[string]string `json:"env,omitempty"`
	Options     []OutputOption    `json:"options,omitempty"` // of the JVM
	Annotations map[string]string `json:"annotations,omitempty"`
	// Withheld describes what is only for processes of another user, a line for each hook.
	Withheld []string `json:"-"`
}

// OutputOption is an option of the JVM with its source.
type OutputOption struct {
	Option string `json:"option"`
	Source string `json:"source"` // "hook pre-start/NAME"
}

// ParseOut parses what a hook has written to STOKER_OUT: lines of
//
//	env NAME=VALUE
//	jvm-option OPTION
//	annotation NAME=VALUE
//
// Empty lines are ignored and nothing is ever evaluated. hook is the source of its options, allow
// its AllowEnv. An error names the line.
func ParseOut(data []byte, e lifecycle.Event, hook string, allow []string) (Output, error) {
	var o Output
	if len(data) > maxOut {
		return o, fmt.Errorf("it has more than %d KiB", maxOut>>10)
	}
	if k := bytes.IndexByte(data, 0); k >= 0 {
		return o, fmt.Errorf("line %d: it holds a NUL byte", bytes.Count(data[:k], []byte("\n"))+1)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) > maxOutLines {
		return o, fmt.Errorf("it has %d lines, and %d are allowed", len(lines), maxOutLines)
	}
	for k, line := range lines {
		if line == "" {
			continue
		}
		if err := o.addLine(line, e, hook, allow); err != nil {
			return Output{}, fmt.Errorf("line %d: %w", k+1, err)
		}
	}
	return o, nil
}

func (o *Output) addLine(line string, e lifecycle.Event, hook string, allow []string) error {
	verb, rest, _ := strings.Cut(line, " ")
	if (verb == "env" || verb == "jvm-option") && !e.Contributes() {
		return fmt.Errorf("%s is for hooks of init, network-ready and pre-start: nothing is started after %s", verb, e)
	}
	switch verb {
	case "env":
		name, value, err := assignment(rest)
		if err != nil {
			return err
		}
		if !maySet(name, allow) {
			return fmt.Errorf("%s is refused, since it decides what programs load or execute: "+
				"if that is wanted, set allow_env: [%s] for the hook", quote(name), name)
		}
		put(&o.Env, name, value)
	case "annotation":
		name, value, err := assignment(rest)
		if err != nil {
			return err
		}
		put(&o.Annotations, name, value)
	case "jvm-option":
		if rest == "" {
			return errors.New("jvm-option has no option behind it")
		}
		if !strings.HasPrefix(rest, "-") {
			return fmt.Errorf("%s does not begin with -, as every JVM option does", quote(rest))
		}
		o.Options = append(o.Options, OutputOption{Option: rest, Source: "hook " + string(e) + "/" + hook})
	default:
		return fmt.Errorf("%s is not env, jvm-option or annotation", quote(verb))
	}
	return nil
}

// assignment splits NAME=VALUE.
func assignment(text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, "=")
	switch {
	case !ok:
		return "", "", fmt.Errorf("%s is not NAME=VALUE", quote(text))
	case name == "":
		return "", "", errors.New("there is no name before the =")
	case strings.ContainsAny(name, " \t\r"):
		return "", "", fmt.Errorf("the name %s has a blank in it", quote(name))
	}
	return name, value, nil
}

func put(m *map[string]string, name, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[name] = value
}

// merge adds later output, which overrides earlier variables.
func (o *Output) merge(more Output) {
	for name, value := range more.Env {
		put(&o.Env, name, value)
	}
	for name, value := range more.Annotations {
		put(&o.Annotations, name, value)
	}
	o.Options = append(o.Options, more.Options...)
	o.Withheld = append(o.Withheld, more.Withheld...)
}

// withheld describes what processes of other users do not get.
func (s *savedOutput) withheld() []string {
	what := slices.Sorted(maps.Keys(s.output.Env))
	for _, o := range s.output.Options {
		what = append(what, o.Option)
	}
	if len(what) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("not taken from hook %s/%s, which runs as uid %d and gives to processes of that user only: %s",
		s.Event, s.Hook, *s.User, strings.Join(what, ", "))}
}

// makeOut makes the file that a hook writes to, for its user only.
func makeOut(dir string, user *asuser.User) (path string, err error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", fmt.Errorf("cannot make the folder of STOKER_OUT: %w", err)
	}
	f, err := os.CreateTemp(dir, "out-*") // 0600
	if err != nil {
		return "", fmt.Errorf("cannot make STOKER_OUT: %w", err)
	}
	defer f.Close()
	if user != nil && int(user.UID) != os.Geteuid() {
		if err := f.Chown(int(user.UID), int(user.GID)); err != nil {
			os.Remove(f.Name())
			return "", fmt.Errorf("cannot give STOKER_OUT to %s: %w", user.Name, err)
		}
	}
	return f.Name(), nil
}

// readOut reads the file, whatever a hook has put in its place. A removed file has no output.
func readOut(path string) ([]byte, error) {
	data, err := untrusted.ReadFile(path, maxOut)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// CheckEnvPattern checks a pattern of Hook.AllowEnv.
func CheckEnvPattern(pattern string) error {
	const characters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_*?[]^-"
	if _, err := path.Match(pattern, ""); err != nil || strings.Trim(pattern, characters) != "" || pattern == "" {
		return fmt.Errorf("%s is not the name of a variable, nor a pattern such as LD_*", quote(pattern))
	}
	return nil
}

// maySet reports whether a hook may set a variable by STOKER_OUT.
func maySet(name string, allow []string) bool {
	return !sensitive(name) || slices.ContainsFunc(allow, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// Variables that make a program load or execute something, or are stoker's own: those that sudo
// and glibc remove, and those of Java, Tomcat and Node.
var (
	sensitivePrefixes = []string{"STOKER_", "LD_", "_RLD", "GLIBC_", "MALLOC_", "BASH", "PERL", "PYTHON", "RUBY", "LUA_",
		"JAVA_", "_JAVA_", "JDK_", "JRE_", "JPDA_", "CATALINA_", "OPENSSL_", "TERMINFO"}
	sensitiveNames = []string{
		"PATH", "ENV", "IFS", "CDPATH", "SHELLOPTS", "PS4", "PROMPT_COMMAND", "GLOBIGNORE", "ZDOTDIR", "FPATH",
		"NULLCMD", "READNULLCMD", "CLASSPATH", "JSSE_OPTS", "LOGGING_MANAGER",
		"NODE_OPTIONS", "NODE_PATH", "GIT_SSH", "GIT_SSH_COMMAND", "SHELL",
		"EDITOR", "VISUAL", "PAGER", "LESSOPEN", "GCONV_PATH", "GETCONF_DIR", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH",
		"NIS_PATH", "NLSPATH", "PATH_LOCALE", "RESOLV_HOST_CONF", "RES_OPTIONS", "TZDIR", "TERMCAP", "TERMPATH",
		"SSLKEYLOGFILE",
	}
)

func sensitive(name string) bool {
	return slices.Contains(sensitiveNames, name) ||
		slices.ContainsFunc(sensitivePrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// quote quotes text for an error.
func quote(text string) string { return `"` + printable.OneLine(text) + `"` }
