package service

import (
	"testing"

	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/supervisor"
)

// The source of every variable is known, and ${NAME} in env is the value without env.
func TestEnvironmentSource(t *testing.T) {
	t.Setenv("PATH", "/usr/bin")
	t.Setenv("OURS", "1")
	file := put(t, "web.env", "PATH=/file\nJAVA_HOME=/jdk\n")
	l := launcherOf(t, supervisor.ProcessConfig{EnvFiles: []string{file},
		Env: map[string]string{"PATH": "/opt:${PATH}", "JAVA_OPTS": "-Da=${OURS}"}})
	l.Name, l.Origins = "web", layeredyaml.Origins{"services.web.env.PATH": {File: "stoker.yaml", Line: 7}}
	env, err := l.Environ()
	if err != nil || env.Vars["PATH"] != "/opt:/file" || env.Vars["JAVA_OPTS"] != "-Da=1" {
		t.Fatalf("%q, %q, %v", env.Vars["PATH"], env.Vars["JAVA_OPTS"], err)
	}
	for name, want := range map[string]string{"PATH": "stoker.yaml:7 (PATH)", "JAVA_HOME": file + " (JAVA_HOME)", "OURS": "env OURS",
		"JAVA_OPTS": "services.web.env.JAVA_OPTS (JAVA_OPTS)"} {
		if got := env.Source(name); got != want {
			t.Errorf("%s is from %q, want %q", name, got, want)
		}
	}
}

// References to Tomcat's own paths are kept for its start script.
func TestTomcatVariables(t *testing.T) {
	t.Setenv("CATALINA_BASE", "/elsewhere")
	t.Setenv("CATALINA_OPTS", "-Dours=1")
	env := map[string]string{"CATALINA_OPTS": "${CATALINA_OPTS} -Dlog=${CATALINA_BASE}/logs:${CATALINA_TMPDIR}", "DIR": "${CATALINA_BASE}/x"}
	for kind, want := range map[string]string{config.KindTomcat: "-Dours=1 -Dlog=${CATALINA_BASE}/logs:${CATALINA_TMPDIR}",
		config.KindProcess: ""} {
		l := launcherOf(t, supervisor.ProcessConfig{Env: env})
		l.Config.Kind = kind
		got, err := l.Environ()
		if (err != nil) != (want == "") || want != "" && (got.Vars["CATALINA_OPTS"] != want || got.Vars["DIR"] != "/elsewhere/x") {
			t.Errorf("%s: %q, %q, %v", kind, got.Vars["CATALINA_OPTS"], got.Vars["DIR"], err)
		}
	}
}
