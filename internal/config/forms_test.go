package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/jvm"
)

// loadText loads one file with this text.
func loadText(t *testing.T, text string) (*Loaded, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stoker.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(Options{File: file})
}

func TestSourcesWithConditions(t *testing.T) {
	const text = `services:
  app:
    kind: java
    java:
      jar: /app.jar
jvm:
  default:
    options:
      - -Da=b
      - option: -Xmx1g
        when:
          flavor:
            - small
  user:
    files:
      - /app/jvm.options
      - file: /app/test.opts
        when:
          env:
            ENV:
              - fat
              - uat
          not:
            labels:
              tier:
                - gold
    urls:
      - http://me:geheim@config/${APPID}?token=geheim
      - url: unix:///run/agent.sock:/jvm
        every: 0s
        headers:
          X-Token: geheim
`
	loaded, err := loadText(t, strings.NewReplacer("flavor:\n            - small", "flavor: small", "tier:\n                - gold",
		"tier: gold").Replace(text))
	if err != nil {
		t.Fatal(err)
	}
	c := loaded.Config.JVM
	if o := c.Default.Options; len(o) != 2 || o[0].Option != "-Da=b" || o[1].When.Flavor[0] != "small" {
		t.Errorf("options %+v", o)
	}
	if f := c.User.Files; len(f) != 2 || f[1].When.String() != "env ENV is fat or uat, and not where label tier is gold" {
		t.Errorf("files %+v", f)
	}
	if u := c.User.URLs; len(u) != 2 || *u[0].Every != time.Minute || u[0].Deadline != 5*time.Second || *u[1].Every != 0 {
		t.Errorf("URLs %+v", u)
	}
	if c.Apply != jvm.ApplyAdjust {
		t.Errorf("apply is %q", c.Apply)
	}
	// What is shown can be read again, and has no secret.
	var b strings.Builder
	if err := loaded.Show(&b, false); err != nil {
		t.Fatal(err)
	}
	shown := b.String()
	if strings.Contains(shown, "geheim") || !strings.Contains(shown, "http://***@config/${APPID}?token=***") {
		t.Errorf("it shows\n%s", shown)
	}
	again, err := loadText(t, shown)
	if err != nil {
		t.Fatalf("%v\n%s", err, shown)
	}
	if f := again.Config.JVM.User.Files; len(f) != 2 || f[1].When.Not.Labels["tier"][0] != "gold" || f[0].File != "/app/jvm.options" {
		t.Errorf("files came back as %+v of\n%s", f, shown)
	}
}

func TestSourcesThatAreWrong(t *testing.T) {
	for _, tc := range []struct{ jvm, want string }{
		{`user: {files: [{when: {env: {A: b}}}]}`, "jvm.user.files[0].file: is missing"},
		{`user: {files: [{file: /x, when: {envs: {A: b}}}]}`, `jvm.user.files[0].when.envs: unknown key (did you mean "env"?)`},
		{`user: {files: [{file: /x, when: {env: {A: []}}}]}`, "jvm.user.files[0].when.env.A: the condition has no value"},
		{`user: {files: [{file: /x, when: {flavor: []}}]}`, "jvm.user.files[0].when.flavor: the condition has no value"},
		{`user: {files: [{file: /x, when: {not: {env: {"": b}}}}]}`, "a key is empty"},
		{`user: {files: [{file: /x, when: "env.A == b"}]}`, "jvm.user.files[0].when: is text, not a section of keys"},
		{`user: {files: [{fil: /x}]}`, "jvm.user.files[0].fil: unknown key"},
		{`user: {files: [[/x]]}`, "jvm.user.files[0]: is a list"},
		{`user: {urls: ["ftp://me:geheim@x/"]}`, `jvm.user.urls[0].url: "ftp://***@x/" cannot be requested: a URL begins with`},
		{`user: {urls: ["http://x/${A B}"]}`, "a variable is written ${NAME}"},
		{`user: {urls: [{url: "http://x/", every: 10ms}]}`, "jvm.user.urls[0].every: 10ms is less than 1s"},
		{`user: {urls: [{url: "http://x/", timeout: 0s}]}`, "jvm.user.urls[0].timeout: 0s is not above 0"},
		{`user: {urls: [{url: "http://x/", ca_file: ca.pem}]}`, "jvm.user.urls[0].ca_file"},
		{`user: {urls: [{url: "http://x/", headers: {"X Y": z}}]}`, "is not the name of a header"},
		{`enforced: {env: [A]}`, "jvm.enforced.env"},
		{`apply: restarts`, `jvm.apply: "restarts" is not one of report, adjust, restart (did you mean "restart"?)`},
	} {
		_, err := loadText(t, "services: {app: {kind: java, java: {jar: /x.jar}}}\njvm: {"+tc.jvm+"}\n")
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "geheim") || strings.Count(err.Error(),
			"\n") > 0 {
			t.Errorf("%s: %v, want %q", tc.jvm, err, tc.want)
		}
	}
}

// TestEmptyTextIsAbsent: a later layer unsets a value with an empty text, as in
// --set services.tomcat.ready.http=.
func TestEmptyTextIsAbsent(t *testing.T) {
	for _, key := range []string{`user: ""`, `dir: ""`, `umask: ""`, `ionice: ""`, `ready: {http: ""}`, `ready: {tcp: ""}`, `ready: {log: ""}`,
		`ready: {file: ""}`, `live: {http: ""}`, `stop: {signal: ""}`} {
		if _, err := loadText(t, "services: {a: {command: [sleep, '1'], "+key+"}}"); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}
