package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// References in env are checked where they stand, and what looks like one but is not
// is a warning where it is likely to be meant.
func TestReferencesInEnv(t *testing.T) {
	for _, c := range []struct{ env, problem, warning string }{
		{`PATH: "/opt/bin:${PATH}"`, "", ""},
		{`A: "${NOT_SET_YET}"`, "", ""}, // hooks and env_files may set it
		{`A: "${B:-1}"`, "", ""},
		{`A: "x ${B"`, `stoker.yaml:6:10: services.web.env.A: a ${ in it is not closed by }`, ""},
		{`"a.b": "${"`, `stoker.yaml:6:14: services.web.env."a.b": a ${ in it is not closed`, ""},
		{"A: \"${B}\"\n      B: \"${A}\"", "refer to each other", ""},
		{`A: "u:${DB_PASSWORD}@h"`, "services.web.env.A: refers to the secret DB_PASSWORD", ""},
		{`PATH: "/opt/bin:$PATH"`, "", "stoker.yaml:6:13: services.web.env.PATH: $PATH is taken literally: no shell reads it (write ${PATH})"},
		{"A: \"$B/x\"\n      B: \"1\"", "", "services.web.env.A: $B is taken literally"},
		{`A: "$$PATH $${PATH} pa$$word pa$word $1 $(PATH)"`, "", ""},
		{`A: "${PATH%%:*}"`, "", "${PATH%%:*} is taken literally"},
		{`A: "${PATH:-${HOME}/bin}"`, "", "services.web.env.A: ${PATH:-${HOME} ends at its first }: references do not nest"},
		{`A: "${PATH-x}"`, "", "${PATH-x} is taken literally"},
		{`A: "${user.home} ${catalina.base} ${my-app.dir}"`, "", ""},
	} {
		for _, layer := range []string{"service", "hook"} {
			text := "services:\n  web:\n    command: [/bin/true]\n    secrets: {DB_PASSWORD: /run/pw}\n    env:\n      " + c.env + "\n"
			if layer == "hook" {
				if strings.Contains(c.problem, "secret") {
					continue
				}
				text = "services: {web: {command: [/bin/true]}}\nhooks:\n  ready:\n  - name: x\n    command: [/bin/true]\n    env:\n      " +
					"" + c.env + "\n"
				c.problem = strings.NewReplacer("stoker.yaml:6:", "stoker.yaml:7:", "services.web", "hooks.ready[0]").Replace(c.problem)
				c.warning = strings.NewReplacer("stoker.yaml:6:", "stoker.yaml:7:", "services.web", "hooks.ready[0]").Replace(c.warning)
			}
			file := filepath.Join(t.TempDir(), "stoker.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			loaded, err := Load(Options{File: file, Environ: []string{"PATH=/usr/bin"}})
			problem, warning := "", ""
			if err != nil {
				problem = err.Error()
			}
			for _, w := range loaded.Warnings {
				warning += w.String()
			}
			if (problem == "") != (c.problem == "") || !strings.Contains(problem, c.problem) || (warning == "") != (c.warning == "") ||
				!strings.Contains(warning, c.warning) {
				t.Errorf("%s, %s: problem %q, warning %q", layer, c.env, problem, warning)
			}
		}
	}
}

// In a Tomcat's JAVA_OPTS and CATALINA_OPTS $NAME is read, as by catalina.sh.
func TestDollarInOptionsOfTomcat(t *testing.T) {
	for kind, warned := range map[string]bool{KindTomcat: false, KindProcess: true} {
		file := filepath.Join(t.TempDir(), "stoker.yaml")
		text := "services: {web: {kind: " + kind + ", env: {CATALINA_OPTS: -Dhome=$HOME}}}\n"
		if kind == KindProcess {
			text = strings.Replace(text, "env:", "command: [/bin/true], env:", 1)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(Options{File: file, Environ: []string{"HOME=/root"}})
		if err != nil || len(loaded.Warnings) > 0 != warned {
			t.Errorf("%s: %v, %v", kind, loaded.Warnings, err)
		}
	}
}
