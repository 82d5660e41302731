package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/jvm"
	"github.com/stoker-init/stoker/jvm/tomcat"
	"github.com/stoker-init/stoker/supervisor"
)

// Every variable knows where it was set, and ${NAME} in env is what is there without it.
func TestEnvironmentKnowsWhereItComesFrom(t *testing.T) {
	t.Setenv("PATH", "/usr/bin")
	t.Setenv("OURS", "1")
	file := put(t, "web.env", "PATH=/file\nJAVA_HOME=/jdk\n")
	l := launcherOf(t, supervisor.Surroundings{EnvFiles: []string{file}, Env: map[string]string{"PATH": "/opt:${PATH}", "JAVA_OPTS": "-Da=${OURS}"}})
	l.name, l.origins = "web", layeredyaml.Origins{"services.web.env.PATH": {File: "stoker.yaml", Line: 7}}
	env, err := l.environ()
	if err != nil || env.vars["PATH"] != "/opt:/file" || env.vars["JAVA_OPTS"] != "-Da=1" {
		t.Fatalf("%q, %q, %v", env.vars["PATH"], env.vars["JAVA_OPTS"], err)
	}
	for name, want := range map[string]string{"PATH": "stoker.yaml:7 (PATH)", "JAVA_HOME": file + " (JAVA_HOME)", "OURS": "env OURS",
		"JAVA_OPTS": "services.web.env.JAVA_OPTS (JAVA_OPTS)"} {
		if got := env.source(name); got != want {
			t.Errorf("%s is from %q, want %q", name, got, want)
		}
	}
}

// The places of a Tomcat are its own in the options that are read when it is started.
func TestPlacesOfATomcatInItsOptions(t *testing.T) {
	t.Setenv("CATALINA_BASE", "/elsewhere")
	t.Setenv("CATALINA_OPTS", "-Dours=1")
	env := map[string]string{"CATALINA_OPTS": "${CATALINA_OPTS} -Dlog=${CATALINA_BASE}/logs:${CATALINA_TMPDIR}", "DIR": "${CATALINA_BASE}/x"}
	for kind, want := range map[string]string{config.KindTomcat: "-Dours=1 -Dlog=${CATALINA_BASE}/logs:${CATALINA_TMPDIR}", config.KindProcess: ""} {
		l := launcherOf(t, supervisor.Surroundings{Env: env})
		l.service.Kind = kind
		got, err := l.environ()
		if (err != nil) != (want == "") || want != "" && (got.vars["CATALINA_OPTS"] != want || got.vars["DIR"] != "/elsewhere/x") {
			t.Errorf("%s: %q, %q, %v", kind, got.vars["CATALINA_OPTS"], got.vars["DIR"], err)
		}
	}
}

// Of a variable that setenv.sh has extended each option keeps its own source.
func TestOptionsOfSetenvHaveItsName(t *testing.T) {
	old := environment{vars: map[string]string{"CATALINA_OPTS": "-Dold=1 -Dold=2", "_JAVA_OPTIONS": "-Dunder=1"}, from: map[string]string{}}
	for now, want := range map[string]string{
		"-Dold=1 -Dold=2":         "env,env",
		"-Dold=1 -Dold=2 -Dnew=1": "env,env,bin",
		"-Dnew=1 -Dold=1 -Dold=2": "bin,env,env",
		"-Dold=2":                 "bin",
		"-Dold=1 -Dnew=1":         "bin,bin",
		"":                        "",
	} {
		env := environment{vars: map[string]string{"CATALINA_OPTS": now, "_JAVA_OPTIONS": "-Dunder=1 -Dunder=2"}, from: map[string]string{"_JAVA_OPTIONS": "bin/setenv.sh"}}
		if now != old.vars["CATALINA_OPTS"] {
			env.from["CATALINA_OPTS"] = "bin/setenv.sh"
		}
		l := &layers{world: sourceWorld{labels: noLabels}, outside: old, env: env,
			words: []namedWords{{"CATALINA_OPTS", strings.Fields(now), strings.Fields(old.vars["CATALINA_OPTS"])}}}
		in, err := l.input(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range in.User {
			first, variable, _ := strings.Cut(o.Source, " ")
			if strings.HasSuffix(variable, "_JAVA_OPTIONS") || strings.HasSuffix(variable, "_JAVA_OPTIONS)") {
				continue
			}
			got = append(got, strings.TrimSuffix(first, "/setenv.sh"))
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%q: %q, want %q", now, got, want)
		}
		if under := slices.IndexFunc(in.User, func(o jvm.Option) bool {
			return o.Source == "bin/setenv.sh (_JAVA_OPTIONS)" && o.String() == "-Dunder=2"
		}); under < 0 {
			t.Errorf("%q: the variable that the JVM reads is from elsewhere: %+v", now, in.User)
		}
	}
}

// The reason shows what setenv.sh wrote, in words that steer no terminal.
func TestSetenvErrorShowsItsOutput(t *testing.T) {
	for output, want := range map[string]string{
		"": "cannot import /b/bin/setenv.sh: it ended the shell; it wrote nothing\nhint: ",
		"one\n\x1b[2Jtwo\nthree\nsetenv.sh: 7: Syntax error\n": "it ended the shell; its output ends: ?[2Jtwo | three | setenv.sh: 7: Syntax error\nhint: ",
	} {
		err := setenvError(&tomcat.SetenvError{File: "/b/bin/setenv.sh", Why: "it ended the shell", Output: output})
		if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "cannot import /b/bin/setenv.sh") {
			t.Errorf("%q: %q", output, err)
		}
	}
}
