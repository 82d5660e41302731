package tomcat

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Runner runs a program to its end and returns what it wrote to stdout and stderr, in
// that order. The tomcat package starts nothing itself. The error of a program that
// failed says how it ended.
type Runner func(ctx context.Context, argv, env []string, dir string) (output []byte, err error)

// setenvLimit bounds a setenv.sh that hangs, if ctx has no earlier deadline.
const setenvLimit = 30 * time.Second

// scriptVars are all the variables that catalina.sh and setclasspath.sh read
// after setenv.sh. The script sources setenv.sh, so they count exported or not.
func scriptVars() []string {
	return []string{
		"CATALINA_HOME", "CATALINA_BASE", "CATALINA_OUT", "CATALINA_OUT_CMD", "CATALINA_OPTS", "CATALINA_TMPDIR",
		"CATALINA_PID", "CATALINA_LOGGING_CONFIG", "LOGGING_CONFIG", "LOGGING_MANAGER", "CLASSPATH", "JAVA_HOME",
		"JRE_HOME", "_RUNJAVA", "JAVA_OPTS", "JSSE_OPTS", "JAVA_ENDORSED_DIRS", "UMASK", "USE_NOHUP", "JPDA_TRANSPORT",
		"JPDA_ADDRESS", "JPDA_SUSPEND", "JPDA_OPTS", "JDK_JAVA_OPTIONS",
	}
}

// Change is one variable that setenv.sh changed; nil means unset.
type Change struct {
	Name     string
	Old, New *string
	Exported bool
}

// Imported is what bin/setenv.sh did, as data.
type Imported struct {
	// File is the script; empty if there is none or it is ignored.
	File string
	// Install is the one given, or another if setenv.sh moved CATALINA_HOME or
	// CATALINA_BASE.
	Install Install
	// Env is the resulting exported environment, Vars the shell variables that
	// only catalina.sh would see; both go into Options and UserOptions.
	Env, Vars map[string]string
	Changes   []Change
	// Dir is where the script left the shell if it changed directory: the JVM
	// would have been started there.
	Dir   string
	Notes []string
}

// SetenvFile is the setenv.sh that catalina.sh would source: the base's, else
// the home's. ok is false if neither can be read.
func (in Install) SetenvFile() (path string, ok bool) {
	for _, dir := range []string{in.Base, in.Home} {
		if path = filepath.Join(dir, "bin/setenv.sh"); readable(path) {
			return path, true
		}
	}
	return "", false
}

// ImportSetenv applies the policy (SetenvImport, SetenvIgnore, SetenvRefuse; ""
// is import) to bin/setenv.sh. import runs it once in sh, with the variables it
// would have seen, and takes what it changed. It fails if the script ends the
// shell, because catalina.sh would have ended there too.
func (in Install) ImportSetenv(ctx context.Context, policy string, env map[string]string, dir string, run Runner) (Imported, error) {
	imp := Imported{Install: in, Env: maps.Clone(env), Vars: map[string]string{}}
	file, ok := in.SetenvFile()
	if !ok {
		return imp, nil
	}
	switch policy {
	case SetenvIgnore:
		imp.Notes = append(imp.Notes, file+" is ignored (tomcat.setenv: ignore)")
		return imp, nil
	case SetenvRefuse:
		return Imported{}, fmt.Errorf("cannot start Tomcat: %s exists and tomcat.setenv is refuse\n"+
			"hint: move what it sets into the configuration, or set tomcat.setenv to import or ignore", file)
	case SetenvImport, "":
	default:
		return Imported{}, fmt.Errorf("cannot use tomcat.setenv %q: not import, ignore or refuse", policy)
	}
	imp.File = file
	ctx, cancel := context.WithTimeout(ctx, setenvLimit)
	defer cancel()
	mark, begun := "stoker-"+rand.Text(), time.Now()
	sh := func(program string, want int) ([][]byte, error) {
		out, err := run(ctx, []string{"/bin/sh", "-c", program, in.Home + "/bin/catalina.sh", "run"}, environOf(env), dir)
		parts := bytes.Split(out, []byte(mark))
		if len(parts) != want {
			return nil, setenvFailed(ctx, file, string(parts[0]), time.Since(begun), err)
		}
		if err != nil {
			imp.Notes = append(imp.Notes, fmt.Sprintf("%s: %v", file, err))
		}
		return parts, nil
	}
	held, err := sh(heldProgram(mark), 3)
	if err != nil {
		return Imported{}, err
	}
	parts, err := sh(in.setenvProgram(file, mark), 5)
	if err != nil {
		return Imported{}, err
	}
	return imp.take(env, nulPairs(held[1]), parts[1:4])
}

