package logs

import (
	"os"
	"strings"
	"testing"

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
