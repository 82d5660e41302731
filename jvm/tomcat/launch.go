package tomcat

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/jvm"
)

// mainClass is what catalina.sh runs, with the argument "start".
const mainClass = "org.apache.catalina.startup.Bootstrap"

// Options are the caller's inputs for one start.
type Options struct {
	// Java is the path of the java program; JavaMajor its version (8, 17), 0 if
	// unknown.
	Java      string
	JavaMajor int
	// Env is the environment of the process, before the script's own changes.
	Env map[string]string
	// Vars are shell variables that setenv.sh set without exporting them: the
	// script sees them, the JVM does not.
	Vars map[string]string
	// JavaOpts and CatalinaOpts are JVM options, one argument each, put where the
	// script puts JAVA_OPTS (before its own options) and CATALINA_OPTS (after them).
	// UserOptions returns the values of these variables; merged options belong into
	// CatalinaOpts, so that they win.
	JavaOpts, CatalinaOpts []string
	// OpensAsOptions puts --add-opens into the argv even for the versions of
	// Tomcat whose script exports JDK_JAVA_OPTIONS for them, and leaves that
	// variable alone, for callers that merge JDK_JAVA_OPTIONS into their options.
	OpensAsOptions bool
}

// Launch is the process to start.
type Launch struct {
	Path  string
	Argv  []string // Argv[0] is Path
	Env   []string // NAME=VALUE, sorted
	Umask uint32
	// Arguments are Argv[1:] with the origin of each.
	Arguments []Argument
	Notes     []string
}

// Argument is one argument and its origin.
type Argument struct{ Text, From string }

// OptionSource is a variable with options in it, already cut into arguments.
type OptionSource struct {
	Var     string
	Options []string
}

// UserOptions cuts JAVA_OPTS and CATALINA_OPTS into arguments (jvm.SplitScript), in
// the order of the script. Variables that are unset or blank are left out.
func (in Install) UserOptions(env, vars map[string]string) ([]OptionSource, error) {
	sh := in.shell(Options{Env: env, Vars: vars})
	var out []OptionSource
	for _, name := range evaluated {
		words, err := sh.split(name)
		if err != nil {
			return nil, err
		}
		if len(words) > 0 {
			out = append(out, OptionSource{Var: name, Options: words})
		}
	}
	return out, nil
}

// Evaluates reports whether a variable's value is options in which $NAME and ${NAME} are
// filled in when the JVM is started, as by catalina.sh.
func Evaluates(name string) bool { return slices.Contains(evaluated, name) }

var evaluated = []string{"JAVA_OPTS", "CATALINA_OPTS"}

// SetByStoker reports whether a variable is one of those that a Tomcat is given, whatever the
// environment has.
func SetByStoker(name string) bool {
	return slices.Contains([]string{"CATALINA_HOME", "CATALINA_BASE", "CATALINA_TMPDIR"}, name)
}

// shell is the state that catalina.sh would have: all its variables, and which
// of them are exported.
type shell struct {
	vars     map[string]string
	exported map[string]bool
}

func (in Install) shell(o Options) *shell {
	sh := &shell{vars: map[string]string{}, exported: map[string]bool{}}
	for name, value := range o.Env {
		sh.vars[name], sh.exported[name] = value, true
	}
	maps.Copy(sh.vars, o.Vars)
	sh.vars["CATALINA_HOME"] = in.Home
	sh.vars["CATALINA_BASE"] = in.Base
	sh.setDefault("CATALINA_TMPDIR", in.Base+"/temp")
	return sh
}

func (sh *shell) get(name string) string { return sh.vars[name] }

func (sh *shell) setDefault(name, value string) {
	if sh.vars[name] == "" {
		sh.vars[name] = value
	}
}

func (sh *shell) split(name string) ([]string, error) {
	words, err := jvm.SplitScript(sh.vars[name], sh.get)
	if err != nil {
		return nil, fmt.Errorf("cannot take options from %s: %w", name, err)
	}
	return words, nil
}

