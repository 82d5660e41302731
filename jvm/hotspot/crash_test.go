package hotspot

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What OpenJDK 17 writes.
const (
	outputExit  = "java.lang.OutOfMemoryError: Java heap space\nDumping heap to /dumps/java_pid1.hprof ...\nHeap dump file created [17870514 bytes in 0.014 secs]\nTerminating due to java.lang.OutOfMemoryError: Java heap space\n"
	outputMain  = "Exception in thread \"main\" java.lang.OutOfMemoryError: Java heap space\n\tat Oom.main(Oom.java:6)\n"
	outputPool  = "Exception in thread \"pool-1\" java.lang.OutOfMemoryError: GC overhead limit exceeded\n\tat x\n"
	outputMute  = "\nException: java.lang.OutOfMemoryError thrown from the UncaughtExceptionHandler in thread \"main\"\n"
	outputAbort = "Aborting due to java.lang.OutOfMemoryError: Metaspace\n#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n" +
		"#  Internal Error (debug.cpp:362), pid=14122, tid=14123\n#  fatal error: OutOfMemory encountered: Metaspace\n#\n# JRE version: OpenJDK\n"
	outputCrash = "up\n#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n#  SIGSEGV (0xb) at pc=0x00007f009e92ef14 (sent by kill), pid=14689, tid=14689\n#\n" +
		"# JRE version: OpenJDK Runtime Environment (17.0.15+6) (build 17.0.15+6-Debian-1deb12u1)\n# Problematic frame:\n# C  [libc.so.6+0x85f14]\n#\n# No core dump will be written.\n#\n" +
		"# An error report file with more information is saved as:\n# DIR/hs_err_pid14689.log\n#\n"
	outputNative = "OpenJDK 64-Bit Server VM warning: INFO: os::commit_memory(0x00007f41a4000000, 536870912000, 0) failed; error='Not enough space' (errno=12)\n#\n" +
		"# There is insufficient memory for the Java Runtime Environment to continue.\n# Native memory allocation (mmap) failed to map 536870912000 bytes. Error detail: committing reserved memory.\n" +
		"# An error report file with more information is saved as:\n# DIR/hs_err_pid7.log\n"
	outputInit    = "Error occurred during initialization of VM\n"
	outputCommand = "#\n# java.lang.OutOfMemoryError: Java heap space\n# -XX:OnOutOfMemoryError=\"kill -9 %p\"\n#   Executing /bin/sh -c \"kill -9 12\"...\n"
)

