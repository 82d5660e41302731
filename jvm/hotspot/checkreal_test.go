package hotspot

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// program is a Runner as a supervisor has one, as another user where uid is not 0.
type program struct {
	uid  uint32
	runs atomic.Int32
}

func (p *program) run(ctx context.Context, argv []string) (int, string, error) {
	p.runs.Add(1)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = "/"
	if p.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.uid, Gid: p.uid}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), string(out), nil
	}
	return 0, string(out), err
}

// java is the JVM of this machine.
func java(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("java")
	if err != nil {
		if os.Getenv("STOKER_CI") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return path
}

// majorOf returns the feature release of the JVM of this machine.
func majorOf(t testing.TB) int {
	t.Helper()
	j, _, err := Find("/", filepath.Dir(java(t)))
	if err != nil || j.Major == 0 {
		t.Fatalf("%+v, %v", j, err)
	}
	return j.Major
}

// refusedBy8 is what Java 8 says instead; an empty Message: it takes them.
var refusedBy8 = map[string]StartupError{
	"-XX:+UseG1GC -XX:+UseSerialGC": {"", "Conflicting collector combinations in option list; "},
	"-XX:CICompilerCount=1":         {"", "CICompilerCount of 1 is invalid; must be at least 2"},
	"--add-opens":                   {"--add-opens", "Unrecognized option: --add-opens"},
	"--add-modules nosuch":          {"--add-modules", "Unrecognized option: --add-modules"},
	"-XX:+PrintGCDateStamps":        {},
	"-Xlog:nonsense:file=/no/such":  {"-Xlog:nonsense:file=/no/such", "Unrecognized option: -Xlog:nonsense:file=/no/such"},
	"-Xss1k":                        {"", "The stack size specified is too small, Specify at least "},
	"-XX:MaxRAMPercentage=900":      {"-XX:MaxRAMPercentage=900", "Improperly specified VM option 'MaxRAMPercentage=900'"},
	"-Xbootclasspath/p:x":           {},
}

// What a JVM does not take, as 11 and later say it. Where it quotes an option that is known.
func TestCheckRealJVMRefuses(t *testing.T) {
	java, major := java(t), majorOf(t)
	for options, want := range map[string]StartupError{
		"-XX:+UseNothing":               {"-XX:UseNothing", "Unrecognized VM option 'UseNothing'"},
		"-XX:+PrintGCDateStamps":        {"-XX:PrintGCDateStamps", "Unrecognized VM option 'PrintGCDateStamps'"},
		"-Xmx2GB":                       {"-Xmx2GB", "Invalid maximum heap size: -Xmx2GB"},
		"-Xms1g -Xmx512m":               {"", "Initial heap size set to a larger value than the maximum heap size"},
		"-XX:+UseG1GC -XX:+UseSerialGC": {"", "Multiple garbage collectors selected"},
		"-Xnonsense":                    {"-Xnonsense", "Unrecognized option: -Xnonsense"},
		"-Xlog:nonsense:file=/no/such":  {"-Xlog:nonsense:file=/no/such", "Invalid -Xlog option"},
		"-Xss1k":                        {"", "The Java thread stack size specified is too small."},
		"-XX:CICompilerCount=1":         {"", "CICompilerCount (1) must be at least 2"},
		"-XX:MaxRAMPercentage=900": {"-XX:MaxRAMPercentage=900",
			"Improperly specified VM option 'MaxRAMPercentage=900' (double MaxRAMPercentage=900.0"},
		"--add-opens":          {"--add-opens", "Error: --add-opens requires modules to be specified"},
		"--add-modules nosuch": {"", "java.lang.module.FindException: Module nosuch not found"},
		"-Xbootclasspath/p:x":  {"", "-Xbootclasspath/p is no longer a supported option."},
		"-XX:MaxHeapSize":      {"-XX:MaxHeapSize", "Improperly specified VM option 'MaxHeapSize'"},
		"-XX:+MaxHeapSize":     {"-XX:MaxHeapSize", "Unexpected +/- setting in VM option 'MaxHeapSize'"},
		"-Xmx99999999g":        {"", "Could not reserve enough space for "},
	} {
		t.Run(options, func(t *testing.T) {
			_, err := new(Checker).Check(t.Context(), java, "0", strings.Fields(options), new(program).run)
			if other, has := refusedBy8[options]; has && major == 8 {
				want = other
			}
			if want.Message == "" && err == nil {
				return
			}
			var refused *StartError
			if !errors.As(err, &refused) {
				t.Fatalf("not refused: %v", err)
			}
			if refused.Option != want.Option || !strings.HasPrefix(refused.Message, want.Message) {
				t.Errorf("%q %q, want %q %q", refused.Option, refused.Message, want.Option, want.Message)
			}
		})
	}
}

// agent says that it ran.
const agent = `public class Agent {
  public static void premain(String a) throws Exception { new java.io.File(a).createNewFile(); }
}
`

// jar makes an agent of it.
func jar(t *testing.T) string {
	t.Helper()
	compile(t) // skips where there is no compiler
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("Agent.java", agent)
	write("MANIFEST.MF", "Premain-Class: Agent\n")
	for _, argv := range [][]string{{"javac", "Agent.java"}, {"jar", "cfm", "agent.jar", "MANIFEST.MF", "Agent.class"}} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return dir + "/agent.jar"
}

// A check neither runs an agent nor takes a port, even one that is taken already,
// nor touches a log file; a second check returns the cached result.
func TestCheckRealJVMHasNoEffects(t *testing.T) {
	java, agent, dir := java(t), jar(t), t.TempDir()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	log := filepath.Join(dir, "gc.log")
	if err := os.WriteFile(log, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	options := []string{"-Xmx300m", "-Xms300m", "-Xss512k", "-XX:+UseParallelGC", "-XX:ActiveProcessorCount=1", "-XX:MaxDirectMemorySize=9m",
		"-XX:+AlwaysPreTouch",
		"-javaagent:" + agent + "=" + dir + "/ran", "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address=127.0.0.1:" + port,
		"-Dcom.sun.management.jmxremote.port=" + port, "-Dcom.sun.management.jmxremote.ssl=false",
		"-Dcom.sun.management.jmxremote.authenticate=false",
		"-Djava.system.class.loader=Nobody", "-XX:StartFlightRecording=filename=" + dir + "/x.jfr"}
	if majorOf(t) > 8 {
		options = append(options, "-Xlog:gc*:file="+log)
	} else {
		options = append(options, "-Xloggc:"+log)
	}
	var c Checker
	var p program
	for range 3 {
		flags, err := c.Check(t.Context(), java, "0", options, p.run)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"MaxHeapSize": "314572800", "InitialHeapSize": "314572800", "ThreadStackSize": "512",
			"UseParallelGC": "true",
			"UseG1GC":       "false", "ActiveProcessorCount": "1", "MaxDirectMemorySize": "9437184", "AlwaysPreTouch": "false"} {
			if got := flags[name].Value; got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
	if n := p.runs.Load(); n != 1 {
		t.Errorf("it ran %d times", n)
	}
	left, err := os.ReadDir(dir)
	if text, _ := os.ReadFile(log); err != nil || len(left) != 1 || string(text) != "mine" {
		t.Errorf("left behind: %v, %v; the log has %q", left, err, text)
	}
	// The service itself would have been refused for the port.
	code, output, err := p.run(t.Context(), append([]string{java, "-Dcom.sun.management.jmxremote.port=" + port}, "-version"))
	if code == 0 || err != nil {
		t.Errorf("management takes a port that is taken: %v\n%s", err, output)
	}
}

func TestCheckRealJVMAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	p := &program{uid: 65534}
	if flags, err := new(Checker).Check(t.Context(), java(t), "65534", []string{"-Xmx64m"}, p.run); err != nil ||
		flags["MaxHeapSize"].Value != "67108864" {
		t.Errorf("%v, %+v", err, flags["MaxHeapSize"])
	}
}

// BenchmarkCheck measures what a check adds to a cold start, and to one whose
// options were tried before; version is the JVM's own "java -version".
func BenchmarkCheck(b *testing.B) {
	java, options := java(b), []string{"-Xmx512m", "-Xms512m", "-XX:+UseG1GC", "-XX:ActiveProcessorCount=2", "-Xss256k"}
	b.Run("version", func(b *testing.B) {
		for b.Loop() {
			if code, output, err := new(program).run(b.Context(), []string{java, "-version"}); code != 0 || err != nil {
				b.Fatal(output, err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			if _, err := new(Checker).Check(b.Context(), java, "0", options, new(program).run); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cached", func(b *testing.B) {
		c := new(Checker)
		if _, err := c.Check(b.Context(), java, "0", options, new(program).run); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := c.Check(b.Context(), java, "0", options, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