// environ is what an exec from this shell would pass on.
func (sh *shell) environ() []string {
	vars := maps.Clone(sh.vars)
	maps.DeleteFunc(vars, func(name, _ string) bool { return !sh.exported[name] })
	return environOf(vars)
}

// Launch builds what "catalina.sh run" would have executed, as data. CATALINA_OUT,
// CATALINA_OUT_CMD, CATALINA_PID and USE_NOHUP have no effect on run, nor here;
// the script does not change directory.
//
// A CLASSPATH in Options.Env is dropped, as the script drops it; one that
// setenv.sh set counts and is in Imported.Vars.
func (in Install) Launch(o Options) (Launch, error) {
	b := &builder{in: in, o: o, sh: in.shell(o), Launch: Launch{Path: o.Java, Argv: []string{o.Java}}}
	if err := in.script.unread; err != nil {
		b.Notes = append(b.Notes, fmt.Sprintf("cannot read %s: %v; what it adds is taken from %s",
			filepath.Join(in.Home, "bin/catalina.sh"), err, in.script.from))
	}
	if err := b.logging(); err != nil {
		return Launch{}, err
	}
	if err := b.javaOpts(); err != nil {
		return Launch{}, err
	}
	b.add("CATALINA_OPTS", o.CatalinaOpts...)
	b.endorsed()
	b.classpath()
	b.add("catalina.sh", "-Dcatalina.base="+in.Base, "-Dcatalina.home="+in.Home,
		"-Djava.io.tmpdir="+b.sh.get("CATALINA_TMPDIR"), mainClass, "start")
	b.sh.setDefault("CATALINA_OUT", in.Base+"/logs/catalina.out")
	b.sh.setDefault("USE_NOHUP", "false")
	b.sh.setDefault("_RUNJAVA", o.Java)
	b.sh.setDefault("JRE_HOME", b.sh.get("JAVA_HOME"))
	b.Env = b.sh.environ()
	return b.Launch, nil
}

type builder struct {
	Launch
	in Install
	o  Options
	sh *shell
}

func (b *builder) add(from string, words ...string) {
	for _, w := range words {
		b.Argv = append(b.Argv, w)
		b.Arguments = append(b.Arguments, Argument{Text: w, From: from})
	}
}

// addVar adds the words of a variable as the script's eval would see them.
func (b *builder) addVar(name string) error {
	words, err := b.sh.split(name)
	if err == nil {
		b.add(name, words...)
	}
	return err
}

// logging: the configuration is one word, in double quotes inside the eval; the
// manager is as many words as it has.
func (b *builder) logging() error {
	name := "CATALINA_LOGGING_CONFIG"
	old := b.sh.get("LOGGING_CONFIG")
	switch {
	case b.in.script.loggingOldOnly:
		name = "LOGGING_CONFIG"
	case b.in.script.loggingOld && b.sh.get(name) == "" && strings.HasPrefix(old, "-D"):
		b.sh.vars[name] = old
	}
	file := b.in.Base + "/conf/logging.properties"
	switch value := b.sh.get(name); {
	case value != "":
		words, err := jvm.SplitScript(`"`+value+`"`, b.sh.get)
		if err != nil {
			return fmt.Errorf("cannot use %s: %w", name, err)
		}
		b.add(name, words...)
	case readable(file):
		b.sh.vars[name] = "-Djava.util.logging.config.file=" + file
		b.add("conf/logging.properties", b.sh.vars[name])
	default:
		// An empty argument would be taken for the main class.
		b.sh.vars[name] = "-Dnop"
		b.add("no conf/logging.properties", "-Dnop")
	}
	b.sh.setDefault("LOGGING_MANAGER", "-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager")
	return b.addVar("LOGGING_MANAGER")
}

