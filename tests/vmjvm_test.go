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

// addJVM adds a small JVM and testdata/Heap.java, as /jre and /Heap.class, to the files of a machine.
func addJVM(t *testing.T, a *archive) {
	t.Helper()
	dir := t.TempDir()
	compileHeap(t, dir)
	if _, err := exec.LookPath("jlink"); err != nil {
		lacking(t, "jlink is missing")
	}
	jre := filepath.Join(dir, "jre")
	for _, argv := range [][]string{
		{"jlink", "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC", "--add-modules", "java.base", "--output", jre},
		{jre + "/bin/java", "-Xshare:dump"}, // for a quick start
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
	addFile(t, a, filepath.Join(dir, "Heap.class"), "Heap.class")
	var binaries []string
	if err := filepath.WalkDir(jre, func(path string, d fs.DirEntry, err error) error {
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
	added := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)(?:=> |^\t)((?:/usr)?/lib\S*) \(`).FindAllStringSubmatch(string(out), -1) {
		if name := m[1][1:]; !added[name] {
			added[name] = true
			for at, c := range name {
				if c == '/' {
					a.add(t, name[:at], 0o040755, nil)
				}
			}
			addFile(t, a, m[1], name)
		}
	}
}

// compileHeap makes Heap.class in dir.
func compileHeap(t testing.TB, dir string) {
	t.Helper()
	if _, err := exec.LookPath("javac"); err != nil {
		lacking(t, "javac is missing")
	}
	if out, err := exec.Command("javac", "--release", "11", "-d", dir, "testdata/Heap.java").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
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

// On cgroup v2, memory.max is lowered and raised under a running JVM, and lowered under one that is restarted for it.
func TestMachineLimitOfJVM(t *testing.T) {
	t.Parallel()
	m := bootWith(t, 1024, func(a *archive) { addJVM(t, a) }, `
cgroup box memory.max=700M
box box <<'EOF'
services:
  app:
    kind: java
    java: {home: /jre, classpath: [/], main: Heap, args: [/tmp]}
    ready: {exec: [test, -e, /tmp/filled], within: 60s}
jvm:
  check: false
  user: {options: ["-XX:+UseG1GC", "-XX:TieredStopAtLevel=1"]}
EOF
within 60 is app RUNNING
sleep 3 # the watch begins two seconds after the services
resident() { sed -n 's/^VmRSS:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$(pid_of app)/status"; }
says() { stoker status -o json app | grep -q "$1" && stoker jvm explain app | tr -s ' \n' '  ' | grep -q "$1"; }
before=$(value app pid)
steady() { full=$(resident); sleep 2; [ $(($(resident) - full)) -lt 2048 ]; }
within 30 steady
full=$(resident)
tell full "$full"
now=$(date_boot)
low=$((full / 768)) # MiB, of which three quarters are in use: a collection is needed, and has room
echo ${low}M >/sys/fs/cgroup/box/memory.max
within 20 says "the memory limit is $low MiB now: the JVM uses"
within 20 says "the memory limit is $low MiB now (it was 700 MiB)"
tell noticed $(($(date_boot) - now))
within 20 says 'the JVM has collected its heap'
tell collected "$(resident)"
echo 700M >/sys/fs/cgroup/box/memory.max
as_before() { ! stoker status -o json app | grep -q 'the memory limit'; }
within 40 as_before
sed -i 's/check: false/check: false\n  apply: restart/' /tmp/stoker.yaml
stoker reload
touch /tmp/fill
within 20 test ! -e /tmp/fill
tell again "$(resident)"
tell same "$([ "$before" = "$(value app pid)" ] && echo yes)"
rm /tmp/filled # the new process is RUNNING when it has filled its heap
now=$(date_boot)
echo 500M >/sys/fs/cgroup/box/memory.max
restarted() { is app RUNNING && [ "$(value app pid)" != "$before" ]; }
within 40 restarted
tell restarted $(($(date_boot) - now))
tell heap "$(stoker jvm explain app | grep -o -e '-Xmx[0-9]*m' | head -n 1)"
tell reason "$(grep -c 'a change of its limits' /tmp/box.log)"
tell kills "$(sed -n 's/^oom_kill //p' /sys/fs/cgroup/box/memory.events)"
tell events "$(stoker events --kind limits-changed | grep -c limits-changed)"
kill -TERM "$box_pid"
wait "$box_pid"
`)
	m.below("noticed", 10)
	m.want("same", "yes")
	m.want("heap", `-Xmx\d+m`)
	m.want("reason", "[1-9]")
	m.want("kills", "0")
	m.want("events", "3")
	t.Logf("resident in KiB: full %v, collected %v, full again %v; noticed after %v s, restarted after %v s", m.values["full"],
		m.values["collected"], m.values["again"], m.seconds("noticed"), m.seconds("restarted"))
}
