package recording

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/console"
)

// TestResizes: a client that only changes the size of its terminal does not fill the recording.
func TestResizes(t *testing.T) {
	o := testOptions(t)
	_, c := begin(t, o, session("abcdefghij", time.Now()))
	if err := c.Output([]byte("a")); err != nil {
		t.Fatal(err)
	}
	for k := range 100_000 {
		c.Resize(24, uint16(2+k%1000))
	}
	if err := c.Output([]byte("b")); err != nil {
		t.Fatal(err)
	}
	if err := c.Output([]byte("c")); err != nil {
		t.Fatal(err)
	}
	c.Resize(30, 100)
	c.Close(console.Exit{})
	_, events := read(t, content(t, o, c))
	got := ""
	for _, e := range events {
		got += e.Kind + " " + e.Data + ","
	}
	if want := "o a,r 1001x24,o b,o c,r 100x30,"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestRemovedIsCounted: recordings that made room are counted, and the log tells of them once a minute.
func TestRemovedIsCounted(t *testing.T) {
	o := testOptions(t)
	o.TotalSize = 2 * o.FileSize
	synctest.Test(t, func(t *testing.T) {
		var out lockedLog
		r := New(o, hclog.New(&hclog.LoggerOptions{Output: &out}))
		for k := range 10 {
			c, err := r.Create(session(fmt.Sprintf("session%d", k), time.Now()))
			if err != nil {
				t.Fatal(err)
			}
			for range o.FileSize / maxPiece * 3 / 4 {
				_ = c.Output([]byte(strings.Repeat("x", maxPiece)))
			}
			c.Close(console.Exit{})
			time.Sleep(logPeriod / 4)
		}
		removed := r.Removed()
		if lines := strings.Count(out.String(), "recordings were removed"); removed < 7 || lines < 2 || lines > 3 || !strings.Contains(out.String(), "count=4") {
			t.Errorf("%d removed, %d lines: %s", removed, lines, out.String())
		}
	})
}

type lockedLog struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
