package hotspot

import (
	"fmt"
	"strings"
	"testing"
)

// healthIssues reads output and returns the kinds in order.
func healthIssues(output string) string {
	var r HealthReader
	var kinds []string
	for line := range strings.Lines(output) {
		if a, ok := r.Line(line); ok {
			kinds = append(kinds, a.Kind)
		}
	}
	return strings.Join(kinds, ", ")
}

// The lines are of a JVM 17, or of a Tomcat in one.
func TestHealthIssues(t *testing.T) {
	const (
		frame  = "\n\tat java.base/java.nio.Bits.reserveMemory(Bits.java:178)\n"
		direct = "java.lang.OutOfMemoryError: Cannot reserve 1048576 bytes of direct buffer memory (allocated: 8388608, limit: 8388608)"
	)
	for _, c := range []struct{ output, want string }{
		{direct + frame, DirectMemory},
		{"java.lang.OutOfMemoryError: Direct buffer memory" + frame, DirectMemory},
		{`Exception in thread "filler" ` + direct + frame, DirectMemory},
		{`Exception in thread "a "quoted" name" java.lang.OutOfMemoryError: Java heap space`, HeapMemory},
		{"java.lang.RuntimeException: failed\n\tat D.main(D.java:8)\nCaused by: " + direct + frame, DirectMemory},
		{"java.lang.OutOfMemoryError: GC overhead limit exceeded\r\nnext\r\n", HeapMemory},
		{"java.lang.OutOfMemoryError: Metaspace" + frame, ClassMemory},
		{"java.lang.OutOfMemoryError: Compressed class space" + frame, ClassMemory},
		{"java.lang.OutOfMemoryError: unable to create native thread: possibly out of memory or process/resource limits reached" + frame,
			NativeThreads},
		{"java.lang.OutOfMemoryError: Map failed" + frame, OtherMemory},
		{"java.lang.OutOfMemoryError" + frame, OtherMemory},
		{`Exception: java.lang.OutOfMemoryError thrown from the UncaughtExceptionHandler in thread "http-nio-8080-Poller"`, OtherMemory},
		{"io.netty.util.internal.OutOfDirectMemoryError: failed to allocate 16777216 byte(s) of direct memory (used: 1, max: 2)" + frame,
			DirectMemory},
		{"java.lang.OutOfMemoryError: Java heap space\nDumping heap to java_pid7.hprof ...\nHeap dump file created [17959497 bytes in 0.026 secs]\n" +
			"01-Jan-2026 00:00:00.000 SEVERE [main] it goes on\n", HeapMemory},
		{"01-Jan-2026 00:00:00.000 SEVERE [http-nio-8080-exec-2] org.apache.jsp.j_jsp._jspService it failed\n\t" + direct +
			"\n\t\tat java.base/java.nio.Bits.reserveMemory(Bits.java:178)\n", DirectMemory},
		{"\tjava.lang.RuntimeException: failed\n\t\tat D.main(D.java:8)\n\tCaused by: " + direct + "\n\t\tat a.B(C.java:1)\n", DirectMemory},
		{"[0.048s][warning][codecache] CodeHeap 'non-profiled nmethods' is full. Compiler has been disabled.\n" +
			"OpenJDK 64-Bit Server VM warning: CodeCache is full. Compiler has been disabled.\n", CodeCacheFull + ", " + CodeCacheFull},
		{"[2026-01-01T00:00:00.000+0000][7][warning][codecache] CodeCache is full. Compiler has been disabled.\n", CodeCacheFull},

		{"WARN could not allocate: " + direct + frame, ""},
		{"java.lang.RuntimeException: " + direct + frame, ""},
		{"  " + direct + frame, ""},
		{"\t" + direct + " was said by another one\nat last\n", ""},
		{"\t\t" + direct + frame, ""},
		{"java.lang.OutOfMemoryErrorHandler: Java heap space" + frame, ""},
		{"java.lang.OutOfMemoryError is what we fear" + frame, ""},
		{"Caused by: nothing like java.lang.OutOfMemoryError: Metaspace\n", ""},
		{`Exception in thread "main" java.lang.IllegalStateException: java.lang.OutOfMemoryError: Metaspace` + frame, ""},
		{`Exception in thread "main`, ""},
		{"java.lang.OutOfMemoryError: Requested array size exceeds VM limit" + frame, ""},
		{"java.lang.OutOfMemoryError: Required array length 2147483639 + 9 is too large" + frame, ""},
		{"java.lang.OutOfMemoryError: Java heap space\nDumping heap to java_pid7.hprof ...\nHeap dump file created [1 bytes in 0.026 secs]\n" +
			"Terminating due to java.lang.OutOfMemoryError: Java heap space\n", ""},
		{"Terminating due to java.lang.OutOfMemoryError: Java heap space\n", ""},
		{"java.lang.OutOfMemoryError: Java heap space\nAborting due to java.lang.OutOfMemoryError: Java heap space\n#\n", ""},
		{"#\n# java.lang.OutOfMemoryError: Java heap space\n# -XX:OnOutOfMemoryError=\"kill -9 %p\"\n", ""},
		{"the wiki says: CodeCache is full. Compiler has been disabled.\n", ""},
		{"CodeCache is full. Compiler has been disabled, they said\n", ""},
		{"\n\n", ""},
	} {
		if got := healthIssues(c.output); got != c.want {
			t.Errorf("%q: %q, want %q", c.output, got, c.want)
		}
	}
}

// A long line is cut, and what follows is not taken for more of it.
func TestHealthIssueIsShort(t *testing.T) {
	var r HealthReader
	a, ok := r.Line(`Exception in thread "x" java.lang.OutOfMemoryError: Java heap space` + strings.Repeat("x", 1<<20))
	if !ok || len(a.Line) > maxText+3 {
		t.Errorf("%v, %d bytes", ok, len(a.Line))
	}
}

func FuzzHealthReader(f *testing.F) {
	for _, s := range []string{"java.lang.OutOfMemoryError: Java heap space\n\tat a.b(C.java)\n",
		`Exception in thread "x" java.lang.OutOfMemoryError: Metaspace`,
		"] CodeHeap 'x' is full. Compiler has been disabled.\n", "Caused by: io.netty.util.internal.OutOfDirectMemoryError: failed to allocate 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, output string) {
		var r HealthReader
		for line := range strings.Lines(output) {
			if a, ok := r.Line(line); ok && (a.Kind == "" || !strings.Contains(a.Line, "OutOf") && !strings.Contains(a.Line, "Compiler")) {
				t.Error(fmt.Sprint(a))
			}
		}
	})
}

func BenchmarkAilmentReader(b *testing.B) {
	var r HealthReader
	const line = "01-Jan-2026 00:00:00.000 INFO [http-nio-8080-exec-1] org.example.App.handle a request was answered in 12 ms"
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		if _, ok := r.Line(line); ok {
			b.Fatal(line)
		}
	}
}
