package tomcat

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// realRun starts the installed Tomcat with the argv of Launch and reads its output until it ends or until returns true.
func realRun(t *testing.T, base string, env map[string]string, until func(Finding) bool, opts ...string) (*OutputReader, *Patterns) {
	t.Helper()
	java, err := exec.LookPath("java")
	if err != nil {
		skip(t, "no java")
	}
	in, err := open(homeCopy(t), base)
	if err != nil {
		t.Fatal(err)
	}
	put(t, base+"/temp/x", "", 0o644)
	if err := os.MkdirAll(base+"/logs", 0o755); err != nil {
		t.Fatal(err)
	}
	// Compiling for speed would take longer than the start.
	l, err := in.Launch(Options{Java: java, JavaMajor: 17, Env: env, CatalinaOpts: append([]string{"-XX:TieredStopAtLevel=1"}, opts...)})
	if err != nil {
		t.Fatal(err)
	}
	p, err := LoadPatterns(in.Home)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.Argv[0], l.Argv[1:]...)
	cmd.Env, cmd.Cancel, cmd.WaitDelay = l.Env, func() error { return cmd.Process.Signal(syscall.SIGTERM) }, 10*time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := NewOutputReader(p)
	var lines []string
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		lines = append(lines, sc.Text())
		if f, ok := w.Line(sc.Text()); ok && until(f) {
			cancel()
			break
		}
	}
	for sc.Scan() { // to the end, so that Tomcat does not block
	}
	_ = cmd.Wait() // stopped by us, or the failure that is looked for
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(strings.Join(lines, "\n"))
		}
	})
	return w, p
}

func isStarted(f Finding) bool { return f.Kind == Started }

// loggingFiles is the part of Tomcat's logging.properties that selects the files of causes.
const loggingFiles = `handlers = 2localhost.org.apache.juli.FileHandler, java.util.logging.ConsoleHandler
.handlers = java.util.logging.ConsoleHandler
2localhost.org.apache.juli.FileHandler.level = FINE
2localhost.org.apache.juli.FileHandler.directory = ${catalina.base}/logs
2localhost.org.apache.juli.FileHandler.prefix = localhost.
java.util.logging.ConsoleHandler.level = FINE
java.util.logging.ConsoleHandler.formatter = org.apache.juli.OneLineFormatter
org.apache.catalina.core.ContainerBase.[Catalina].[localhost].level = INFO
org.apache.catalina.core.ContainerBase.[Catalina].[localhost].handlers = 2localhost.org.apache.juli.FileHandler
`

// boomClass compiles a listener that throws, and returns how Tomcat reports it. Without a compiler the class is missing, which fails too.
func boomClass(t *testing.T) (class, cause string) {
	t.Helper()
	javac, err := exec.LookPath("javac")
	if err != nil {
		return "", "java.lang.ClassNotFoundException: Boom"
	}
	dir := t.TempDir()
	put(t, dir+"/Boom.java", `public class Boom implements jakarta.servlet.ServletContextListener {
  public void contextInitialized(jakarta.servlet.ServletContextEvent e) {
    throw new IllegalStateException("db away");
  }
}`, 0o644)
	cmd := exec.Command(javac, "-cp", realHome(t)+"/lib/servlet-api.jar", "-d", dir, dir+"/Boom.java")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	data, err := os.ReadFile(dir + "/Boom.class")
	if err != nil {
		t.Fatal(err)
	}
	return string(data), "java.lang.IllegalStateException: db away"
}

// boomApp installs an application with that listener.
func boomApp(t *testing.T, base, class string) {
	t.Helper()
	app := base + "/webapps/bad/WEB-INF/"
	put(t, base+"/conf/logging.properties", loggingFiles, 0o644)
	put(t, app+"web.xml", `<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0" metadata-complete="true"><listener><listener-class>Boom</listener-class></listener></web-app>`, 0o644)
	if class != "" {
		put(t, app+"classes/Boom.class", class, 0o644)
	}
}

// TestRealFailedApplication: a failure is recognised in every language and in ASCII, with its cause from the log file.
func TestRealFailedApplication(t *testing.T) {
	realHome(t)
	class, cause := boomClass(t)
	for _, c := range []struct {
		name, lang string
		env        map[string]string
		opts       []string
	}{
		{name: "English", lang: "en"},
		{name: "Chinese", opts: []string{"-Duser.language=zh", "-Duser.country=CN"}, env: map[string]string{"LC_ALL": "C.UTF-8"}},
		{name: "Chinese without a charset", opts: []string{"-Duser.language=zh", "-Duser.country=CN"}, env: map[string]string{"LC_ALL": "C"}},
		{name: "German", opts: []string{"-Duser.language=de"}},
		{name: "Japanese", opts: []string{"-Duser.language=ja", "-Dfile.encoding=UTF-8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, began := newBase(t), time.Now()
			boomApp(t, base, class)
			w, p := realRun(t, base, c.env, isStarted, c.opts...)
			findings := w.Findings()
			f, ok := Worst(findings)
			if !ok || f.Kind != ContextFailed || f.Context != "/bad" {
				t.Fatalf("findings %v", findings)
			}
			if !slices.ContainsFunc(findings, isStarted) {
				t.Error("the end of the start was not recognised")
			}
			f, ok, err := p.FindCause(base, f, began)
			if err != nil || !ok || f.Cause != cause || !strings.Contains(f.Log, "/logs/localhost.") {
				t.Fatalf("cause %+v, %v, %v", f, ok, err)
			}
			if strings.Contains(cause, "db away") && f.Where != "Boom.java:3" {
				t.Errorf("where %q", f.Where)
			}
			t.Log(f)
		})
	}
}

func TestRealBrokenServerXML(t *testing.T) {
	base := newBase(t)
	data, err := os.ReadFile(base + "/conf/server.xml")
	if err != nil {
		t.Fatal(err)
	}
	put(t, base+"/conf/server.xml", strings.Replace(string(data), "</Engine>", "", 1), 0o644)
	w, _ := realRun(t, base, nil, isStarted)
	f, ok := Worst(w.Findings())
	if want := base + "/conf/server.xml:7:5: "; !ok || !strings.HasPrefix(f.String(), want) {
		t.Errorf("got %v, want %s...", f, want)
	}
}

func TestRealPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	w, _ := realRun(t, newBase(t), nil, isStarted, fmt.Sprintf("-Dhttp.port=%d", port))
	f, ok := Worst(w.Findings())
	if !ok || f.Kind != ConnectorFailed || f.Port != port || f.Address != "127.0.0.1" || !strings.Contains(f.Root, "BindException") {
		t.Errorf("%+v", w.Findings())
	}
}

func TestRealBadOptions(t *testing.T) {
	for opt, want := range map[string]string{
		"-XX:+Nope": "-XX:Nope", "-Xmx1.5g": "-Xmx1.5g", "-Xbogus": "-Xbogus", "-javaagent:/nope.jar": "-javaagent:/nope.jar",
	} {
		w, _ := realRun(t, newBase(t), nil, isStarted, opt)
		if f, ok := Worst(w.Findings()); !ok || f.Kind != JVMOption || f.Option != want {
			t.Errorf("%s: %+v", opt, w.Findings())
		}
	}
	w, _ := realRun(t, newBase(t), nil, isStarted, "-Xms200m", "-Xmx100m")
	if f, ok := Worst(w.Findings()); !ok || f.Kind != JVMFailed || !strings.Contains(f.Message, "Initial heap size") {
		t.Errorf("%+v", w.Findings())
	}
}
