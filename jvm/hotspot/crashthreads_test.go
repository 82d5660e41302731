package hotspot

import (
	"bytes"
	"testing"
)

func TestThreadDump(t *testing.T) {
	const (
		head     = "2026-11-23 10:34:56\nFull thread dump OpenJDK 64-Bit Server VM (17.0.15+6):\n\n\"main\" #1 prio=5\n\tat A.b(A.java:1)\n\n"
		refs     = "JNI global refs: 4, weak refs: 0\n"
		refs8    = "JNI global references: 4\n"
		heap     = "\nHeap\n garbage-first heap   total 32768K\n  region size 1024K\n Metaspace       used 77K\n\n"
		deadlock = "\n\nFound one Java-level deadlock:\n=============================\n\"a\":\n  waiting to lock monitor\nJava stack information for the threads listed above:\n\"a\":\n\tat X.y\n\nFound 1 deadlock.\n\n"
	)
	cut := func(s string) string { return string(bytes.TrimRight([]byte(s), "\n")) }
	for _, c := range []struct{ name, in, want string }{
		{"none", "just\noutput\n", ""},
		{"empty", "", ""},
		{"alone", head + refs + heap, head + refs + heap},
		{"between", "before\n" + head + refs + heap + "after\n and this\n", head + refs + heap},
		{"heap without an empty line", head + refs + "\nHeap\n total\nINFO after\n", head + refs + "\nHeap\n total\n"},
		{"no heap", head + refs + "\nINFO after\n", head + refs},
		{"JDK 8", head + refs8 + heap, head + refs8 + heap},
		{"deadlock", head + refs + deadlock + heap + "after", head + refs + deadlock + heap},
		{"the last of two", head + refs + heap + "x\n" + "2027-01-01 00:00:00\nFull thread dump B\n\n" + refs,
			"2027-01-01 00:00:00\nFull thread dump B\n\n" + refs},
		{"cut off", "x\n" + head + "\"b\" #2", head + "\"b\" #2"},
		{"no date", "Full thread dump A\n" + refs, "Full thread dump A\n" + refs},
		{"another line above", "no date\nFull thread dump A\n" + refs, "Full thread dump A\n" + refs},
		{"quoted", "he said Full thread dump A\n", ""},
		{"quoted later", "Full thread dump A\nx Full thread dump B\n" + refs, "Full thread dump A\nx Full thread dump B\n" + refs},
		{"only the line", "Full thread dump ", "Full thread dump "},
		{"empty line above", "\nFull thread dump ", "Full thread dump "},
	} {
		got, ok := ThreadDump([]byte(c.in))
		if cut(string(got)) != cut(c.want) || ok != (c.want != "") {
			t.Errorf("%s: %v %q, want %q", c.name, ok, got, c.want)
		}
	}
}

func FuzzThreadDump(f *testing.F) {
	f.Add([]byte("2026-11-23 10:34:56\nFull thread dump x\n\nJNI global refs: 1\n\nHeap\n x\n\nafter"))
	f.Fuzz(func(t *testing.T, output []byte) {
		got, ok := ThreadDump(output)
		if ok != bytes.Contains(got, []byte("Full thread dump ")) || !bytes.Contains(output, got) {
			t.Errorf("%v %q of %q", ok, got, output)
		}
	})
}
