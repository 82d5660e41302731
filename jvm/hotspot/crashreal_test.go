package hotspot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eater fills its heap, or waits to be killed.
const eater = `import java.util.*;
public class Eater {
  public static void main(String[] a) throws Exception {
    if (a.length > 0) { System.out.println("up"); Thread.sleep(600000); }
    List<byte[]> l = new ArrayList<>();
    for (;;) l.add(new byte[1 << 20]);
  }
}
`

// compile makes Eater.class in a new folder.
func compile(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"java", "javac"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("STOKER_CI") == "1" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/Eater.java", []byte(eater), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("javac", "-d", dir, dir+"/Eater.java").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// dies runs a JVM in its own folder to its end. The signals of send are sent once it waits.
func dies(t *testing.T, classes string, options []string, send ...syscall.Signal) Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	argv := append([]string{"java", "-Xmx32m", "-cp", classes}, options...)
	argv = append(argv, "Eater")
	if len(send) > 0 {
		argv = append(argv, "wait")
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = t.TempDir()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	d := Exit{Argv: argv, Dir: cmd.Dir, Started: time.Now(), Code: -1}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	d.Pid = cmd.Process.Pid
	var out bytes.Buffer
	buf, sent := make([]byte, 64<<10), 0
	for {
		n, err := r.Read(buf)
		out.Write(buf[:n])
		if err != nil {
			break
		}
		waits := []string{"up\n", "\n Metaspace"} // for what each signal waits
		if sent < len(send) && bytes.Contains(out.Bytes(), []byte(waits[sent])) {
			_ = cmd.Process.Signal(send[sent])
			sent++
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); errors.As(err, &exit) {
		ws := exit.Sys().(syscall.WaitStatus)
		if d.Code = ws.ExitStatus(); ws.Signaled() {
			d.Signal = ws.Signal()
		}
	}
	d.Output = out.Bytes()
	return d
}

// TestInspectCrashOfRealJVM ends real JVMs in every way.
func TestInspectCrashOfRealJVM(t *testing.T) {
	classes := compile(t)
	dumps := t.TempDir()
	const oom = "java.lang.OutOfMemoryError: Java heap space"
	coredump := "-XX:-CreateCoredumpOnCrash"
	if majorOf(t) == 8 {
		coredump = "-XX:-CreateMinidumpOnCrash"
	}
	for _, c := range []struct {
		name    string
		options []string
		send    []syscall.Signal
		kind    string
		reason  string
		files   string // kinds
	}{
		{"plain", nil, nil, OutOfMemory, oom + " (in the main thread)", ""},
		{"exits", []string{"-XX:+ExitOnOutOfMemoryError"}, nil, OutOfMemory, oom, ""},
		{"aborts", []string{"-XX:+CrashOnOutOfMemoryError"}, nil, OutOfMemory, oom, "hs_err"},
		{"dumps", []string{"-XX:+HeapDumpOnOutOfMemoryError"}, nil, OutOfMemory, oom, "heap_dump"},
		{"dumps elsewhere", []string{"-XX:+HeapDumpOnOutOfMemoryError", "-XX:HeapDumpPath=" + dumps, "-XX:+ExitOnOutOfMemoryError"}, nil,
			OutOfMemory, oom, "heap_dump"},
		{"cannot dump", []string{"-XX:+HeapDumpOnOutOfMemoryError", "-XX:HeapDumpPath=/no/such", "-XX:+ExitOnOutOfMemoryError"}, nil, OutOfMemory,
			oom, ""},
		{"kills", []string{"-XX:OnOutOfMemoryError=kill -9 %p"}, nil, OutOfMemory, oom, ""},
		{"crash", nil, []syscall.Signal{syscall.SIGSEGV}, Crashed, "fatal error in the JVM: SIGSEGV (0xb) at pc=", "hs_err"},
		{"crash, written elsewhere", []string{"-XX:ErrorFile=err/%p.txt", coredump}, []syscall.Signal{syscall.SIGSEGV},
			Crashed, "fatal error in the JVM: SIGSEGV", "hs_err"},
		{"no room", []string{"-Xmx99999999g"}, nil, OutOfMemory, "the JVM could not start: Could not reserve enough space for ", ""},
		{"dumps its threads", nil, []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL}, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := dies(t, classes, c.options, c.send...)
			a := InspectCrash(d)
			var kinds []string
			for _, f := range a.Files {
				kinds = append(kinds, f.Kind)
				if f.Size == 0 || time.Since(f.ModTime) > time.Minute || f.Kind == ErrorReport &&
					!bytes.Contains(f.Excerpt, []byte("Problematic frame")) && c.kind == Crashed {
					t.Errorf("%s: %d bytes of %v: %.300s", f.Path, f.Size, f.ModTime, f.Excerpt)
				}
				if filepath.Base(f.Path) != f.Path && f.Kind == ErrorReport {
					_ = os.Remove(f.Path) // in /tmp it would stay
				}
			}
			if a.Kind != c.kind || !strings.HasPrefix(a.Reason, c.reason) || strings.Join(kinds, " ") != c.files {
				t.Errorf("code %d, signal %v: %s %q %q, want %s %q %q\n%s", d.Code, d.Signal, a.Kind, a.Reason, kinds, c.kind, c.reason, c.files,
					d.Output)
			}
			if c.name == "dumps its threads" {
				dump, ok := ThreadDump(append(d.Output, "after\n"...))
				if !ok || !bytes.Contains(dump, []byte("at Eater.main")) || !bytes.Contains(dump, []byte("Metaspace")) ||
					!bytes.HasPrefix(dump, []byte("20")) || bytes.Contains(dump, []byte("after")) || bytes.Contains(dump, []byte("up\n")) {
					t.Errorf("%v\n%s", ok, dump)
				}
			}
		})
	}
}
