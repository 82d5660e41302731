//go:build container

package tests

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMatrix runs a short life with each pair of a JDK and a Tomcat of scripts/matrix.sh: two Tomcats of another user under stoker as PID
// 1, in a root file system with both. STOKER_MATRIX are the arguments of the script: "all", or pairs; by default three pairs.
func TestMatrix(t *testing.T) {
	t.Parallel()
	needsNamespaces(t)
	for _, tool := range []string{"ip", "nsenter", "javac"} {
		if _, err := exec.LookPath(tool); err != nil {
			lacking(t, tool+" is missing")
		}
	}
	classes := t.TempDir()
	if out, err := exec.Command("javac", "--release", "8", "-d", classes, "testdata/Idle.java").CombinedOutput(); err != nil {
		t.Fatalf("cannot compile the program: %v\n%s", err, out)
	}
	table := matrixTable{matrixPairs(t)}
	for _, p := range table.pairs {
		p.classes = classes
	}
	t.Cleanup(func() { t.Logf("%s", &table) })
	queue := make(chan *matrixPair, len(table.pairs))
	for _, p := range table.pairs {
		queue <- p
	}
	close(queue)
	for lane := range 2 { // each pair has two Tomcats
		t.Run(fmt.Sprint("lane ", lane+1), func(t *testing.T) {
			t.Parallel()
			for p := range queue {
				t.Run(p.java+" with "+p.tomcat, p.test)
			}
		})
	}
}

// matrixPairs returns the pairs that STOKER_MATRIX selects.
func matrixPairs(t *testing.T) (pairs []*matrixPair) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("../scripts/matrix.sh", strings.Fields(os.Getenv("STOKER_MATRIX"))...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		lacking(t, fmt.Sprintf("cannot fetch the JDKs and Tomcats: %v\n%s", err, &stderr))
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		pairs = append(pairs, &matrixPair{java: f[0], tomcat: f[1], lower: f[2], results: map[string]string{}})
	}
	return pairs
}

// matrixCells are the properties of a pair, in the order of the table.
var matrixCells = []string{"ready", "application", "enforced", "one by one", "tools", "argv", "stop"}

// matrixTable is the result, as a table of Markdown.
type matrixTable struct{ pairs []*matrixPair }

func (m *matrixTable) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n| Java | Tomcat | %s |\n|---|---|%s\n", strings.Join(matrixCells, " | "), strings.Repeat("---|", len(matrixCells)))
	for _, p := range m.pairs {
		fmt.Fprintf(&out, "| %s | %s |", p.java, p.tomcat)
		for _, cell := range matrixCells {
			fmt.Fprintf(&out, " %s |", cmp.Or(p.results[cell], "-"))
		}
		out.WriteString("\n")
	}
	return out.String()
}

// matrixPair is a JDK with a Tomcat.
type matrixPair struct {
	java, tomcat string            // versions
	lower        string            // folders of the overlay
	classes      string            // with Idle
	results      map[string]string // by cell
}

// check runs one cell and notes its result.
func (p *matrixPair) check(t *testing.T, cell string, test func(*testing.T)) bool {
	ok := t.Run(cell, test)
	p.results[cell] = map[bool]string{true: "ok", false: "**fails**"}[ok]
	return ok
}

// major returns 8 for 8u504, 17 for 17.0.21.
func (p *matrixPair) major() int {
	n, _ := strconv.Atoi(p.java[:len(p.java)-len(strings.TrimLeft(p.java, "0123456789"))])
	return n
}

// found returns the only path in the overlay that matches a pattern.
func (p *matrixPair) found(t *testing.T, pattern string) (inside, outside string) {
	t.Helper()
	for _, dir := range strings.Split(p.lower, ":") {
		if paths, _ := filepath.Glob(dir + pattern); len(paths) == 1 {
			return strings.TrimPrefix(paths[0], dir), paths[0]
		}
	}
	t.Fatalf("no folder of %s has one %s", p.lower, pattern)
	return "", ""
}

// The enforced options, and the flags of a JVM that has them.
var (
	matrixEnforced = []string{"-Xmx96m", "-XX:+UseSerialGC", "-XX:MaxMetaspaceSize=80m", "-XX:ActiveProcessorCount=1", "-Dmatrix.enforced=1"}
	matrixFlags    = map[string]string{"MaxHeapSize": "100663296", "UseSerialGC": "true", "UseParallelGC": "false", "UseG1GC": "false",
		"MaxMetaspaceSize": "83886080", "ActiveProcessorCount": "1"}
)

