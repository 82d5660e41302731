package tomcat

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Runner runs a program to its end and returns its stdout followed by its stderr. The error of a failed program says how it ended.
type Runner func(ctx context.Context, argv, env []string, dir string) (output []byte, err error)

// setenvLimit bounds a setenv.sh that hangs, if ctx has no earlier deadline.
const setenvLimit = 30 * time.Second

// scriptVars are the variables that catalina.sh and setclasspath.sh read after setenv.sh. The script sources setenv.sh, so they apply
// exported or not.
var scriptVars = []string{
	"CATALINA_HOME", "CATALINA_BASE", "CATALINA_OUT", "CATALINA_OUT_CMD", "CATALINA_OPTS", "CATALINA_TMPDIR",
	"CATALINA_PID", "CATALINA_LOGGING_CONFIG", "LOGGING_CONFIG", "LOGGING_MANAGER", "CLASSPATH", "JAVA_HOME",
	"JRE_HOME", "_RUNJAVA", "JAVA_OPTS", "JSSE_OPTS", "JAVA_ENDORSED_DIRS", "UMASK", "USE_NOHUP", "JPDA_TRANSPORT",
	"JPDA_ADDRESS", "JPDA_SUSPEND", "JPDA_OPTS", "JDK_JAVA_OPTIONS",
}

// SetenvResult is the effect of bin/setenv.sh.
type SetenvResult struct {
	// File is the script; empty if there is none or it is ignored.
	File string
	// Install is the one given, or another if setenv.sh set CATALINA_HOME or CATALINA_BASE.
	Install Install
	// Env is the resulting exported environment, Vars the shell variables that only catalina.sh would see; both go into Options and
	// UserOptions.
	Env, Vars map[string]string
	// Set and Unset are the variables that the script changed, sorted.
	Set, Unset []string
	// Dir is the working directory after the script, if it changed: the JVM starts there.
	Dir   string
	Notes []string
}

// SetenvFile returns the setenv.sh that catalina.sh would source: the base's, else the home's. ok is false if neither can be read.
func (in Install) SetenvFile() (path string, ok bool) {
	for _, dir := range []string{in.Base, in.Home} {
		if path = filepath.Join(dir, "bin/setenv.sh"); readable(path) {
			return path, true
		}
	}
	return "", false
}

// ImportSetenv applies the policy (SetenvImport, SetenvIgnore, SetenvRefuse; "" is import) to bin/setenv.sh. import runs it once in sh,
// with the variables it would have seen, and returns what it changed. It fails if the script ends the shell, because catalina.sh would have
// ended there too.
func (in Install) ImportSetenv(ctx context.Context, policy string, env map[string]string, dir string, run Runner) (SetenvResult, error) {
	imp := SetenvResult{Install: in, Env: maps.Clone(env), Vars: map[string]string{}}
	file, ok := in.SetenvFile()
	if !ok {
		return imp, nil
	}
	switch policy {
	case SetenvIgnore:
		imp.Notes = append(imp.Notes, file+" is ignored (tomcat.setenv: ignore)")
		return imp, nil
	case SetenvRefuse:
		return SetenvResult{}, fmt.Errorf("cannot start Tomcat: %s exists and tomcat.setenv is refuse\n"+
			"hint: move what it sets into the configuration, or set tomcat.setenv to import or ignore", file)
	case SetenvImport, "":
	default:
		return SetenvResult{}, fmt.Errorf("cannot use tomcat.setenv %q: not import, ignore or refuse", policy)
	}
	imp.File = file
	ctx, cancel := context.WithTimeout(ctx, setenvLimit)
	defer cancel()
	deadline, _ := ctx.Deadline()
	mark, limit := "stoker-"+rand.Text(), time.Until(deadline)
	sh := func(program string, want int) ([][]byte, error) {
		out, err := run(ctx, []string{"/bin/sh", "-c", program, in.Home + "/bin/catalina.sh", "run"}, environOf(env), dir)
		parts := bytes.Split(out, []byte(mark))
		if len(parts) != want {
			return nil, setenvFailed(ctx, file, string(parts[0]), limit, err)
		}
		if err != nil {
			imp.Notes = append(imp.Notes, fmt.Sprintf("%s: %v", file, err))
		}
		return parts, nil
	}
	was, err := sh(strings.ReplaceAll(envProgram, "@MARK@", mark), 3)
	if err != nil {
		return SetenvResult{}, err
	}
	is, err := sh(in.setenvProgram(file, mark), 5)
	if err != nil {
		return SetenvResult{}, err
	}
	return imp.apply(env, nulPairs(was[1]), nulPairs(is[1]), nulPairs(is[2]), nulPairs(is[3]))
}

// SetenvError is returned when bin/setenv.sh did not run to its end.
type SetenvError struct {
	Err    error
	Output string // what it printed, unbounded and not redacted
}

func (e *SetenvError) Error() string { return e.Err.Error() }
func (e *SetenvError) Unwrap() error { return e.Err }

// setenvFailed returns the error for a script that exited the shell or was killed.
func setenvFailed(ctx context.Context, file, output string, limit time.Duration, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("it did not end within %v and was killed", limit.Round(time.Second))
	case ctx.Err() != nil:
		err = fmt.Errorf("the start was cancelled: %w", ctx.Err())
	case err != nil:
		err = fmt.Errorf("it ended the shell: %w", err)
	default:
		err = errors.New("it ended the shell (exit 0)")
	}
	return &SetenvError{fmt.Errorf("cannot import %s: %w", file, err), output}
}

