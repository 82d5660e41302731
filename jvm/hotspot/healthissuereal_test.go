package hotspot

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// sick survives failed allocations.
const sick = `import java.nio.ByteBuffer;
import java.util.*;
import java.util.logging.*;
public class Sick {
  static void direct() { List<Object> l = new ArrayList<>(); while (l != null) l.add(ByteBuffer.allocateDirect(1 << 20)); }
  static void heap() { List<Object> l = new ArrayList<>(); while (l != null) l.add(new byte[1 << 20]); }
  static Runnable named(String what) {
    switch (what) { case "direct": return Sick::direct; case "heap": return Sick::heap; default: return () -> { Object o = new long[Integer.MAX_VALUE]; }; }
  }
  public static void main(String[] a) throws Exception {
    switch (a[0]) {
    case "thread": Thread t = new Thread(named(a[1])); t.start(); t.join(); break;
    case "trace": try { named(a[1]).run(); } catch (OutOfMemoryError e) { e.printStackTrace(); } break;
    case "cause": try { named(a[1]).run(); } catch (OutOfMemoryError e) { new RuntimeException("failed", e).printStackTrace(); } break;
    case "logger": try { named(a[1]).run(); } catch (OutOfMemoryError e) { Logger.getLogger("x").log(Level.SEVERE, "failed", e); } break;
    case "mention": try { named(a[1]).run(); } catch (OutOfMemoryError e) { System.out.println("failed: " + e); } break;
    case "compile": for (int i = 0; i < 2000000; i++) Math.abs(Integer.toString(i).hashCode()); break;
    }
    System.out.println("lives");
  }
}
`

// TestHealthIssuesOfRealJVM runs real JVMs that print each kind, and survive or end.
func TestHealthIssuesOfRealJVM(t *testing.T) {
	compile(t) // skips where there is no compiler
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/Sick.java", []byte(sick), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("javac", "-d", dir, dir+"/Sick.java").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	dump := []string{"-XX:+HeapDumpOnOutOfMemoryError", "-XX:HeapDumpPath=" + dir}
	full := []string{"-Xcomp", "-XX:-UseCodeCacheFlushing", "-XX:ReservedCodeCacheSize=2500k", "-XX:InitialCodeCacheSize=2500k"}
	if majorOf(t) >= 9 {
		full = append(full[:2], "-XX:ReservedCodeCacheSize=6m", "-XX:InitialCodeCacheSize=6m", "-XX:+SegmentedCodeCache")
	}
	for _, c := range []struct {
		args    string
		options []string
		want    string // the kinds
		lives   bool
	}{
		{"thread direct", nil, DirectMemory, true},
		{"trace direct", nil, DirectMemory, true},
		{"trace direct", []string{"-XX:+ExitOnOutOfMemoryError"}, DirectMemory, true},
		{"cause direct", nil, DirectMemory, true},
		{"logger direct", nil, DirectMemory, true},
		{"mention direct", nil, "", true},
		{"thread heap", nil, HeapMemory, true},
		{"trace heap", nil, HeapMemory, true},
		{"trace heap", dump, HeapMemory, true},
		{"mention heap", nil, "", true},
		{"trace heap", []string{"-XX:+ExitOnOutOfMemoryError"}, "", false},
		{"trace heap", append(dump, "-XX:+ExitOnOutOfMemoryError"), "", false},
		{"trace array", nil, "", true},
		{"compile now", full, CodeCacheFull, true},
	} {
		t.Run(c.args+strings.Join(c.options, " "), func(t *testing.T) {
			t.Parallel()
			argv := slices.Concat([]string{"-Xmx32m", "-XX:MaxDirectMemorySize=8m", "-cp", dir}, c.options, []string{"Sick"}, strings.Fields(c.args))
			out, err := exec.CommandContext(t.Context(), "java", argv...).CombinedOutput()
			if lives := strings.HasSuffix(string(out), "lives\n"); lives != c.lives {
				t.Fatalf("%v, lives on: %v\n%s", err, lives, out)
			}
			kinds := slices.Compact(strings.Split(healthIssues(string(out)), ", "))
			if got := strings.Join(kinds, ", "); got != c.want {
				t.Errorf("%q, want %q\n%s", got, c.want, out)
			}
		})
	}
}