func TestCrashReason(t *testing.T) {
	const exits = "-XX:+ExitOnOutOfMemoryError"
	for _, c := range []struct {
		name, output string
		argv         []string
		code         int
		signal       syscall.Signal
		kind, want   string // what the reason is, behind "|" a part of a note
	}{
		{"option exits", outputExit, nil, 3, 0, OutOfMemory, "java.lang.OutOfMemoryError: Java heap space"},
		{"uncaught", outputMain, nil, 1, 0, OutOfMemory, "java.lang.OutOfMemoryError: Java heap space (in the main thread)"},
		{"uncaught, and mute", outputMute, nil, 1, 0, OutOfMemory, "java.lang.OutOfMemoryError: no detail (in the main thread)"},
		{"survived", outputPool, nil, 1, 0, "", "|the output has java.lang.OutOfMemoryError: GC overhead limit exceeded"},
		{"survived, then stopped", outputMain, nil, 143, 0, "", "|the output has java.lang.OutOfMemoryError: Java heap space"},
		{"uncaught, then killed", outputMain, nil, -1, syscall.SIGKILL, "", "|the output has"},
		{"aborts", outputAbort, nil, -1, syscall.SIGABRT, OutOfMemory, "java.lang.OutOfMemoryError: Metaspace"},
		{"crash", outputCrash, nil, -1, syscall.SIGABRT, Crashed, "fatal error in the JVM: SIGSEGV (0xb) at pc=0x00007f009e92ef14 (sent by kill), in C [libc.so.6+0x85f14]|hs_err) was not found"},
		{"crash without a core", outputCrash, nil, 1, 0, Crashed, "fatal error in the JVM: SIGSEGV"},
		{"said, but another end", outputCrash, nil, 0, 0, "", ""},
		{"native memory", outputNative, nil, 1, 0, OutOfMemory, "not enough memory for the JVM: Native memory allocation (mmap) failed to map 536870912000 bytes. Error detail: committing reserved memory."},
		{"heap too large", outputInit + "Could not reserve enough space for 104857598951424KB object heap\n", nil, 1, 0, OutOfMemory,
			"the JVM could not start: Could not reserve enough space for 104857598951424KB object heap"},
		{"threads at start", outputInit + "java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process/resource limits reached\n", nil, 1, 0, OutOfMemory,
			"the JVM could not start: java.lang.OutOfMemoryError: unable to create native thread"},
		{"bad heap", outputInit + "Initial heap size set to a larger value than the maximum heap size\n", nil, 1, 0, "",
			"the JVM could not start: Initial heap size set"},
		{"a command kills", outputCommand, nil, -1, syscall.SIGKILL, OutOfMemory, "java.lang.OutOfMemoryError: Java heap space"},
		{"a command stops", outputCommand, nil, 143, 0, OutOfMemory, "java.lang.OutOfMemoryError: Java heap space"},
		{"output elsewhere", "", []string{"java", exits, "Main"}, 3, 0, OutOfMemory,
			"exit code 3, by which -XX:+ExitOnOutOfMemoryError ends the JVM"},
		{"cut off", "", []string{"java", exits, "-XX:-ExitOnOutOfMemoryError", "Main"}, 3, 0, "", ""},
		{"main class", "Error: Could not find or load main class no.Such\nCaused by: java.lang.ClassNotFoundException: no.Such\n", nil, 1, 0, "",
			"the JVM could not start: Could not find or load main class no.Such"},
		{"jar file", "Error: Unable to access jarfile /no.jar\n", nil, 1, 0, "", "the JVM could not start: Unable to access jarfile /no.jar"},
		{"class version", "Error: LinkageError occurred while loading main class M\n\tjava.lang.UnsupportedClassVersionError: M has been compiled by a more recent version\n", nil, 1, 0, "",
			"the JVM could not start: java.lang.UnsupportedClassVersionError: M has been compiled by a more recent version"},
		{"class version, 8", "Error: A JNI error has occurred, please check your installation and try again\n" +
			"Exception in thread \"main\" java.lang.UnsupportedClassVersionError: M has been compiled by a more recent version\n\tat java.lang.ClassLoader.defineClass1(Native Method)\n", nil, 1, 0, "",
			"exception in the main thread: java.lang.UnsupportedClassVersionError: M has been compiled by a more recent version"},
		{"agent path", outputInit + "Could not find agent library /no.so in absolute path, with error: /no.so: cannot open shared object file\n",
			nil, 1, 0, "",
			"the JVM could not start: Could not find agent library /no.so in absolute path"},
		{"debugger's port", "ERROR: transport error 202: bind failed: Address already in use\nERROR: JDWP Transport dt_socket failed to initialize, TRANSPORT_INIT(510)\n", nil, 2, 0, "",
			"the JVM could not start: transport error 202: bind failed: Address already in use"},
		{"port in use", "Exception in thread \"main\" java.net.BindException: Address already in use\n\tat java.base/sun.nio.ch.Net.bind0(Native Method)\n", nil, 1, 0, "",
			"exception in the main thread: java.net.BindException: Address already in use"},
		{"missing class", "Exception in thread \"main\" java.lang.NoClassDefFoundError: N\n\tat M.main(M.java:5)\nCaused by: java.lang.ClassNotFoundException: N\n", nil, 1, 0, "",
			"exception in the main thread: java.lang.NoClassDefFoundError: N, caused by java.lang.ClassNotFoundException: N"},
		{"exception, then stopped", "Exception in thread \"main\" java.net.BindException: x\n", nil, 143, 0, "", ""},
		{"exception, and an exit of its own", "Exception in thread \"main\" java.net.BindException: x\n", nil, 7, 0, "", ""},
		{"nothing", "", nil, 1, 0, "", ""},
		{"exit of the application", "bye\n", []string{"java", "Main"}, 3, 0, "", ""},
		{"CRLF", strings.ReplaceAll(outputExit, "\n", "\r\n"), nil, 3, 0, OutOfMemory, "java.lang.OutOfMemoryError: Java heap space"},
		{"failed dump", "java.lang.OutOfMemoryError: Java heap space\nDumping heap to /no/such ...\nUnable to create /no/such: No such file or directory\nTerminating due to java.lang.OutOfMemoryError: Java heap space\n",
			nil, 3, 0, OutOfMemory, "java.lang.OutOfMemoryError: Java heap space|no heap dump: Unable to create /no/such: No such file or directory"},
	} {
		a := InspectCrash(Exit{Argv: c.argv, Dir: t.TempDir(), Pid: 1 << 30, Started: time.Now(), Output: []byte(c.output), Code: c.code,
			Signal: c.signal})
		reason, note, _ := strings.Cut(c.want, "|")
		if a.Kind != c.kind || !strings.HasPrefix(a.Reason, reason) || !strings.Contains(strings.Join(a.Notes, "\n"), note) {
			t.Errorf("%s: %+v, want %q: %s", c.name, a, c.kind, c.want)
		}
		if reason == "" && a.Reason != "" {
			t.Errorf("%s: reason %q", c.name, a.Reason)
		}
	}
}