// envProgram prints, between marks, the environment that the shell exports: without names that it cannot hold, and with its own variables.
// It is not part of setenvProgram, of whose output only the end is kept.
const envProgram = "stoker_env=`command -v env` || exit 127\nprintf %s @MARK@\n\"$stoker_env\" -0 || exit 126\nprintf %s @MARK@\n"

// setenvProgram sources file as catalina.sh would and then writes three parts, each after the mark: the exported environment, the script's
// variables, and directory and limits. What setenv.sh prints comes before; it cannot know the mark. It is plain POSIX, tested with dash,
// bash and busybox sh.
func (in Install) setenvProgram(file, mark string) string {
	var variables []string
	for _, name := range scriptVars {
		variables = append(variables, fmt.Sprintf(`[ -n "${%[1]s+x}" ] && stoker_put %[1]s "$%[1]s"`, name))
	}
	return strings.NewReplacer("@SCRIPT@", quote(in.Home+"/bin/catalina.sh"), "@BIN@", quote(in.Home+"/bin"),
		"@HOME@", quote(in.Home), "@BASE@", quote(in.Base), "@FILE@", quote(file), "@MARK@", mark,
		"@VARIABLES@", strings.Join(variables, "\n")).Replace(setenvTemplate)
}

//go:embed setenv_template.sh
var setenvTemplate string

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func environOf(env map[string]string) []string {
	var out []string
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

// apply applies what setenv.sh changed of the shell's environment, from the output of setenvProgram. Names that a shell cannot hold, and
// its own variables, stay as they were.
func (imp SetenvResult) apply(before, was, is, vars, other map[string]string) (SetenvResult, error) {
	for name := range was {
		if _, has := is[name]; !has && !shellOwned(name) {
			delete(imp.Env, name)
		}
	}
	for name, value := range is {
		if old, had := was[name]; (!had || old != value) && !shellOwned(name) {
			imp.Env[name] = value
		}
	}
	for name, value := range vars {
		if got, ok := imp.Env[name]; !ok || got != value || name == "CLASSPATH" {
			imp.Vars[name] = value
		}
	}
	imp.compare(before)
	imp.Notes = append(imp.Notes, imp.File+" was run once and "+imp.changes())
	for _, flag := range []string{"n", "c", "s"} {
		if was, is := other["before-"+flag], other["after-"+flag]; was != is {
			imp.Notes = append(imp.Notes, fmt.Sprintf("%s changed ulimit -%s from %s to %s; limits are not imported", imp.File, flag, was, is))
		}
	}
	if other["before-dir"] != other["after-dir"] {
		imp.Dir = other["after-dir"]
	}
	home, base, old := vars["CATALINA_HOME"], vars["CATALINA_BASE"], imp.Install
	if home == old.Home && base == old.Base {
		return imp, nil
	}
	var err error
	if imp.Install, err = open(home, base); err != nil {
		return SetenvResult{}, fmt.Errorf("cannot follow %s: %w", imp.File, err)
	}
	if imp.Install.HomeFrom = imp.File; imp.Install.Home == old.Home {
		imp.Install.HomeFrom = old.HomeFrom
	}
	if imp.Install.BaseFrom = imp.File; imp.Install.Base == old.Base {
		imp.Install.BaseFrom = old.BaseFrom
	}
	return imp, nil
}

// shellOwned reports whether a variable belongs to the shell or marks its process.
func shellOwned(name string) bool {
	return slices.Contains([]string{"_", "PWD", "OLDPWD", "SHLVL", "STOKER_PROCESS"}, name)
}

// compare lists what differs from before. Variables that catalina.sh sets before setenv.sh are compared with these values.
func (imp *SetenvResult) compare(before map[string]string) {
	was, is := map[string]string{}, maps.Clone(imp.Env)
	maps.Copy(was, before)
	maps.Copy(is, imp.Vars)
	was["CATALINA_HOME"], was["CATALINA_BASE"], was["CLASSPATH"] = imp.Install.Home, imp.Install.Base, ""
	for name, now := range is {
		if old, had := was[name]; !had || old != now {
			imp.Set = append(imp.Set, name)
		}
	}
	for name := range was {
		if _, has := is[name]; !has {
			imp.Unset = append(imp.Unset, name)
		}
	}
	slices.Sort(imp.Set)
	slices.Sort(imp.Unset)
}

// changes returns "set A, B and unset C".
func (imp *SetenvResult) changes() string {
	var out []string
	if len(imp.Set) > 0 || len(imp.Unset) == 0 {
		out = append(out, "set "+cmp.Or(strings.Join(imp.Set, ", "), "nothing"))
	}
	if len(imp.Unset) > 0 {
		out = append(out, "unset "+strings.Join(imp.Unset, ", "))
	}
	return strings.Join(out, " and ")
}

// nulPairs reads NAME=VALUE, each ended by a NUL.
func nulPairs(data []byte) map[string]string {
	out := map[string]string{}
	for pair := range strings.SplitSeq(string(data), "\x00") {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			out[name] = value
		}
	}
	return out
}