// weak are options against the enforced ones, which no way may bring into effect.
const weak = "-Xmx200m -XX:+UseParallelGC -XX:MaxMetaspaceSize=200m -XX:ActiveProcessorCount=2 -Dmatrix.enforced=0"

// bypass is a way to get options past those on the command line.
type bypass struct {
	name       string
	env        map[string]string
	file, text string // below /srv
	shown      string // in the options that were overridden; empty: those of weak
	since      int    // Java version
	tomcat     bool   // only for a Tomcat
}

func bypasses() []bypass {
	return []bypass{
		{name: "java-tool-options", env: map[string]string{"JAVA_TOOL_OPTIONS": weak}},
		{name: "jdk-java-options", env: map[string]string{"JDK_JAVA_OPTIONS": weak}, since: 9},
		{name: "underscore-java-options", env: map[string]string{"_JAVA_OPTIONS": weak}},
		{name: "java-opts", env: map[string]string{"JAVA_OPTS": weak}},
		{name: "catalina-opts", env: map[string]string{"CATALINA_OPTS": weak}, tomcat: true},
		{name: "setenv", file: "held/bin/setenv.sh", tomcat: true,
			text: "CATALINA_OPTS=\"$CATALINA_OPTS " + weak + "\"\nexport _JAVA_OPTIONS=-Xmx201m JAVA_TOOL_OPTIONS=-Xmx202m\n"},
		{name: "flags-file", env: map[string]string{"JAVA_OPTS": "-XX:Flags=/srv/hotspotrc"}, file: "hotspotrc", shown: "209715200",
			text: "+UseParallelGC\nMaxHeapSize=209715200\nMaxMetaspaceSize=209715200\n"},
		{name: "vm-options-file", env: map[string]string{"JAVA_OPTS": "-XX:VMOptionsFile=/srv/vmoptions"}, file: "vmoptions", text: weak,
			since: 9},
		{name: "argfile", env: map[string]string{"JAVA_OPTS": "@/srv/argfile"}, file: "argfile", text: weak, since: 9},
		{name: "percentage", env: map[string]string{"JAVA_OPTS": "-XX:MaxRAMPercentage=90"}, shown: "MaxRAMPercentage=90"},
		{name: "max-ram", env: map[string]string{"JAVA_OPTS": "-XX:MaxRAM=900m"}, shown: "MaxRAM=900m"},
		{name: "collector", env: map[string]string{"JAVA_OPTS": "-XX:+UseG1GC"}, shown: "UseG1GC"},
	}
}

// matrixBox is stoker as PID 1 in the root file system of a pair.
type matrixBox struct {
	*box
	pair *matrixPair
	home string // CATALINA_HOME
}

// mountRoot makes the root file system. Its arguments are the folders of the overlay, the folder to mount in and bin/stoker.
const mountRoot = `set -e
mount -t tmpfs tmpfs "$2" && mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
for dir in dev sys; do mount --rbind "/$dir" "$2/root/$dir"; done
mount -t proc proc "$2/root/proc"
touch "$2/root/usr/bin/stoker" && mount --bind "$3" "$2/root/usr/bin/stoker"
ip link set lo up
cd "$2/root"
exec chroot . /usr/bin/stoker run --config /srv/stoker.yaml`