// javaOpts adds JAVA_OPTS and what the script appends to it, in its order. The
// variable itself grows too: where it is exported the JVM inherits it so.
func (b *builder) javaOpts() error {
	b.add("JAVA_OPTS", b.o.JavaOpts...)
	b.sh.setDefault("JSSE_OPTS", "-Djdk.tls.ephemeralDHKeySize=2048")
	if err := b.addVar("JSSE_OPTS"); err != nil {
		return err
	}
	b.appendJavaOpts(b.sh.get("JSSE_OPTS"))
	own := []string{"-Djava.protocol.handler.pkgs=org.apache.catalina.webresources"}
	if b.in.script.canonCaches {
		own = append(own, "-Dsun.io.useCanonCaches=false")
	}
	b.sh.setDefault("UMASK", "0027")
	mask, err := strconv.ParseUint(b.sh.get("UMASK"), 8, 12)
	if err != nil || mask > 0o777 {
		return fmt.Errorf("cannot use UMASK %q: only an octal number from 0 to 0777 is understood", b.sh.get("UMASK"))
	}
	b.Umask = uint32(mask)
	own = append(own, fmt.Sprintf("-Dorg.apache.catalina.security.SecurityListener.UMASK=%04o", mask))
	if !b.in.script.opensInEnv {
		for _, open := range b.in.script.opens {
			own = append(own, "--add-opens="+open)
		}
	}
	for _, word := range own {
		b.add("catalina.sh", word)
		b.appendJavaOpts(word)
	}
	b.jdkOptions()
	return nil
}

func (b *builder) appendJavaOpts(text string) { b.sh.vars["JAVA_OPTS"] += " " + text }

func (b *builder) jdkOptions() {
	if !b.in.script.opensInEnv {
		return
	}
	for _, open := range b.in.script.opens {
		switch {
		case !b.o.OpensAsOptions:
			b.sh.vars["JDK_JAVA_OPTIONS"] += " --add-opens=" + open
			b.sh.exported["JDK_JAVA_OPTIONS"] = true
		case b.o.JavaMajor == 0 || b.o.JavaMajor >= 9: // Java 8 does not know the option
			b.add("catalina.sh", "--add-opens="+open)
		}
	}
}

func (b *builder) endorsed() {
	if !b.in.script.endorsed {
		return
	}
	dirs := b.sh.get("JAVA_ENDORSED_DIRS")
	prop := "ignore.endorsed.dirs"
	info, err := os.Stat(filepath.Join(b.in.Home, "endorsed"))
	if dirs != "" || err == nil && info.IsDir() {
		prop = "java.endorsed.dirs"
		if b.o.JavaMajor >= 9 {
			// Any JVM since 9 refuses to start with this property.
			b.Notes = append(b.Notes, fmt.Sprintf("JAVA_ENDORSED_DIRS left out: Java %d has no endorsed directories", b.o.JavaMajor))
			return
		}
	}
	b.add("catalina.sh", "-D"+prop+"="+dirs)
}

func (b *builder) classpath() {
	path := ""
	if own := b.o.Vars["CLASSPATH"]; own != "" {
		path = own + ":"
	}
	juli := b.in.Base + "/bin/tomcat-juli.jar"
	if !readable(juli) {
		juli = b.in.Home + "/bin/tomcat-juli.jar"
	}
	path += b.in.Home + "/bin/bootstrap.jar:" + juli
	b.sh.vars["CLASSPATH"] = path
	b.add("catalina.sh", "-classpath", path)
}

// JavaSetting is the java, or its home, that catalina.sh would take from the environment:
// _RUNJAVA, JRE_HOME, JAVA_HOME, in this order. ok is false if it would search
// the PATH.
func JavaSetting(env, vars map[string]string) (path, from string, ok bool) {
	get := func(name string) string {
		if v, ok := vars[name]; ok {
			return v
		}
		return env[name]
	}
	for _, name := range []string{"_RUNJAVA", "JRE_HOME", "JAVA_HOME"} {
		if path := get(name); path != "" {
			return path, name, true
		}
	}
	return "", "", false
}
