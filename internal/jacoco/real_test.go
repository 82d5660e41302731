package jacoco

import (
	"archive/zip"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/freeport"
)

// library is where Debian has JaCoCo and what it needs.
const library = "/usr/share/java"

// missing skips the test, or fails it where everything is to be tested.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("STOKER_CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// agentJar is the agent: the jar within Debian's jar.
func agentJar(t *testing.T) string {
	t.Helper()
	outer, err := zip.OpenReader(filepath.Join(library, "org.jacoco.agent.jar"))
	if err != nil {
		missing(t, "libjacoco-java is not installed")
	}
	defer outer.Close()
	inner, err := outer.Open("jacocoagent.jar")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	path := filepath.Join(t.TempDir(), "jacocoagent.jar")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.Copy(file, inner); err != nil {
		t.Fatal(err)
	}
	return path
}

// compiled compiles a program of testdata and gives the folder of its classes.
func compiled(t *testing.T, name, classpath string) string {
	t.Helper()
	if _, err := exec.LookPath("javac"); err != nil {
		missing(t, "there is no javac")
	}
	dir := t.TempDir()
	if out, err := exec.Command("javac", "-d", dir, "-cp", classpath, filepath.Join("testdata", name)).CombinedOutput(); err != nil {
		t.Fatalf("javac %s: %v\n%s", name, err, out)
	}
	return dir
}

// covered is a JVM with the agent that executes commands of the test.
type covered struct {
	t       *testing.T
	address string
	in      io.Writer
	out     *bufio.Reader
}

func newCovered(t *testing.T) *covered {
	t.Helper()
	port := freeport.For(t)
	// Work itself is not covered: its loop goes on after an answer, and would be seen in a dump after a reset.
	option := fmt.Sprintf("-javaagent:%s=output=tcpserver,address=127.0.0.1,port=%d,includes=Work$*,sessionid=app.1,dumponexit=false",
		agentJar(t), port)
	cmd := exec.Command("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", option, "-cp", compiled(t, "Work.java", "."), "Work")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	c := &covered{t, fmt.Sprintf("127.0.0.1:%d", port), in, bufio.NewReader(out)}
	c.want("ready")
	return c
}

func (c *covered) want(line string) {
	c.t.Helper()
	if got, err := c.out.ReadString('\n'); err != nil || got != line+"\n" {
		c.t.Fatalf("the program says %q, want %q (%v)", got, line, err)
	}
}

func (c *covered) do(what string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, what+"\n"); err != nil {
		c.t.Fatal(err)
	}
	c.want("did " + what)
}

// show is the summary of a file by JaCoCo's library.
func show(t *testing.T, path string) string {
	t.Helper()
	var jars []string
	for _, name := range []string{"org.jacoco.core", "asm", "asm-commons", "asm-tree", "asm-analysis"} {
		jars = append(jars, filepath.Join(library, name+".jar"))
	}
	classpath := strings.Join(jars, ":")
	out, err := exec.Command("java", "-cp", classpath+":"+compiled(t, "Show.java", classpath), "Show", path).CombinedOutput()
	if err != nil {
		t.Fatalf("JaCoCo cannot read %s: %v\n%s", path, err, out)
	}
	return string(out)
}

// TestRealAgent: JaCoCo's library reads the dump, and a reset resets.
func TestRealAgent(t *testing.T) {
	c := newCovered(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "all.exec")
	c.do("left")
	s, err := DumpFile(ctx, c.address, false, path)
	if err != nil {
		t.Fatal(err)
	}
	got := show(t, path)
	if !strings.Contains(got, "session app.1 ") || !strings.Contains(got, "class Work$Left ") || strings.Contains(got, "Right") {
		t.Errorf("JaCoCo reads:\n%s", got)
	}
	classes, hit, probes := counted(t, got)
	if s.Classes != classes || s.Hit != hit || s.Probes != probes || hit == 0 || len(s.Sessions) != 1 || s.Sessions[0].ID != "app.1" {
		t.Errorf("counted are %+v, JaCoCo says %d classes, %d/%d", s, classes, hit, probes)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != s.Bytes || info.Mode() != 0o640 {
		t.Errorf("the file has %d bytes and mode %v, %d were counted (%v)", info.Size(), info.Mode(), s.Bytes, err)
	}

	c.do("right")
	again, err := DumpFile(ctx, c.address, true, path)
	if got := show(t, path); err != nil || again.Hit <= s.Hit || !strings.Contains(got, "class Work$Right ") {
		t.Errorf("after more work: %+v, %v\n%s", again, err, got)
	}
	if none, err := Dump(ctx, c.address, false, io.Discard); err != nil || none.Hit != 0 {
		t.Errorf("after a dump with reset: %+v, %v", none, err)
	}
	c.do("left")
	if err := Reset(ctx, c.address); err != nil {
		t.Fatal(err)
	}
	if none, err := Dump(ctx, c.address, false, io.Discard); err != nil || none.Hit != 0 {
		t.Errorf("after a reset: %+v, %v", none, err)
	}
}

// TestRealAgentServesOne: a second client gets a reason, not silence.
func TestRealAgentServesOne(t *testing.T) {
	c := newCovered(t)
	other, err := net.Dial("tcp", c.address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := readHeader(other); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if _, err := Dump(ctx, c.address, false, io.Discard); !errors.Is(err, ErrBusy) {
		t.Errorf("while another one is connected: %v", err)
	}
	other.Close()
	ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := Dump(ctx, c.address, false, io.Discard); err != nil {
		t.Errorf("behind it: %v", err)
	}
}

// counted sums what Show printed up.
func counted(t *testing.T, text string) (classes int, hit, probes int64) {
	t.Helper()
	for _, line := range strings.Split(text, "\n") {
		var name string
		var h, p int64
		if n, _ := fmt.Sscanf(line, "class %s %d/%d", &name, &h, &p); n == 3 {
			classes, hit, probes = classes+1, hit+h, probes+p
		}
	}
	return classes, hit, probes
}