// SetenvError says that bin/setenv.sh did not come to its end.
type SetenvError struct {
	File string
	Why  string
	// Output is what it wrote until then: as it is, and unbounded.
	Output string
	err    error
}

func (e *SetenvError) Error() string { return fmt.Sprintf("cannot import %s: %s", e.File, e.Why) }
func (e *SetenvError) Unwrap() error { return e.err }

// setenvFailed is the error for a script that ended the shell, or was ended. What
// was written before it says why.
func setenvFailed(ctx context.Context, file, output string, took time.Duration, err error) error {
	e := &SetenvError{File: file, err: err, Output: output}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Why = fmt.Sprintf("it did not end within %v and was killed", took.Round(time.Second))
	case ctx.Err() != nil:
		e.Why, e.err = "it was not waited for any more", ctx.Err()
	case err != nil:
		e.Why = fmt.Sprintf("it ended the shell: %v", err)
	default:
		e.Why = "it ended the shell (exit 0)"
	}
	return e
}

// heldProgram writes, between marks, the environment that the shell hands on: less the
// names that it cannot hold, and with variables of its own. It is apart from
// setenvProgram, whose output may be long, and of which only the end is kept.
func heldProgram(mark string) string {
	return fmt.Sprintf("stoker_env=`command -v env` || exit 127\nprintf %%s %[1]s\n\"$stoker_env\" -0 || exit 126\nprintf %%s %[1]s\n", mark)
}

