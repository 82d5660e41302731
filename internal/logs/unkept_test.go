package logs

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a process wrote before it ended is kept or counted when its exit is reported, also if
// nothing can be kept and the pipe was not read yet.
func TestFlushCountsWhatCannotBeKept(t *testing.T) {
	for name, noSplice := range map[string]bool{"splice": false, "read and write": true} {
		t.Run(name, func(t *testing.T) {
			l, err := newLog("unkept", Options{})
			if err != nil {
				t.Fatal(err)
			}
			null, err := os.Open(os.DevNull) // open for reading only: writes fail
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			unix.Close(l.data)
			l.data, l.noSplice = int(null.Fd()), noSplice
			var warnings []string
			l.warn = func(msg string) { warnings = append(warnings, msg) }
			p, writers, err := NewCapture(l, 2)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			defer writers[1].Close()
			writers[0].WriteString(strings.Repeat("a line\n", 5000))
			writers[0].Close()
			p.Flush()
			if st := l.Stats(); st.LostLines != 5000 || st.LostBytes != 7*5000 || st.Lines != 0 {
				t.Errorf("%+v", st)
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0], "cannot be kept") {
				t.Errorf("warnings %q", warnings)
			}
		})
	}
}

// A log of a layout that this version does not know is replaced by an empty one with the same
// options, and what it had not forwarded is counted where the beginning of its index says it.
func TestUnknownLayoutIsReplaced(t *testing.T) {
	for _, c := range []struct {
		name  string
		magic uint64
		fds   int
		lost  uint64
	}{
		{"a later layout", indexMagic + 7, 3, 7 * 100},
		{"no index", 1, 3, 0},
		{"other descriptors", indexMagic, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newFakeStore()
			old, _, _ := registry(t, s)
			o := Options{Format: FormatPrefix, Keep: 99999, Title: "title"}
			l, err := old.Open("svc", o)
			if err != nil {
				t.Fatal(err)
			}
			old.Flush(5 * time.Second) // nothing is forwarded any more
			write(t, l, Stdout, strings.Repeat("before\n", 100))
			l.ix.magic = c.magic
			s.Files["log/svc"] = s.Files["log/svc"][:c.fds]

			r, stdout, _ := registry(t, s)
			var warnings []string
			r.Warn = func(msg string) { warnings = append(warnings, msg) }
			r.Adopt(s.Items)
			if len(warnings) != 1 || !strings.Contains(warnings[0], "output kept for svc") {
				t.Errorf("warnings %q", warnings)
			}
			l = r.Get("svc")
			if l == nil {
				t.Fatal("there is no log")
			}
			if st := l.Stats(); l.opts != o || st.LostBytes != c.lost || st.LostLines != c.lost/7 || st.Bytes != 0 {
				t.Errorf("%+v, %+v", l.opts, st)
			}
			write(t, l, Stdout, "after\n")
			r.Flush(5 * time.Second)
			if got := readFile(t, stdout); !strings.HasSuffix(got, "after\n") || strings.Contains(got, "before") {
				t.Errorf("%q", got)
			}
			if len(s.Files["log/svc"]) != 3 || len(s.Files["log-out/svc"]) != 1 {
				t.Errorf("the next supervisor gets %v", s.Files)
			}
		})
	}
}
