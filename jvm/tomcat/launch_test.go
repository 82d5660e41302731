package tomcat

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// launchCase is one start; its files are relative to home or base.
type launchCase struct {
	name    string
	env     map[string]string
	home    map[string]string
	base    map[string]string
	ownBase bool                // CATALINA_BASE apart from CATALINA_HOME
	script  func(string) string // edits catalina.sh
}

func launchCases() []launchCase {
	return []launchCase{
		{name: "plain"},
		{name: "base apart", ownBase: true},
		{name: "logging.properties", ownBase: true, base: map[string]string{"conf/logging.properties": "x=y\n"}},
		{name: "juli in base", ownBase: true, base: map[string]string{"bin/tomcat-juli.jar": "x"}},
		{name: "umask", env: map[string]string{"UMASK": "022"}},
		{name: "umask one digit", env: map[string]string{"UMASK": "7"}},
		{name: "logging config", env: map[string]string{"CATALINA_LOGGING_CONFIG": "-Djava.util.logging.config.file=$CATALINA_BASE/a b.properties"}},
		{name: "old logging config", env: map[string]string{"LOGGING_CONFIG": "-Dold=1"}},
		{name: "logging manager", env: map[string]string{"LOGGING_MANAGER": "-Da=1 -Db=2"}},
		{name: "catalina opts", env: map[string]string{"CATALINA_OPTS": "-Xmx64m   -Da=b"}},
		{name: "java opts with quotes", env: map[string]string{"JAVA_OPTS": `-Da="x y" -Db='$HOME "q"' -Dc=\$d -De=$CATALINA_TMPDIR -Df="${UNSET}" -Dg=é`}},
		{name: "java opts unquoted variable", env: map[string]string{"JAVA_OPTS": `-Dx=$TWO $NOTHING "$TWO"`, "TWO": "a -Db=c"}},
		{name: "both opts", env: map[string]string{"JAVA_OPTS": "-Da=1", "CATALINA_OPTS": "-Da=2"}},
		{name: "classpath dropped", env: map[string]string{"CLASSPATH": "/x.jar"}},
		{name: "tmpdir", env: map[string]string{"CATALINA_TMPDIR": "/tmp/with blank"}},
		{name: "jsse", env: map[string]string{"JSSE_OPTS": "-Djdk.tls.ephemeralDHKeySize=4096 -Dmore=1"}},
		{name: "pid and out have no effect", env: map[string]string{"CATALINA_PID": "/nonexistent/pid", "CATALINA_OUT": "/nonexistent/out",
			"USE_NOHUP": "true"}},
		{name: "endorsed is unknown", env: map[string]string{"JAVA_ENDORSED_DIRS": "/e"}},
		{name: "exported but empty", env: map[string]string{"JSSE_OPTS": "", "LOGGING_MANAGER": "", "JRE_HOME": "", "CATALINA_OUT": ""}},
		{name: "setenv in home", home: map[string]string{"bin/setenv.sh": "JAVA_OPTS=\"$JAVA_OPTS -Dfrom=setenv\"\nCATALINA_OPTS='-Dq=\"a b\"'\nexport EXTRA=1\nunset GONE\n"}, env: map[string]string{"GONE": "1"}},
		{name: "setenv of base wins", ownBase: true, home: map[string]string{"bin/setenv.sh": "CATALINA_OPTS=-Dhome=1"},
			base: map[string]string{"bin/setenv.sh": "CATALINA_OPTS=-Dbase=1"}},
		{name: "setenv classpath", home: map[string]string{"bin/setenv.sh": "CLASSPATH=$CATALINA_HOME/lib/own.jar:/x"}},
		{name: "setenv exports everything", home: map[string]string{
			"bin/setenv.sh": "export JAVA_OPTS=-Da=1 UMASK=077 CATALINA_TMPDIR=/t CLASSPATH=/c\n"}},
		{name: "like 9.0", script: likeNine},
		{name: "like 9.0 with variables", script: likeNine, env: map[string]string{"JDK_JAVA_OPTIONS": "-Dx=1", "LOGGING_CONFIG": "-Dold=1"}},
	}
}