func (p *matrixPair) box(t *testing.T) *matrixBox {
	seed := t.TempDir()
	for _, dir := range []string{seed, seed + "/srv"} { // others than root read them
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	home := p.seed(t, seed+"/srv")
	b := &matrixBox{&box{t: t, dir: t.TempDir(), over: make(chan struct{})}, p, home}
	b.cmd = exec.Command("unshare", "-pfmn", "--mount-proc", "--kill-child", "sh", "-c", mountRoot, "sh", seed+":"+p.lower, b.dir, stoker(t))
	b.cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	b.start(boxOptions{})
	t.Cleanup(b.remove)
	if b.findInit(); b.init == 0 {
		t.Fatalf("stoker does not start: %s", b.stderr.String())
	}
	b.socket = fmt.Sprintf("/proc/%d/root/run/stoker/stoker.sock", b.init)
	return b
}

// seed writes the two Tomcats, the files of the bypasses and the configuration, and returns CATALINA_HOME.
func (p *matrixPair) seed(t *testing.T, srv string) string {
	home, homeOutside := p.found(t, "/usr/share/tomcat[0-9]*")
	for _, cmd := range [][]string{
		{"sh", "../scripts/base.sh", homeOutside, srv + "/plain"},
		{"cp", "-r", "../testdata/webapp", srv + "/plain/webapps/app"},
		{"cp", "-r", srv + "/plain", srv + "/held"},
		{"cp", "-r", "../testdata/webapp", srv + "/plain/webapps/bad"},
		{"cp", "../testdata/images/failing-webapp/web.xml", srv + "/plain/webapps/bad/WEB-INF/web.xml"},
		{"sed", "-i", `s/port="8080"/port="8081"/`, srv + "/held/conf/server.xml"},
		{"chmod", "-R", "a+rwX", srv + "/held", srv + "/plain"},
		{"cp", "-r", p.classes, srv + "/classes"},
		{"chmod", "-R", "a+rX", srv},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", cmd, err, out)
		}
	}
	write(t, srv+"/plain/bin/setenv.sh", "CATALINA_OPTS=\"$CATALINA_OPTS -Dmatrix.setenv=1\"\n", 0o755)
	if err := os.MkdirAll(srv+"/recorder/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, srv+"/recorder/bin/java", recordedJava, 0o755)

	java, _ := p.found(t, fmt.Sprintf("/usr/lib/jvm/java-%d-openjdk-*", p.major()))
	text := func(list []string) string { data, _ := json.Marshal(list); return string(data) }
	tomcat := func(name string, env map[string]string) string {
		data, _ := json.Marshal(env)
		return fmt.Sprintf("  %s:\n    kind: tomcat\n    tomcat: {home: %s, base: /srv/%s, java: %s}\n    user: app\n    env: %s\n"+
			"    ready: {within: 90s}\n    stop: {timeout: 6s}\n", name, home, name, java, data)
	}
	together := map[string]string{}
	config := ""
	for _, w := range bypasses() {
		if w.since > p.major() {
			continue
		}
		if w.file != "" {
			write(t, filepath.Join(srv, w.file), w.text, 0o755)
		}
		for name, value := range w.env {
			together[name] = strings.TrimSpace(together[name] + " " + value)
		}
		if !w.tomcat {
			data, _ := json.Marshal(w.env)
			config += fmt.Sprintf("  %s:\n    kind: java\n    java: {home: %s, main: Idle, classpath: [/srv/classes]}\n    user: app\n"+
				"    env: %s\n    autostart: false\n", w.name, java, data)
		}
	}
	config = "services:\n" + tomcat("plain", plainEnv) + tomcat("held", together) + config +
		"jvm:\n  flavor: {cpus: 1, memory: 512MiB}\n  enforced: {options: " + text(matrixEnforced) + "}\n"
	write(t, srv+"/stoker.yaml", config, 0o644)
	return home
}

// test runs the life. If a Tomcat is not ready there are no further cells.
func (p *matrixPair) test(t *testing.T) {
	b := p.box(t)
	if !p.check(t, "ready", func(t *testing.T) { b.isReady(t, "plain", 8080) }) {
		return
	}
	p.check(t, "application", b.namesApplication)
	p.check(t, "argv", b.argvOfScript)
	p.check(t, "tools", b.toolsAnswer)
	p.check(t, "enforced", func(t *testing.T) {
		b.isReady(t, "held", 8081)
		b.enforced(t, "held")
	})
	p.check(t, "one by one", func(t *testing.T) {
		for _, w := range bypasses() {
			if !w.tomcat && w.since <= p.major() {
				b.must(t, "stoker", "start", w.name)
				b.enforced(t, w.name)
				if out := b.must(t, "stoker", "jvm", "explain", w.name); !strings.Contains(out, cmp.Or(w.shown, "-Xmx200m")) {
					t.Errorf("%s: its options were not overridden, they were not seen:\n%s", w.name, out)
				}
				b.must(t, "stoker", "stop", w.name)
			}
		}
	})
	p.check(t, "stop", func(t *testing.T) {
		from := time.Now()
		b.signal(syscall.SIGTERM)
		if code := b.wait(15 * time.Second); code != 0 {
			t.Errorf("the exit code is %d", code)
		}
		if took := time.Since(from); took > 8*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}
