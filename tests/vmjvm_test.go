//go:build container

package tests

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// heapProgram fills its heap, keeps a little of it, and goes on.
const heapProgram = `
public class Heap {
    static byte[] kept = new byte[20 << 20];
    public static void main(String[] args) throws Exception {
        for (int i = 0; i < 20; i++) { byte[] more = new byte[10 << 20]; java.util.Arrays.fill(more, (byte) 1); }
        new java.io.File("/tmp/filled").createNewFile();
        while (true) Thread.sleep(1000);
    }
}`

// addJVM adds a small JVM and a program, as /jre and /Heap.class, to the files of a machine.
func addJVM(t *testing.T, a *archive) {
	t.Helper()
	dir := t.TempDir()
	source := script(t, dir, "Heap.java", heapProgram)
	for _, argv := range [][]string{
		{"javac", "--release", "11", "-d", dir, source},
		{"jlink", "--add-modules", "java.base", "--strip-debug", "--compress=2", "--output", filepath.Join(dir, "jre")},
	} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			lacking(t, argv[0]+" is missing: apt-get install openjdk-17-jdk-headless")
		}
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
	addFile(t, a, filepath.Join(dir, "Heap.class"), "Heap.class")
	var binaries []string
	if err := filepath.WalkDir(filepath.Join(dir, "jre"), func(path string, d fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(dir, path)
		switch {
		case err != nil || relErr != nil:
			return err
		case d.IsDir():
			a.add(t, name, 0o040755, nil)
		case d.Type().IsRegular():
			addFile(t, a, path, name)
			if filepath.Ext(name) == ".so" || name == "jre/bin/java" {
				binaries = append(binaries, path)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ldd", binaries...).CombinedOutput()
	if err != nil {
		t.Fatalf("ldd: %v: %s", err, out)
	}
	for _, name := range []string{"lib", "lib64", "lib/x86_64-linux-gnu"} {
		a.add(t, name, 0o040755, nil)
	}
	added := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)(/lib\S*/)(\S+\.so\S*) \(`).FindAllStringSubmatch(string(out), -1) {
		if to := m[1][1:] + m[2]; !added[to] {
			added[to] = true
			addFile(t, a, m[1]+m[2], to)
		}
	}
}

func addFile(t *testing.T, a *archive, from, name string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	a.add(t, name, 0o100755, data)
}

// On cgroup v2, memory.max is lowered and raised under a running JVM.
func TestMachineLimitOfJVM(t *testing.T) {
	t.Parallel()
	m := bootWith(t, 1024, func(a *archive) { addJVM(t, a) }, `
cgroup box memory.max=700M
box box <<'EOF'
services:
  app:
    kind: java
    java: {home: /jre, classpath: [/], main: Heap}
    ready: {exec: [test, -e, /tmp/filled], within: 60s}
jvm:
  check: false
  user: {options: ["-XX:+UseG1GC", "-XX:TieredStopAtLevel=1"]}
EOF
within 60 is app RUNNING
resident() { sed -n 's/^VmRSS: *\([0-9]*\) kB/\1/p' "/proc/$(pid_of app)/status"; }
says() { stoker status -o json app | grep -q "$1" && stoker jvm explain app | tr -s ' \n' '  ' | grep -q "$1"; }
before=$(value app pid)
tell before "$(resident)"
now=$(date_boot)
echo 400M >/sys/fs/cgroup/box/memory.max
within 20 says 'the memory limit is 400 MiB now, and the JVM may use'
within 20 says 'the memory limit is 400 MiB now (it was 700 MiB)'
tell noticed $(($(date_boot) - now))
within 20 says 'the JVM has collected its heap'
tell after "$(resident)"
tell events "$(stoker events | grep -c limits-changed)"
echo 800M >/sys/fs/cgroup/box/memory.max
within 20 says 'the memory limit is 800 MiB now (it was 700 MiB)'
tell same "$([ "$before" = "$(value app pid)" ] && echo yes)"
sed -i 's/check: false/check: false\n  apply: restart/' /tmp/stoker.yaml
stoker reload
echo 500M >/sys/fs/cgroup/box/memory.max
restarted() { is app RUNNING && [ "$(value app pid)" != "$before" ]; }
within 40 restarted
tell heap "$(stoker jvm explain app | grep -o -e '-Xmx[0-9]*m')"
tell kills "$(sed -n 's/^oom_kill //p' /sys/fs/cgroup/box/memory.events)"
kill -TERM "$box_pid"
wait "$box_pid"
`)
	m.below("noticed", 20)
	m.want("events", "[1-9]")
	m.want("same", "yes")
	m.want("heap", "-Xmx244m")
	m.want("kills", "0")
	t.Logf("resident before %v, after %v", m.values["before"], m.values["after"])
}
