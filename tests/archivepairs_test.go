//go:build container

package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestArchiveOfPairs makes archives with the pairs that STOKER_MATRIX selects. Before Java 13 that is refused, and from 25 on a second JVM
// writes them.
func TestArchiveOfPairs(t *testing.T) {
	needsNamespaces(t)
	for _, p := range matrixPairs(t) {
		t.Run(p.java+" with "+p.tomcat, func(t *testing.T) {
			text, err := p.archive(t)
			want, code := "kept for Java "+fmt.Sprint(p.major())+";", 0
			if p.major() < 13 {
				want, code = fmt.Sprintf("a run of Java %d makes no class archives; from Java 13 on it can", p.major()), 1
			}
			if exitCode(err) != code || !strings.Contains(text, want) || strings.Contains(text, "[WARN]") {
				t.Errorf("%v, want %d and %q:\n%s", err, code, want, text)
			}
		})
	}
}

// archive makes the archive of a small application without JSP: not every root has a compiler.
func (p *matrixPair) archive(t *testing.T) (text string, err error) {
	seed := t.TempDir()
	srv := seed + "/srv"
	home, outside := p.found(t, "/usr/share/tomcat[0-9]*")
	java, _ := p.found(t, fmt.Sprintf("/usr/lib/jvm/java-%d-openjdk-*", p.major()))
	if err := os.MkdirAll(srv, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "../scripts/base.sh", outside, srv+"/base").CombinedOutput(); err != nil {
		t.Fatalf("cannot make the base: %v: %s", err, out)
	}
	if err := os.Mkdir(srv+"/base/webapps/app", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, srv+"/base/webapps/app/index.html", "an application\n", 0o644)
	write(t, srv+"/stoker.yaml", fmt.Sprintf("services:\n  tomcat:\n    kind: tomcat\n    user: app\n    tomcat: {home: %s, base: /srv/base, java: %s}\n"+
		"jvm: {archive_dir: /srv/archives}\n", home, java), 0o644)
	if out, err := exec.Command("chmod", "-R", "a+rX", seed).CombinedOutput(); err != nil {
		t.Fatalf("chmod: %v: %s", err, out)
	}
	script := strings.Replace(mountRoot, "run --config /srv/stoker.yaml", "jvm archive tomcat --config /srv/stoker.yaml --within 3m", 1)
	cmd := exec.Command("unshare", "-pfmn", "--mount-proc", "--kill-child", "sh", "-c", script, "sh", seed+":"+p.lower, t.TempDir(), stoker(t))
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}
