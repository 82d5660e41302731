//go:build container

package tests

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// archived is a Tomcat with a folder for the archives of its classes. Its libraries are a copy, which a test may change.
type archived struct {
	tomcatBase
	t    *testing.T
	dir  string // of the archives
	file string // stoker.yaml
}

// allArchives says that everything about archives is tested, and not the short form.
func allArchives() bool { return os.Getenv("STOKER_ARCHIVES") == "full" }

func newArchived(t *testing.T) archived {
	t.Helper()
	needsNamespaces(t)
	work := t.TempDir()
	a := archived{newTomcatBase(t, work), t, filepath.Join(work, "archives"), filepath.Join(work, "archive.yaml")}
	home := filepath.Join(work, "home")
	if out, err := exec.Command("cp", "-rL", "--preserve=timestamps", a.home, home).CombinedOutput(); err != nil {
		t.Fatalf("cannot copy the Tomcat: %v: %s", err, out)
	}
	a.home = home
	write(t, a.file, a.yaml(), 0o644)
	return a
}

// yaml is the configuration. The collector is fixed, as it would be in an image.
func (a archived) yaml() string {
	return "services:" + a.config() + fmt.Sprintf("jvm: {archive_dir: %s, user: {options: [{option: -XX:+UseSerialGC}]}}\n", a.dir)
}

// command is `stoker jvm archive` as PID 1 of namespaces of its own, after the commands of a shell.
func (a archived) command(before string, more ...string) *exec.Cmd {
	script := before + "\nexec \"$@\""
	args := append([]string{"-pfm", "--mount-proc", "--kill-child", "sh", "-ec", script, "sh", stoker(a.t), "jvm", "archive", "tomcat",
		"-c", a.file, "--within", "3m"}, more...)
	cmd := exec.Command("unshare", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "XDG_STATE_HOME=" + filepath.Dir(a.dir) + "/state"}
	return cmd
}

// makes makes an archive.
func (a archived) makes(before string, more ...string) (out string, code int) {
	a.t.Helper()
	text, err := a.command(before, more...).CombinedOutput()
	return string(text), exitCode(err)
}

func (a archived) mustMake() {
	a.t.Helper()
	if out, code := a.makes(""); code != 0 {
		a.t.Fatalf("stoker jvm archive ends with %d:\n%s", code, out)
	}
}

// files are the archives.
func (a archived) files() []string {
	files, _ := filepath.Glob(filepath.Join(a.dir, "tomcat-*.jsa"))
	more, _ := filepath.Glob(filepath.Join(a.dir, "tomcat-*.aot"))
	return append(files, more...)
}