// Each stream keeps its order and may interleave with the other in any way: the line that
// names the cause is the reason.
func TestReasonInAnyOrder(t *testing.T) {
	const noVM = "Error: Could not create the Java Virtual Machine.\nError: A fatal exception has occurred. Program will exit.\n"
	for _, c := range []struct{ name, stdout, stderr, want string }{
		{"agent's jar", outputInit + "agent library failed to init: instrument\n", "Error opening zip file or JAR manifest missing : /no.jar\n",
			"Error opening zip file or JAR manifest missing : /no.jar"},
		{"log file", "[0.000s][error][logging] Error opening log file '/no/gc.log': No such file or directory\n" +
			"[0.000s][error][logging] Initialization of output 'file=/no/gc.log' using options '(null)' failed.\n",
			"Invalid -Xlog option '-Xlog:gc:file=/no/gc.log', see error log for details.\n" + noVM,
			"Invalid -Xlog option '-Xlog:gc:file=/no/gc.log' (Error opening log file '/no/gc.log': No such file or directory)"},
		{"heap", outputInit + "Could not reserve enough space for 1KB object heap\n",
			"OpenJDK 64-Bit Server VM warning: Option X was deprecated\nPicked up JAVA_TOOL_OPTIONS: -Xmx1g\n",
			"Could not reserve enough space for 1KB object heap"},
		{"agent library", outputInit + "Could not find agent library x on the library path\n",
			"Picked up _JAVA_OPTIONS: -Xmx1g\nsome wrapper's word\n", "Could not find agent library x on the library path"},
	} {
		for _, output := range mixed(strings.SplitAfter(c.stdout, "\n"), strings.SplitAfter(c.stderr, "\n")) {
			r := CrashFromOutput(Exit{Output: []byte(output), Code: 1})
			if r.Reason != "the JVM could not start: "+c.want {
				t.Errorf("%s: %q, from %q", c.name, r.Reason, output)
			}
		}
	}
}

// mixed returns all interleavings of the lines of two streams.
func mixed(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 {
		return []string{strings.Join(a, "") + strings.Join(b, "")}
	}
	var out []string
	for _, rest := range mixed(a[1:], b) {
		out = append(out, a[0]+rest)
	}
	for _, rest := range mixed(a, b[1:]) {
		out = append(out, b[0]+rest)
	}
	return out
}

// inspectFiles makes files in a folder and looks for them.
func inspectFiles(t *testing.T, files map[string]string, d Exit) (CrashReport, string) {
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.Dir, d.Code = dir, 1
	for k := range d.Argv {
		d.Argv[k] = strings.ReplaceAll(d.Argv[k], "DIR", dir)
	}
	d.Output = []byte(strings.ReplaceAll(string(d.Output), "DIR", dir))
	return InspectCrash(d), dir
}

