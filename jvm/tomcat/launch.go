package tomcat

import (
	"cmp"
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
	// Java is the path of the java program; JavaMajor its version (8, 17), 0 if unknown.
	Java      string
	JavaMajor int
	// Env is the environment of the process.
	Env map[string]string
	// Vars are shell variables that setenv.sh set without exporting them: the script sees them, the JVM does not.
	Vars map[string]string
	// JavaOpts and CatalinaOpts are JVM options, one argument each, put where the script puts JAVA_OPTS (before its own options) and
	// CATALINA_OPTS (after them). Merged options belong into CatalinaOpts, so that they win.
	JavaOpts, CatalinaOpts []string
	// ServerXML is the configuration file to start with (-config); empty: conf/server.xml of the base.
	ServerXML string
}

// Launch is the process to start.
type Launch struct {
	Argv  []string
	Main  int      // index of the main class in Argv
	Env   []string // NAME=VALUE, sorted
	Umask uint32
	Notes []string
}

// Evaluates reports whether a variable holds options in which $NAME and ${NAME} are expanded when the JVM is started, as by catalina.sh.
func Evaluates(name string) bool { return name == "JAVA_OPTS" || name == "CATALINA_OPTS" }

// SetByStoker reports whether a Tomcat gets this variable from stoker, whatever the environment has.
func SetByStoker(name string) bool {
	return slices.Contains([]string{"CATALINA_HOME", "CATALINA_BASE", "CATALINA_TMPDIR"}, name)
}

// scriptVariables are the variables of catalina.sh, exported or not.
type scriptVariables map[string]string

func (in Install) scriptVariables(env, vars map[string]string) scriptVariables {
	sh := scriptVariables{}
	maps.Copy(sh, env)
	maps.Copy(sh, vars)
	sh["CATALINA_HOME"], sh["CATALINA_BASE"] = in.Home, in.Base
	sh["CATALINA_TMPDIR"] = cmp.Or(sh["CATALINA_TMPDIR"], in.Base+"/temp")
	return sh
}

// SplitOptions splits JAVA_OPTS or CATALINA_OPTS as the script's eval does (jvm.SplitScript). vars are its variables, exported or not.
func (in Install) SplitOptions(name string, vars map[string]string) ([]string, error) {
	return in.scriptVariables(vars, nil).split(name, "")
}

// split splits the value of a variable, or of unset if it is empty.
func (sh scriptVariables) split(name, unset string) ([]string, error) {
	return jvm.SplitScript(cmp.Or(sh[name], unset), func(name string) string { return sh[name] })
}

// Launch returns what "catalina.sh run" would have executed. CATALINA_OUT, CATALINA_OUT_CMD, CATALINA_PID and USE_NOHUP have no effect on
// run, nor here; the script does not change directory. JDK_JAVA_OPTIONS is left alone: its options are the caller's to merge.
//
// A CLASSPATH in Options.Env is dropped, as the script drops it; one that setenv.sh set is in Options.Vars.
func (in Install) Launch(o Options) (Launch, error) {
	sh := in.scriptVariables(o.Env, o.Vars)
	var out Launch
	if err := in.script.unread; err != nil {
		out.Notes = append(out.Notes, fmt.Sprintf("cannot read %s: %v; what it adds is taken from the table for Tomcat %s",
			filepath.Join(in.Home, "bin/catalina.sh"), err, in.Version))
	}
	logging, err := in.logging(sh)
	if err != nil {
		return Launch{}, err
	}
	manager, err := sh.split("LOGGING_MANAGER", "-Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager")
	if err != nil {
		return Launch{}, fmt.Errorf("cannot take options from LOGGING_MANAGER: %w", err)
	}
	sh["JSSE_OPTS"] = cmp.Or(sh["JSSE_OPTS"], "-Djdk.tls.ephemeralDHKeySize=2048")
	umask, err := strconv.ParseUint(cmp.Or(sh["UMASK"], "0027"), 8, 12)
	if err != nil || umask > 0o777 {
		return Launch{}, fmt.Errorf("cannot use UMASK %q: only an octal number from 0 to 0777 is understood", sh["UMASK"])
	}
	out.Umask = uint32(umask)
	sh[strings.Trim(umaskOutput, "{}")] = fmt.Sprintf("%04o", umask)
	early, err := in.script.options("JDK_JAVA_OPTIONS", sh, o.JavaMajor)
	if err != nil {
		return Launch{}, err
	}
	late, err := in.script.options("JAVA_OPTS", sh, o.JavaMajor)
	if err != nil {
		return Launch{}, err
	}
	endorsed, notes := in.endorsed(sh, o.JavaMajor)
	out.Notes = slices.Concat(out.Notes, in.script.notes, notes)
	sh["CLASSPATH"] = in.classpath(o.Vars["CLASSPATH"])
	out.Argv = slices.Concat([]string{o.Java}, early, logging, manager, o.JavaOpts, late, o.CatalinaOpts, endorsed,
		[]string{"-classpath", sh["CLASSPATH"], "-Dcatalina.base=" + in.Base, "-Dcatalina.home=" + in.Home,
			"-Djava.io.tmpdir=" + sh["CATALINA_TMPDIR"]})
	out.Main = len(out.Argv)
	out.Argv = append(out.Argv, mainClass)
	if o.ServerXML != "" {
		out.Argv = append(out.Argv, "-config", o.ServerXML)
	}
	out.Argv = append(out.Argv, "start")
	env := maps.Clone(o.Env)
	for _, name := range []string{"CATALINA_HOME", "CATALINA_BASE", "CATALINA_TMPDIR", "CLASSPATH"} {
		if _, exported := env[name]; exported {
			env[name] = sh[name]
		}
	}
	out.Env = environOf(env)
	return out, nil
}

