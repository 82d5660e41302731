package drain

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm/hotspot"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want, err string }{
		{"2 0 0", "no connection is left", ""},
		{"1 0 7", "left: idle connections: 7", ""},
		{"1 2 7", "left: requests: 2, idle connections: 5", ""},
		{"1 2 1", "left: requests: 2, idle connections: 0", ""}, // HTTP/2 has several in one connection
		{"0 0 0", "it has no connectors", ""},
		{"", "", "cannot end the requests of Tomcat: its agent left no result"},
		{`failed java.lang.Error\: x`, "", "cannot end the requests of Tomcat: its agent failed: java.lang.Error: x"},
	} {
		l, err := parse(c.text)
		if c.err != "" && (err == nil || err.Error() != c.err) || c.err == "" && (err != nil || l.String() != c.want) {
			t.Errorf("%q: %v, %v", c.text, l, err)
		}
	}
}

// missing skips a test, or fails it where nothing may be missing.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("STOKER_CI") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

func TestTheJarIsTheSameEachTime(t *testing.T) {
	jar, err := agent()
	if err != nil {
		missing(t, err.Error())
	}
	again, _ := agent()
	if !bytes.Equal(jar, again) {
		t.Error("it differs")
	}
	z, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil || len(z.File) != 2 || z.File[0].Name != "META-INF/MANIFEST.MF" { // where a JVM looks for it
		t.Fatalf("%v, %v", z, err)
	}
}

// server waits long for idle connections when it stops.
const server = `<Server port="-1"><Service name="Catalina" gracefulStopAwaitMillis="60000">
<Connector port="0" address="127.0.0.1" bindOnInit="false"/>
<Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps"/></Engine></Service></Server>`

// tomcat starts a Tomcat without applications.
func tomcat(t *testing.T) *exec.Cmd {
	t.Helper()
	homes, _ := filepath.Glob("/usr/share/tomcat[0-9]*")
	java, err := exec.LookPath("java")
	if err != nil || len(homes) == 0 {
		missing(t, "no Tomcat, or no java")
	}
	home, base := homes[0], t.TempDir()
	for _, dir := range []string{"conf", "logs", "temp", "webapps"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"server.xml": server, "web.xml": "<web-app/>"} {
		if err := os.WriteFile(filepath.Join(base, "conf", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, java, "-Xmx64m", "-XX:TieredStopAtLevel=1", "-Dcatalina.home="+home, "-Dcatalina.base="+base,
		"-Djava.io.tmpdir="+base+"/temp", "-cp", home+"/bin/bootstrap.jar:"+home+"/bin/tomcat-juli.jar",
		"org.apache.catalina.startup.Bootstrap", "start")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	return cmd
}

// portOf waits for the port on which a process listens.
func portOf(t *testing.T, pid int) int {
	t.Helper()
	for range 1200 {
		sockets, _ := proc.TCPSockets(pid)
		for _, s := range sockets {
			if s.Listens {
				return s.Local
			}
		}
		<-time.After(50 * time.Millisecond)
	}
	t.Fatal("it does not listen")
	return 0
}

// A client with a connection that it keeps is asked to close it, and later ones are refused.
func TestEndOfARealTomcat(t *testing.T) {
	jar, err := agent()
	if err != nil {
		missing(t, err.Error())
	}
	cmd := tomcat(t)
	url := fmt.Sprintf("http://127.0.0.1:%d/", portOf(t, cmd.Process.Pid))
	get := func(c *http.Client) (closes bool, err error) {
		r, err := c.Get(url)
		if err != nil {
			return false, err
		}
		_, _ = io.Copy(io.Discard, r.Body)
		return r.Close, r.Body.Close()
	}
	kept := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	for range 2 {
		if closes, err := get(kept); closes || err != nil {
			t.Fatal(closes, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	at, err := hotspot.Attach(ctx, hotspot.Target{Pid: cmd.Process.Pid, Quit: func() error { return cmd.Process.Signal(syscall.SIGQUIT) }})
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		left Left
		err  error
	}
	ended := make(chan outcome, 1)
	go func() { // ends with ctx
		left, err := end(ctx, at, jar)
		ended <- outcome{left, err}
	}()
	for closes := false; !closes; { // Tomcat waits for an idle connection for a second
		if closes, err = get(kept); err != nil {
			t.Fatalf("a request on a connection that was kept failed: %v", err)
		}
	}
	if e := <-ended; e.err != nil || e.left != (Left{Connectors: 1}) {
		t.Errorf("%+v", e)
	}
	if _, err := get(&http.Client{Transport: &http.Transport{}, Timeout: time.Minute}); err == nil {
		t.Error("a new connection was accepted")
	}
	from := time.Now()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if _ = cmd.Wait(); time.Since(from) > 10*time.Second {
		t.Errorf("it stopped after %v", time.Since(from))
	}
}

// Tomcat does not wait again for a connection that was idle for a second.
func TestIdleConnectionsAreAwaitedOnce(t *testing.T) {
	jar, err := agent()
	if err != nil {
		missing(t, err.Error())
	}
	cmd := tomcat(t)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", portOf(t, cmd.Process.Pid)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if _, err := conn.Read(make([]byte, 1)); err != nil { // it is accepted
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	at, err := hotspot.Attach(ctx, hotspot.Target{Pid: cmd.Process.Pid, Quit: func() error { return cmd.Process.Signal(syscall.SIGQUIT) }})
	if err != nil {
		t.Fatal(err)
	}
	if left, err := end(ctx, at, jar); err != nil || left != (Left{Connectors: 1, Connections: 1}) {
		t.Fatalf("%+v, %v", left, err)
	}
	from := time.Now()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if _ = cmd.Wait(); time.Since(from) > 30*time.Second {
		t.Errorf("it stopped after %v", time.Since(from))
	}
}
