package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/hooks/plugin"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/lifecycle"
)

// wholeManifest has every section.
const wholeManifest = `name: jacoco
version: 1.10
description: code coverage
requires: {stoker: ">=0.5"}
required: true
enabled: false
when:
  env: {ENV: [fat, uat]}
  not: {flavor: small}
params:
  port: {type: port, default: 6300, min: 1024}
  token: {secret: true}
jvm: {layer: enforced}
hooks:
  ready:
    - {name: register, url: "http://registry/${label.appid:-none}",
       body: "{\"port\": ${params.port}, \"pid\": ${STOKER_PID}}", on_failure: retry 3}
    - {file: 50-more, timeout: 5s}
  pre-stop:
    - {name: last, command: ["${plugin_dir}/bin/dump", "${params.port}"], env: {TOKEN: "${params.token}"}}
actions:
  dump: {command: [stoker, jacoco, dump], service: main, run_as: app}
  reset: {command: ["${plugin_dir}/bin/reset"], timeout: 5s}
`

// parseManifest is LoadManifest with the bytes of a file.
func parseManifest(path string, data []byte) (*plugin.Manifest, error) {
	l := layeredyaml.New(manifestSchema)
	l.Bytes(path, data)
	return manifestOf(l, path)
}

func TestManifest(t *testing.T) {
	m, err := parseManifest("plugin.yaml", []byte(wholeManifest))
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != "1.10" || m.Required == nil || !*m.Required || *m.Enabled || m.JVM.Layer != "enforced" ||
		*m.Params["port"].Default != "6300" ||
		m.Hooks.Of(lifecycle.Ready)[1].Timeout != 5*time.Second || len(m.Hooks.Of(lifecycle.PreStop)[0].Command) != 2 {
		t.Errorf("%+v", m)
	}
	if a := m.Actions["dump"]; a.Timeout != time.Minute || a.Service != plugin.ActionOfMain || a.RunAs != "app" {
		t.Errorf("%+v", a)
	}
	if a := m.Actions["reset"]; a.Timeout != 5*time.Second || a.Service != plugin.ActionOfNone {
		t.Errorf("%+v", a)
	}
}

func TestManifestProblems(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", "p.yaml: name: a plugin needs a name"},
		{"name: a\nversion: 1\nparms: {}", `p.yaml:3:1: parms: unknown key (did you mean "params"?)`},
		{"name: Big\nversion: 1", `p.yaml:1:7: name: "Big" is not a plugin name`},
		{"name: a", "p.yaml: version: a plugin needs a version"},
		{"name: a\nversion: 1\nrequires: {stoker: soon}", `p.yaml:3:20: requires.stoker: "soon" is no version: write >=0.5`},
		{"name: a\nversion: 1\njvm: {layer: users}",
			`p.yaml:3:14: jvm.layer: "users" is not one of default, user, enforced (did you mean "user"?)`},
		{"name: a\nversion: 1\nparams:\n  port: {type: prt}",
			`p.yaml:4:16: params.port.type: "prt" is not one of string, int, bool, port, duration, path, url, enum (did you mean "port"?)`},
		{"name: a\nversion: 1\nparams:\n  port: {type: port, default: 0}", `p.yaml:4:31: params.port.default: 0 is not a port`},
		{"name: a\nversion: 1\nparams:\n  a-b: {}", `params.a-b: "a-b" cannot be the name of a parameter`},
		{"name: a\nversion: 1\nparams: {a: {}, A: {}}", `params.a: its variable is that of A too`},
		{"name: a\nversion: 1\nactions: {x: {command: [\"${params.y}\"]}}", `p.yaml:3:25: actions.x.command[0]: there is no parameter "y"`},
		{"name: a\nversion: 1\nactions: {x: {}}", `p.yaml:3:11: actions.x.command: an action needs a command`},
		{"name: a\nversion: 1\nactions: {x: {command: [a], service: all}}", `actions.x.service: "all" is not one of main, none`},
		{"name: a\nversion: 1\nactions: {x: {command: [a], timeout: 0s}}", `actions.x.timeout: 0s is not above 0`},
		{"name: a\nversion: 1\nhooks: {redy: []}", `hooks.redy: unknown key (did you mean "ready"?)`},
		{"name: a\nversion: 1\nhooks:\n  ready:\n    - {name: x, command: [\"${FOO}\"]}",
			"p.yaml:5:27: hooks.ready[0].command[0]: \"${FOO}\" is no reference"},
		{"name: a\nversion: 1\nhooks:\n  ready:\n    - {name: x}", "p.yaml:5:7: hooks.ready[0]: a hook needs a command, a url or a file"},
		{"name: a\nversion: 1\nwhen: {env: {X: []}}", "when.env.X: the condition has no value"},
		{"name: a\nversion: 1\nname: b", "name: is set twice"},
		{"[a]", "p.yaml:1:1: is a list, not a section of keys"},
	} {
		m, err := parseManifest("p.yaml", []byte(tc.text))
		var problems layeredyaml.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %s", tc.text, err, tc.want)
		}
		if m == nil {
			t.Errorf("%q: nothing of it is kept", tc.text)
		}
	}
}

// TestBrokenManifestIsRequired: what could be read counts, above all that it is required.
func TestBrokenManifestIsRequired(t *testing.T) {
	m, err := parseManifest("p.yaml", []byte("name: a\nrequired: true\nvrsion: 1\n"))
	if err == nil || m.Required == nil || !*m.Required {
		t.Errorf("%+v %v", m, err)
	}
}

// Of a broken manifest a layer that it does not name is not known.
func TestLayerOfBrokenManifest(t *testing.T) {
	for text, want := range map[string]string{
		"name: a\nversion: 1\n":                          "default",
		"name: a\nvrsion: 1\n":                           "",
		"name: a\nvrsion: 1\njvm: {layer: enforced}\n":   "enforced",
		"name: a\nversion: 1\njvmm: {layer: enforced}\n": "",
		"name: a\nversion: [\n":                          "",
	} {
		if m, err := parseManifest("p.yaml", []byte(text)); m != nil && m.JVM.Layer != want || m == nil && want != "" {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
}

func TestLoadManifest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin.yaml")
	if _, err := LoadManifest(path); err == nil || !strings.Contains(err.Error(), "it does not exist") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, []byte(wholeManifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadManifest(path); err != nil {
		t.Error(err)
	}
}

// FuzzManifest: no text makes it panic, and each problem has a file.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(wholeManifest))
	f.Add([]byte("name: a\nparams: {x: {type: enum, values: [a], default: b}}\nactions: {x: {command: ['${']}}"))
	f.Add([]byte("<<: {a: b}\nwhen: &a {not: *a}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := parseManifest("p.yaml", data)
		var problems layeredyaml.Problems
		if err == nil {
			return
		}
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("%v", err)
		}
		for _, p := range problems {
			if p.File == "" && !strings.Contains(p.Message, "more problems") {
				t.Errorf("%v has no file", p)
			}
		}
	})
}
