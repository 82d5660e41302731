//go:build container

package tests

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHostileTomcatFolders: the user of a Tomcat puts hostile files into its folders. The supervisor,
// which reads them as root, neither blocks nor is OOM-killed.
func TestHostileTomcatFolders(t *testing.T) {
	t.Parallel()
	needsImage(t, "stoker-demo")
	c := newContainer(t, "-m", "700m", "--volume="+stoker(t)+":/usr/bin/stoker:ro", "-e", "CATALINA_HOME=/srv/home", withConfig(t, `
services:
  tomcat:
    kind: tomcat
    tomcat: {base: /srv/app}
    user: app
    ready: {http: "http://127.0.0.1:8080/app/health", within: 120s}
    restart: {policy: always, backoff: {first: 200ms}}
    stop: {timeout: 2s}
jvm: {flavor: {memory: 448MiB}}
`), "--entrypoint", "sh", "stoker-demo", "-c",
		"cp -rL /usr/share/tomcat10 /srv/home && chown -R app /srv/home /srv/app && cp -a /srv /copy && exec /usr/bin/stoker run")
	c.awaitState("tomcat", "RUNNING", 2*time.Minute)
	supervisor := strings.TrimSpace(c.must("sh", "-c", "pgrep -f 'stoker supervise' | head -1"))
	for _, file := range []string{"home/bin/catalina.sh", "home/lib/catalina.jar", "app/conf/server.xml", "app/conf/catalina.properties",
		"app/logs/localhost.9999-01-01.log"} {
		for what, put := range map[string]string{
			"a link to /dev/zero": "ln -s /dev/zero $f",
			"a FIFO":              "mkfifo $f",
			"20 GB":               "truncate -s 20G $f",
		} {
			if out, err := c.execAs("app", "sh", "-c", "f=/srv/"+file+"; rm -f $f; "+put); err != nil {
				t.Fatalf("%s: %v: %s", what, err, out)
			}
			began := time.Now()
			c.must("stoker", "restart", "tomcat")
			if !eventually(time.Minute, 100*time.Millisecond, func() bool {
				state := c.state("tomcat")
				return state != "STOPPING" && state != "RUNNING" || state == "RUNNING" && time.Since(began) > 5*time.Second
			}) {
				t.Errorf("%s as %s: it does not start again", what, file)
			}
			c.must("stoker", "status")
			if now := strings.TrimSpace(c.must("sh", "-c", "pgrep -f 'stoker supervise' | head -1")); now != supervisor {
				t.Fatalf("%s as %s has ended the supervisor: it was pid %s and is %s", what, file, supervisor, now)
			}
			c.must("sh", "-c", fmt.Sprintf("rm -f /srv/%s; cp -a /copy/%s /srv/%s 2>/dev/null || true", file, file, file))
		}
	}
	c.must("stoker", "restart", "tomcat")
	c.awaitState("tomcat", "RUNNING", 2*time.Minute)
}

// TestStateFilesOfTheBinary starts a container with damaged state files: a warning names them, and
// disabled plugins stay disabled.
func TestStateFilesOfTheBinary(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"plugins/first/plugin.yaml":      "name: first\nversion: \"1\"\n",
		"plugins/first/jvm.d/50-a.opts":  "-Dfirst=1\n",
		"plugins/second/plugin.yaml":     "name: second\nversion: \"1\"\n",
		"plugins/second/jvm.d/50-a.opts": "-Dsecond=1\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	box := func() *box {
		b := newBox(t, boxOptions{dir: dir, env: []string{"XDG_STATE_HOME=" + dir + "/state"}, config: `
plugins: {dir: ` + dir + `/plugins}
services:
  s: {command: [sleep, "1000"]}
`})
		b.awaitState("s", "RUNNING", 10*time.Second)
		return b
	}
	b := box()
	for _, args := range [][]string{{"disable", "first"}, {"enable", "second"}} {
		if out, err := b.run(append([]string{"plugin"}, args...)...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	b.remove()
	path := filepath.Join(dir, "state/stoker/plugins.json")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string][]byte{"empty": {}, "half": whole[:len(whole)/2], "{}": []byte("{}"), "zeros": make([]byte, len(whole)),
		"as of before": []byte(`{"plugins": {"first": {"enabled": true}}}`)}
	for n := 0; n < len(whole); n += len(whole)/12 + 1 {
		bad := bytes.Clone(whole)
		bad[n] ^= 1 << (n % 8)
		damage[fmt.Sprintf("bit %d of byte %d", n%8, n)] = bad
	}
	for what, content := range damage {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second reads the files of the first
			b := box()
			out, err := b.run("status")
			if err != nil || strings.Count(out, "it is not known whether it was switched off") != 2 || !strings.Contains(out, "plugins.json.bad") {
				t.Errorf("%s: %v: status says\n%s", what, err, out)
			}
			b.remove()
		}
		if kept, err := os.ReadFile(path + ".bad"); err != nil || !bytes.Equal(kept, content) {
			t.Errorf("%s: %q was kept, %v", what, kept, err)
		}
	}
	b = box()
	for _, args := range [][]string{{"disable", "first"}, {"enable", "second"}} {
		if out, err := b.run(append([]string{"plugin"}, args...)...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	b.remove()
	if out, err := box().run("status"); err != nil || strings.Contains(out, "not known") ||
		!strings.Contains(out, "switched off by the operator") {
		t.Errorf("once it is decided: %v: status says\n%s", err, out)
	}
}