// setenvProgram sources file as catalina.sh would and then writes four parts,
// each after the mark: the exported environment, the script's variables, and
// directory and limits. Whatever setenv.sh prints comes before; the mark, which it
// cannot know, guards against the rest. Plain POSIX: dash, bash and busybox sh
// were tried.
func (in Install) setenvProgram(file, mark string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("exec 9>&1")
	line("stoker_env=`command -v env` || exit 127")
	line("stoker_n=`ulimit -n 2>/dev/null`; stoker_c=`ulimit -c 2>/dev/null`; stoker_s=`ulimit -s 2>/dev/null`")
	line("stoker_d=`pwd -P`")
	line("cygwin=false; darwin=false; os400=false; hpux=false")
	line("PRG=%s; PRGDIR=%s", quote(in.Home+"/bin/catalina.sh"), quote(in.Home+"/bin"))
	line("CATALINA_HOME=%s; CATALINA_BASE=%s; CLASSPATH=", quote(in.Home), quote(in.Base))
	line(". %s >&2", quote(file))
	line("set +aeux")
	line("stoker_put() { printf '%%s=%%s\\000' \"$1\" \"$2\" >&9; }")
	line("printf %%s %s >&9", mark)
	line(`"$stoker_env" -0 >&9 || exit 126`)
	line("printf %%s %s >&9", mark)
	for _, name := range scriptVars() {
		line(`[ -n "${%s+x}" ] && stoker_put %s "$%s"`, name, name, name)
	}
	line("printf %%s %s >&9", mark)
	line("stoker_put before-dir \"$stoker_d\"; stoker_put after-dir \"`pwd -P`\"")
	for _, flag := range []string{"n", "c", "s"} {
		line("stoker_put before-%s \"$stoker_%s\"; stoker_put after-%s \"`ulimit -%s 2>/dev/null`\"", flag, flag, flag, flag)
	}
	line("printf %%s %s >&9", mark)
	line("exit 0")
	return b.String()
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func environOf(env map[string]string) []string {
	var out []string
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

// take reads the parts that setenvProgram wrote. What setenv.sh changed of the
// environment that the shell held is changed in ours; what the shell could not hold,
// and what it has made, is no part of that.
func (imp Imported) take(before, was map[string]string, parts [][]byte) (Imported, error) {
	is, vars, other := nulPairs(parts[0]), nulPairs(parts[1]), nulPairs(parts[2])
	if imp.Env == nil {
		imp.Env = map[string]string{}
	}
	for name := range was {
		if _, has := is[name]; !has && !ofShell(name) {
			delete(imp.Env, name)
		}
	}
	for name, value := range is {
		if old, had := was[name]; (!had || old != value) && !ofShell(name) {
			imp.Env[name] = value
		}
	}
	for name, value := range vars {
		if got, ok := imp.Env[name]; !ok || got != value || name == "CLASSPATH" {
			imp.Vars[name] = value
		}
	}
	imp.Changes = imp.diff(before)
	imp.Notes = append(imp.Notes, imp.File+" was run once and "+changesText(imp.Changes))
	for _, flag := range []string{"n", "c", "s"} {
		if was, is := other["before-"+flag], other["after-"+flag]; was != is {
			imp.Notes = append(imp.Notes, fmt.Sprintf("%s changed ulimit -%s from %s to %s; limits are not imported", imp.File, flag, was, is))
		}
	}
	if other["before-dir"] != other["after-dir"] {
		imp.Dir = other["after-dir"]
	}
	return imp.moved(vars)
}

// ofShell says whether a variable is one that a shell keeps for itself, or the mark of
// the process that the shell is.
func ofShell(name string) bool {
	return slices.Contains([]string{"_", "PWD", "OLDPWD", "SHLVL", "STOKER_PROCESS"}, name)
}

// changesText is "set A, B and unset C".
func changesText(changes []Change) string {
	var set, unset []string
	for _, c := range changes {
		if c.New != nil {
			set = append(set, c.Name)
		} else {
			unset = append(unset, c.Name)
		}
	}
	var out []string
	if len(set) > 0 || len(unset) == 0 {
		out = append(out, "set "+cmp.Or(strings.Join(set, ", "), "nothing"))
	}
	if len(unset) > 0 {
		out = append(out, "unset "+strings.Join(unset, ", "))
	}
	return strings.Join(out, " and ")
}

// moved follows a setenv.sh that sets CATALINA_HOME or CATALINA_BASE.
func (imp Imported) moved(vars map[string]string) (Imported, error) {
	home, base := vars["CATALINA_HOME"], vars["CATALINA_BASE"]
	old := imp.Install
	if home == old.Home && base == old.Base {
		return imp, nil
	}
	in, err := Open(home, base)
	if err != nil {
		return Imported{}, fmt.Errorf("cannot follow %s: %w", imp.File, err)
	}
	in.HomeFrom, in.BaseFrom = old.HomeFrom, old.BaseFrom
	if in.Home != old.Home {
		in.HomeFrom = imp.File
	}
	if in.Base != old.Base {
		in.BaseFrom = imp.File
	}
	imp.Install = in
	return imp, nil
}

// diff lists what differs from before, by name. The variables that catalina.sh
// itself sets ahead of setenv.sh are compared with these values.
func (imp Imported) diff(before map[string]string) []Change {
	was := maps.Clone(before)
	if was == nil {
		was = map[string]string{}
	}
	was["CATALINA_HOME"], was["CATALINA_BASE"], was["CLASSPATH"] = imp.Install.Home, imp.Install.Base, ""
	is := maps.Clone(imp.Env)
	maps.Copy(is, imp.Vars)
	names := map[string]bool{}
	for name := range was {
		names[name] = true
	}
	for name := range is {
		names[name] = true
	}
	var out []Change
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, hadOld := was[name]
		now, hasNow := is[name]
		if hadOld == hasNow && old == now {
			continue
		}
		c := Change{Name: name}
		if hadOld {
			c.Old = &old
		}
		if hasNow {
			c.New = &now
		}
		_, c.Exported = imp.Env[name]
		out = append(out, c)
	}
	return out
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