// logging returns the options of the logging configuration. Its variable is one word, in double quotes inside the eval.
func (in Install) logging(sh scriptVariables) ([]string, error) {
	name, old, file := "CATALINA_LOGGING_CONFIG", sh["LOGGING_CONFIG"], in.Base+"/conf/logging.properties"
	if in.script.loggingOldOnly || in.script.loggingOld && sh[name] == "" && strings.HasPrefix(old, "-D") {
		name = "LOGGING_CONFIG"
	}
	switch value := sh[name]; {
	case value != "":
		words, err := jvm.SplitScript(`"`+value+`"`, func(name string) string { return sh[name] })
		if err != nil {
			return nil, fmt.Errorf("cannot use %s: %w", name, err)
		}
		return words, nil
	case readable(file):
		return []string{"-Djava.util.logging.config.file=" + file}, nil
	}
	return []string{"-Dnop"}, nil // an empty argument would be the main class
}

func (in Install) endorsed(sh scriptVariables, javaMajor int) (options, notes []string) {
	dirs, prop := sh["JAVA_ENDORSED_DIRS"], "ignore.endorsed.dirs"
	info, err := os.Stat(filepath.Join(in.Home, "endorsed"))
	switch {
	case !in.script.endorsed:
		return nil, nil
	case dirs == "" && (err != nil || !info.IsDir()):
	case javaMajor >= 9: // which refuses to start with the property
		return nil, []string{fmt.Sprintf("JAVA_ENDORSED_DIRS left out: Java %d has no endorsed directories", javaMajor)}
	default:
		prop = "java.endorsed.dirs"
	}
	return []string{"-D" + prop + "=" + dirs}, nil
}

// classpath returns the class path after the entries that setenv.sh set.
func (in Install) classpath(first string) string {
	juli := in.Base + "/bin/tomcat-juli.jar"
	if !readable(juli) {
		juli = in.Home + "/bin/tomcat-juli.jar"
	}
	path := in.Home + "/bin/bootstrap.jar:" + juli
	if first != "" {
		path = first + ":" + path
	}
	return path
}

// JavaSetting returns the java program or its home that catalina.sh would take from the environment: _RUNJAVA, JRE_HOME, JAVA_HOME, in this
// order. ok is false if it would search the PATH.
func JavaSetting(env, vars map[string]string) (path, from string, ok bool) {
	for _, name := range []string{"_RUNJAVA", "JRE_HOME", "JAVA_HOME"} {
		path, found := vars[name]
		if !found {
			path = env[name]
		}
		if path != "" {
			return path, name, true
		}
	}
	return "", "", false
}