// starts starts the Tomcat, wants it to answer, and returns whether it has mapped an archive, and the warnings about archives.
func (a archived) starts(config string) (used bool, warnings []string) {
	a.t.Helper()
	b := newBox(a.t, boxOptions{config: config})
	defer b.remove()
	b.awaitState("tomcat", "RUNNING", 2*time.Minute)
	javas := b.javas()
	if len(javas) != 1 {
		a.t.Fatalf("%d JVMs run", len(javas))
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", javas[0]))
	if err != nil {
		a.t.Fatal(err)
	}
	load := newLoad(a.url(), 1)
	if !eventually(20*time.Second, 10*time.Millisecond, func() bool { return load.answered.Load() > 0 }) {
		_, _, first := load.stop()
		a.t.Fatalf("the application does not answer: %s", first)
	}
	load.stop()
	for line := range strings.Lines(b.stderr.String()) {
		if strings.Contains(line, "[WARN]") && strings.Contains(line, "archive") {
			warnings = append(warnings, line)
		}
	}
	return strings.Contains(string(maps), a.dir+"/"), warnings
}

// wantUnused wants a start as without an archive, with one warning.
func (a archived) wantUnused(config string) {
	a.t.Helper()
	if used, warnings := a.starts(config); used || len(warnings) != 1 {
		a.t.Errorf("used: %v, warnings: %q", used, warnings)
	}
}

// TestArchiveUsed makes an archive as a RUN line does, and starts with it.
func TestArchiveUsed(t *testing.T) {
	a := newArchived(t)
	if used, warnings := a.starts(a.yaml()); used || len(warnings) > 0 {
		t.Errorf("without an archive: used %v, warnings %q", used, warnings)
	}
	out, code := a.makes("")
	t.Log(out)
	if code != 0 || len(a.files()) != 1 {
		t.Fatalf("code %d, files %q:\n%s", code, a.files(), out)
	}
	if used, warnings := a.starts(a.yaml()); !used || len(warnings) > 0 {
		t.Errorf("with an archive: used %v, warnings %q", used, warnings)
	}
	if entries, _ := os.ReadDir(a.dir); len(entries) != 2 {
		t.Errorf("the folder has %q", entries)
	}
}

// TestArchiveDamaged: an archive that does not fit costs one warning, and never a start. STOKER_ARCHIVES=full tries more.
func TestArchiveDamaged(t *testing.T) {
	a := newArchived(t)
	a.mustMake()
	file := a.files()[0]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	restore := func(t *testing.T) {
		if err := os.WriteFile(file, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, damage := range map[string]func(data []byte) []byte{
		"truncated": func(data []byte) []byte { return data[:len(data)/2] },
		"empty":     func([]byte) []byte { return nil },
		"one bit": func(data []byte) []byte {
			data[rand.IntN(len(data))] ^= 1 << rand.IntN(8)
			return data
		},
	} {
		if name != "one bit" && !allArchives() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			a := a
			a.t = t
			if err := os.WriteFile(file, damage(append([]byte{}, whole...)), 0o644); err != nil {
				t.Fatal(err)
			}
			a.wantUnused(a.yaml())
			restore(t)
		})
	}
	if allArchives() {
		a.damagedMore(t, file)
	}
	t.Run("a jar was touched", func(t *testing.T) {
		a := a
		a.t = t
		now := time.Now()
		if err := os.Chtimes(filepath.Join(a.home, "lib/catalina.jar"), now, now); err != nil {
			t.Fatal(err)
		}
		a.wantUnused(a.yaml())
		if !allArchives() {
			return
		}
		if out, code := a.makes(""); code != 0 {
			t.Fatalf("it cannot be made again: %d:\n%s", code, out)
		}
		if used, warnings := a.starts(a.yaml()); !used || len(warnings) > 0 {
			t.Errorf("made again: used %v, warnings %q", used, warnings)
		}
	})
}

// damagedMore tries an archive of another user, and another JVM.
func (a archived) damagedMore(t *testing.T, file string) {
	t.Run("of another user", func(t *testing.T) {
		a := a
		a.t = t
		if err := os.Chown(file, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		a.wantUnused(a.yaml())
		if err := os.Chown(file, 0, 0); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("of another JVM", func(t *testing.T) {
		cache, _ := os.UserCacheDir()
		javas, _ := filepath.Glob(filepath.Join(cache, "stoker/matrix-*/jre_17*deb11*/usr/lib/jvm/java-17-openjdk-*"))
		if len(javas) == 0 {
			t.Skip("needs another JVM for this system: scripts/matrix.sh all fetches that of Debian 11")
		}
		a := a
		a.t = t
		a.wantUnused(strings.Replace(a.yaml(), "tomcat: {home:", "tomcat: {java: "+javas[0]+", home:", 1))
	})
}

// TestArchiveNoRoom: a folder that cannot be written, and a disk that is full, are errors of the command, and nothing is left.
func TestArchiveNoRoom(t *testing.T) {
	a := newArchived(t)
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ mount, want string }{
		"read-only": {"mount -t tmpfs -o ro tmpfs " + a.dir, "read-only file system"},
		"full":      {"mount -t tmpfs -o size=4m tmpfs " + a.dir, "the JVM has not written it ("},
		// The JVM can write its file, and stoker cannot copy it.
		"nearly full": {"mount -t tmpfs -o size=22m tmpfs " + a.dir, "cannot write the archive of tomcat"},
	} {
		if name == "nearly full" && !allArchives() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			a := a
			a.t = t
			script := tc.mount + "\n\"$@\" || code=$?; ls -A " + a.dir + " | sed 's/^/left: /'; exit $code; exec"
			out, code := a.makes(script)
			if code != 73 || !strings.Contains(out, tc.want) || !strings.Contains(out, "hint: ") || strings.Contains(out, "left: ") {
				t.Errorf("code %d:\n%s", code, out)
			}
		})
	}
	if used, warnings := a.starts(a.yaml()); used || len(warnings) > 0 {
		t.Errorf("used %v, warnings %q", used, warnings)
	}
}

// TestArchiveKilled kills everything at random moments. What is there afterwards is whole. STOKER_ARCHIVES=full kills eight times.
func TestArchiveKilled(t *testing.T) {
	a := newArchived(t)
	took, kills := 10*time.Second, 1
	if allArchives() {
		begin := time.Now()
		a.mustMake()
		took, kills = time.Since(begin), 8
	}
	for k := range kills {
		if k%2 == 0 {
			os.RemoveAll(a.dir)
		}
		after := time.Duration(rand.Int64N(int64(took)))
		cmd := a.command("")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pass(after)
		cmd.Process.Kill() // --kill-child: PID 1 follows, and the namespace with it
		cmd.Wait()
		for _, file := range a.files() {
			a.wantWhole(file, after)
		}
	}
	used, warnings := a.starts(a.yaml())
	described, _ := filepath.Glob(filepath.Join(a.dir, "tomcat-*.json")) // a kill may have left a file without a description
	if used != (len(described) > 0) || len(warnings) > 0 {
		t.Errorf("after the kills: used %v of %q, described by %q, warnings %q", used, a.files(), described, warnings)
	}
	old := time.Now().Add(-time.Hour)
	left, _ := filepath.Glob(a.dir + "/.making-*")
	for _, path := range left {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	a.mustMake()
	if left, _ := filepath.Glob(a.dir + "/.making-*"); len(left) > 0 {
		t.Errorf("left by the kills: %q", left)
	}
}

// TestArchiveInitKilled: where stoker is not PID 1, as by docker exec, a second application must not go on unseen.
func TestArchiveInitKilled(t *testing.T) {
	a := newArchived(t)
	out, _ := a.makes(`"$@" &
until pgrep -x java; do sleep 0.05; done
sleep 1
kill -9 $!
for k in $(seq 100); do pgrep -x java || { echo gone; break; }; sleep 0.05; done
exit; exec`)
	if !strings.Contains(out, "its init was killed") || !strings.Contains(out, "gone") {
		t.Error(out)
	}
	if left, _ := os.ReadDir(a.dir); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// wantWhole compares an archive with its description, which is written last.
func (a archived) wantWhole(file string, after time.Duration) {
	a.t.Helper()
	text, err := os.ReadFile(strings.TrimSuffix(file, filepath.Ext(file)) + ".json")
	if os.IsNotExist(err) {
		return // without a description it is not used
	}
	var saved struct {
		Data struct {
			Size int64  `json:"size"`
			CRC  uint32 `json:"crc32c"`
		} `json:"data"`
	}
	if err != nil || json.Unmarshal(text, &saved) != nil {
		a.t.Errorf("killed after %v: the description: %v, %q", after, err, text)
		return
	}
	described := saved.Data
	data, err := os.ReadFile(file)
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	if err != nil || int64(len(data)) != described.Size || sum != described.CRC {
		a.t.Errorf("killed after %v: %s has %d bytes, checksum %08x, %v, and should have %+v", after, file, len(data), sum, err, described)
	}
}

// TestArchiveShared: two containers make and use archives in one folder at the same time.
func TestArchiveShared(t *testing.T) {
	if !allArchives() {
		t.Skip("it takes a minute: STOKER_ARCHIVES=full")
	}
	a := newArchived(t)
	second := filepath.Join(filepath.Dir(a.base), "second")
	if out, err := exec.Command("cp", "-r", a.base, second).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	own := []string{"", "mount --bind " + second + " " + a.base}
	var makers sync.WaitGroup
	for _, before := range own {
		makers.Go(func() { // ends with the commands
			for range 2 {
				if out, code := a.makes(before); code != 0 {
					t.Errorf("beside another one: code %d:\n%s", code, out)
				}
			}
		})
	}
	for range 3 { // with or without one, it starts
		_, warnings := a.starts(a.yaml())
		t.Logf("while they are made: %q", warnings)
	}
	makers.Wait()
	if used, warnings := a.starts(a.yaml()); !used || len(warnings) > 0 {
		t.Errorf("used %v, warnings %q", used, warnings)
	}
}

// TestArchiveBesideTomcat: in a container the archive is made beside the running Tomcat, which answers every request meanwhile and stays
// within the limit; where the limit has no room for it, nothing is started.
func TestArchiveBesideTomcat(t *testing.T) {
	needsImage(t, "stoker-demo")
	c := newContainer(t, "-m", "1g", "--memory-swap", "1g", "--cpus", "1.5", "-v", stoker(t)+":/usr/local/bin/stoker:ro",
		"-p", "127.0.0.1::8080", "stoker-demo")
	c.awaitState("tomcat", "RUNNING", 2*time.Minute)
	before, _ := c.status()
	ran, _ := before.service("tomcat")
	load := newLoad("http://127.0.0.1:"+c.inspect(`{{(index (index .NetworkSettings.Ports "8080/tcp") 0).HostPort}}`)+"/app/health", 4)
	out, err := c.exec("stoker", "jvm", "archive", "tomcat")
	answered, failed, first := load.stop()
	t.Logf("%d requests answered meanwhile\n%s", answered, out)
	if err != nil || failed > 0 || answered == 0 {
		t.Errorf("%v; %d requests failed, %d were answered: %s", err, failed, answered, first)
	}
	after, _ := c.status()
	if svc, _ := after.service("tomcat"); svc.Pid != ran.Pid || c.inspect("{{.State.OOMKilled}}") != "false" {
		t.Errorf("the Tomcat was harmed: %+v, and was %+v", svc, ran)
	}
	c.must("stoker", "restart", "--wait", "tomcat")
	after, _ = c.status()
	next, _ := after.service("tomcat")
	if maps, err := c.execAs("app", "cat", fmt.Sprintf("/proc/%d/maps", next.Pid)); !strings.Contains(maps, "/archives/tomcat-") {
		t.Errorf("the next start does not use the archive: %v", err)
	}
	if out, err := exec.Command("docker", "update", "-m", "600m", "--memory-swap", "600m", c.id).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err = c.exec("stoker", "jvm", "archive", "tomcat", "--heap", "512m")
	if exitCode(err) != 75 || !strings.Contains(out, "of the memory limit of 600 MiB are free, and it needs 896 MiB") {
		t.Errorf("without room: %v:\n%s", err, out)
	}
}