func TestCrashFiles(t *testing.T) {
	const pid = 1<<30 + 5 // of no process
	const report, dump = "#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n#  SIGBUS (0x7) at pc=0x1, pid=5, tid=6\n#\n# Problematic frame:\n# V  [libjvm.so]\n#\nrest\n", "JAVA PROFILE 1.0.2"
	started := time.Now()
	for _, c := range []struct {
		name   string
		files  map[string]string
		argv   []string
		output string
		want   string // kinds and paths
	}{
		{"default", map[string]string{"hs_err_pid1073741829.log": report}, nil, "", "hs_err DIR/hs_err_pid1073741829.log"},
		{"by option", map[string]string{"err/e_1073741829%.log": report}, []string{"-XX:ErrorFile=old", "-XX:ErrorFile=DIR/err/e_%p%%.log"}, "",
			"hs_err DIR/err/e_1073741829%.log"},
		{"by option, relative", map[string]string{"e.log": report}, []string{"-XX:ErrorFile=e.log"}, "", "hs_err DIR/e.log"},
		{"behind a wrapper", map[string]string{"hs_err_pid14689.log": report}, nil, outputCrash, "hs_err DIR/hs_err_pid14689.log"},
		{"not a report", map[string]string{"hs_err_pid1073741829.log": "root:x:0:0\n", "e": "# no\n"}, []string{"-XX:ErrorFile=e"}, "", ""},
		{"dump as said", map[string]string{"d/java_pid1.hprof": dump}, nil,
			"Dumping heap to d/java_pid1.hprof ...\nHeap dump file created [1 bytes in 0 secs]\n", "heap_dump DIR/d/java_pid1.hprof"},
		{"dump, default", map[string]string{"java_pid1073741829.hprof": dump}, []string{"-XX:+HeapDumpOnOutOfMemoryError"}, "",
			"heap_dump DIR/java_pid1073741829.hprof"},
		{"dump to a folder", map[string]string{"d/java_pid1073741829.hprof": dump},
			[]string{"-XX:+HeapDumpOnOutOfMemoryError", "-XX:HeapDumpPath=DIR/d"}, "", "heap_dump DIR/d/java_pid1073741829.hprof"},
		{"dump to a file", map[string]string{"d/1073741829.hprof": dump},
			[]string{"-XX:+HeapDumpOnOutOfMemoryError", "-XX:HeapDumpPath=d/%p.hprof"}, "", "heap_dump DIR/d/1073741829.hprof"},
		{"no dump is made", map[string]string{"java_pid1073741829.hprof": dump},
			[]string{"-XX:+HeapDumpOnOutOfMemoryError", "-XX:-HeapDumpOnOutOfMemoryError"}, "", ""},
	} {
		a, dir := inspectFiles(t, c.files, Exit{Argv: c.argv, Pid: pid, Started: started, Output: []byte(c.output)})
		var got []string
		for _, f := range a.Files {
			got = append(got, f.Kind+" "+strings.Replace(f.Path, dir, "DIR", 1))
			if f.Size == 0 || f.Kind == ErrorReport && string(f.Excerpt) != report || f.Kind == HeapDump && f.Excerpt != nil {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if strings.HasPrefix(c.want, "hs_err") && (a.Kind != Crashed || !strings.HasPrefix(a.Reason, "fatal error in the JVM: SIG")) {
			t.Errorf("%s: %s %q", c.name, a.Kind, a.Reason)
		}
		late, _ := inspectFiles(t, c.files, Exit{Argv: c.argv, Pid: pid, Started: started.Add(time.Hour), Output: []byte(c.output)})
		if len(late.Files) > 0 {
			t.Errorf("%s: files of an earlier start: %+v", c.name, late.Files)
		}
	}
}

// A path in the output of a service does not make stoker read another file, or block.
func TestCrashFilesAreUntrusted(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("# Java Runtime Environment\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, dir+"/link"); err != nil {
		t.Fatal(err)
	}
	links := 1
	if os.Geteuid() == 0 {
		links = 0
		if err := os.Lchown(dir+"/link", 4711, -1); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/large", []byte("# Java Runtime Environment\n"+strings.Repeat("x", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"link": links, "fifo": 0, "none": 0, "": 0, "large": 1} {
		said := "# An error report file with more information is saved as:\n# " + dir + "/" + name + "\n"
		a := InspectCrash(Exit{Pid: 1 << 30, Started: time.Now().Add(-time.Minute), Output: []byte(said), Code: 1})
		if len(a.Files) != want || want > 0 && len(a.Files[0].Excerpt) != maxReport {
			t.Errorf("%q: %d files", name, len(a.Files))
		}
	}
}

func FuzzExitOutput(f *testing.F) {
	for _, s := range []string{outputExit, outputMain, outputMute, outputAbort, outputCrash, outputNative, outputInit, outputCommand} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, output []byte) {
		w := readExitOutput(output)
		for _, s := range []string{w.ended, w.main, w.mentioned, w.allocation, w.fatal, w.frame, w.startupMessage(), w.exception(),
			w.dumpError} {
			if len(s) > 2*maxText+8 {
				t.Errorf("%d bytes: %.100q", len(s), s)
			}
		}
	})
}
