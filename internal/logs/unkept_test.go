package logs

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a process wrote before it ended is kept or counted by the time its end is
// told, also where nothing can be kept and nobody has read the pipe yet.
func TestFlushCountsWhatCannotBeKept(t *testing.T) {
	for name, noSplice := range map[string]bool{"splice": false, "read and write": true} {
		t.Run(name, func(t *testing.T) {
			l, err := newLog("unkept", Options{})
			if err != nil {
				t.Fatal(err)
			}
			null, err := os.Open(os.DevNull) // takes no bytes: it is open for reading only
			if err != nil {
				t.Fatal(err)
			}
			defer null.Close()
			unix.Close(l.data)
			l.data, l.noSplice = int(null.Fd()), noSplice
			p, writers, err := (&Registry{}).NewCapture(Source{Log: l}, 2)
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
			if len(l.notices) != 1 || !strings.Contains(l.notices[0], "cannot be kept") {
				t.Errorf("told %q", l.notices)
			}
		})
	}
}