// likeNine edits the script of 10.1 to differ like the published one of 9.0 where that reaches the JVM.
func likeNine(s string) string {
	s = strings.ReplaceAll(s, `JAVA_OPTS="$JAVA_OPTS --add-opens`, `JDK_JAVA_OPTIONS="$JDK_JAVA_OPTIONS --add-opens`)
	s = strings.Replace(s, "# ----- Execute The Requested Command", "export JDK_JAVA_OPTIONS\n# -----", 1)
	s = strings.Replace(s, "# Set juli LogManager config file", `if [ -z "$CATALINA_LOGGING_CONFIG" ]; then
  case $LOGGING_CONFIG in
    -D*) CATALINA_LOGGING_CONFIG="$LOGGING_CONFIG"
  esac
fi
ENDORSED_PROP=ignore.endorsed.dirs
# `, 1)
	return strings.ReplaceAll(s, `      -classpath "\"$CLASSPATH\"" \`, `      -D$ENDORSED_PROP="\"$JAVA_ENDORSED_DIRS\"" \
      -classpath "\"$CLASSPATH\"" \`)
}

// TestLaunchEqualsScript runs the real catalina.sh with a java that records its arguments, and compares.
func TestLaunchEqualsScript(t *testing.T) {
	realHome(t)
	for _, c := range launchCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env, in, java := c.prepare(t)
			want := c.runScript(t, env, in.Home)
			got := c.build(t, env, in, java)
			want.Argv = effective(want, c.env["JDK_JAVA_OPTIONS"], 17)
			if !slices.Equal(got.Argv, want.Argv) {
				t.Errorf("argv\n got %q\nwant %q", got.Argv, want.Argv)
			}
			if g, w := cleanEnv(got.Env), cleanEnv(want.Env); !slices.Equal(g, w) {
				t.Errorf("environment\n got %q\nwant %q", g, w)
			}
			if int(got.Umask) != want.Umask {
				t.Errorf("umask %04o, want %04o", got.Umask, want.Umask)
			}
		})
	}
}

// effective is the command line that a version of Java makes of a script's argv and JDK_JAVA_OPTIONS, without what was in that variable
// before and without the options that the version does not have.
func effective(d dump, before string, major int) []string {
	out := slices.Clone(d.Argv)
	for _, e := range d.Env {
		if value, ok := strings.CutPrefix(e, "JDK_JAVA_OPTIONS="); ok && major >= 9 {
			out = slices.Insert(out, 1, strings.Fields(strings.TrimPrefix(value, before))...)
		}
	}
	return slices.DeleteFunc(out, func(arg string) bool {
		return major < 9 && strings.HasPrefix(arg, "--add-opens=") || major < 17 && strings.HasPrefix(arg, "--enable-native-access=")
	})
}

// TestLaunchEqualsEveryScript compares with each script that is installed, or named by STOKER_TEST_SCRIPTS (patterns separated by colons),
// for several versions of Java.
func TestLaunchEqualsEveryScript(t *testing.T) {
	var scripts []string
	for _, pattern := range strings.Split(cmp.Or(os.Getenv("STOKER_TEST_SCRIPTS"), "/usr/share/tomcat*/bin/catalina.sh"), ":") {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, found...)
	}
	if len(scripts) == 0 {
		skip(t, "no catalina.sh: install tomcat10-common or set STOKER_TEST_SCRIPTS")
	}
	for _, path := range scripts {
		for _, major := range []int{8, 11, 17, 28} {
			t.Run(fmt.Sprintf("%s on Java %d", path, major), func(t *testing.T) {
				t.Parallel()
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				c := launchCase{script: func(string) string { return string(data) }, env: map[string]string{"UMASK": "022", "JSSE_OPTS": "-Dj=$UMASK"}}
				env, in, java := c.prepare(t)
				want := effective(c.runScript(t, env, in.Home), "", major)
				l, err := in.Launch(Options{Java: java, JavaMajor: major, Env: env})
				if err != nil || len(l.Notes) > 0 {
					t.Fatalf("%v, %q", err, l.Notes)
				}
				if !slices.Equal(l.Argv, want) {
					t.Errorf("argv\n got %q\nwant %q", l.Argv, want)
				}
				in.script = scriptByVersion(in.script.likeVersion())
				byVersion, err := in.Launch(Options{Java: java, JavaMajor: major, Env: env})
				if err != nil {
					t.Fatal(err)
				}
				missing := slices.DeleteFunc(want, func(arg string) bool { return slices.Contains(byVersion.Argv, arg) })
				if len(missing) > 0 {
					t.Errorf("without the script %q are missing", missing)
				}
			})
		}
	}
}

// likeVersion is a version with such a script.
func (s script) likeVersion() Version {
	switch {
	case s.endorsed:
		return Version{Major: 9}
	case slices.Contains(s.additions, addition{"JAVA_OPTS", "--enable-native-access=ALL-UNNAMED"}):
		return Version{Major: 11}
	}
	return Version{Major: 10, Minor: 1}
}

func (c launchCase) prepare(t *testing.T) (env map[string]string, in Install, java string) {
	t.Helper()
	home := homeCopy(t)
	base := home
	server := newBase(t)
	if c.ownBase {
		base = server
	} else if err := os.Rename(server+"/conf", home+"/conf"); err != nil {
		t.Fatal(err)
	}
	for dir, files := range map[string]map[string]string{home: c.home, base: c.base} {
		for name, text := range files {
			put(t, filepath.Join(dir, name), text, 0o644)
		}
	}
	if c.script != nil {
		path := home + "/bin/catalina.sh"
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, c.script(string(data)), 0o755)
	}
	jdk := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	java = jdk + "/bin/java"
	if err := os.MkdirAll(jdk+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(exe, java); err != nil {
		t.Fatal(err)
	}
	env = map[string]string{"PATH": os.Getenv("PATH"), "JAVA_HOME": jdk, "TEST_DUMP": filepath.Join(t.TempDir(), "dump"), "MULTI": "a\nb=c"}
	if c.ownBase {
		env["CATALINA_BASE"], env["CATALINA_HOME"] = base, home
	}
	for name, value := range c.env {
		env[name] = value
	}
	in, err = Find(Config{Home: home}, env)
	if err != nil {
		t.Fatal(err)
	}
	return env, in, java
}

func (c launchCase) runScript(t *testing.T, env map[string]string, home string) dump {
	t.Helper()
	cmd := exec.Command(home+"/bin/catalina.sh", "run")
	cmd.Env = environOf(env)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("catalina.sh: %v\n%s", err, out)
	}
	data, err := os.ReadFile(env["TEST_DUMP"])
	if err != nil {
		t.Fatal(err)
	}
	var d dump
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (c launchCase) build(t *testing.T, env map[string]string, in Install, java string) Launch {
	t.Helper()
	imp, err := in.ImportSetenv(context.Background(), "", env, "", execRunner)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Java: java, JavaMajor: 17, Env: imp.Env, Vars: imp.Vars}
	vars := maps.Clone(imp.Env)
	maps.Copy(vars, imp.Vars)
	for name, to := range map[string]*[]string{"JAVA_OPTS": &o.JavaOpts, "CATALINA_OPTS": &o.CatalinaOpts} {
		if *to, err = imp.Install.SplitOptions(name, vars); err != nil {
			t.Fatal(err)
		}
	}
	l, err := imp.Install.Launch(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// cleanEnv drops the variables of the shell and those that only the script reads: the real one leaves its options in them.
func cleanEnv(env []string) []string {
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if !shellOwned(name) && (strings.HasPrefix(name, "CATALINA_") && name != "CATALINA_OUT" && name != "CATALINA_LOGGING_CONFIG" ||
			name == "CLASSPATH" || !slices.Contains(scriptVars, name)) {
			out = append(out, e)
		}
	}
	slices.Sort(out)
	return out
}

func fakeInstall(t *testing.T, v Version) Install {
	t.Helper()
	base := newBase(t)
	put(t, base+"/bin/bootstrap.jar", "", 0o644)
	in, err := open(base, base)
	if err != nil {
		t.Fatal(err)
	}
	in.Version, in.script = v, scriptByVersion(v)
	return in
}

func TestLaunchByVersion(t *testing.T) {
	count := func(list []string, prefix string) (n int) {
		for _, s := range list {
			n += strings.Count(s, prefix)
		}
		return n
	}
	for _, c := range []struct {
		name       string
		v          Version
		java       int
		opens      int
		endorsed   string
		javaEndors string
	}{
		{name: "11", v: Version{Major: 11}, java: 21, opens: 6},
		{name: "10.1", v: Version{Major: 10, Minor: 1}, java: 17, opens: 6},
		{name: "9", v: Version{Major: 9}, java: 17, opens: 7, endorsed: "-Dignore.endorsed.dirs="},
		{name: "8.5 on Java 8", v: Version{Major: 8, Minor: 5}, java: 8, javaEndors: "/e",
			endorsed: "-Djava.endorsed.dirs=/e"},
		{name: "8.5 on Java 11, endorsed left out", v: Version{Major: 8, Minor: 5}, java: 11, opens: 7, javaEndors: "/e"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := fakeInstall(t, c.v)
			l, err := in.Launch(Options{Java: "/j", JavaMajor: c.java, Env: map[string]string{"JAVA_ENDORSED_DIRS": c.javaEndors}})
			if err != nil {
				t.Fatal(err)
			}
			if n := count(l.Argv, "--add-opens="); n != c.opens || count(l.Env, "--add-opens=") > 0 {
				t.Errorf("%d --add-opens, want %d", n, c.opens)
			}
			if c.endorsed != "" && !slices.Contains(l.Argv, c.endorsed) || c.endorsed == "" && count(l.Argv, "endorsed.dirs") > 0 {
				t.Errorf("endorsed: want %q in %q", c.endorsed, l.Argv)
			}
		})
	}
	if _, err := fakeInstall(t, Version{}).Launch(Options{Env: map[string]string{"UMASK": "u=rwx"}}); err == nil {
		t.Error("symbolic UMASK accepted")
	}
}

func TestLaunchKeepsOwnUmask(t *testing.T) {
	before := syscall.Umask(0o022)
	syscall.Umask(before)
	if _, err := fakeInstall(t, Version{}).Launch(Options{}); err != nil {
		t.Fatal(err)
	}
	after := syscall.Umask(before)
	if before != after {
		t.Errorf("umask of this process went from %o to %o", before, after)
	}
}
