package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/console"
)

// lines returns the lines of a file by "EVENT SESSION MODE BY", and its size.
func lines(t *testing.T, path string) (map[string][]Line, int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]Line{}
	for text := range strings.Lines(string(data)) {
		var line Line
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		key := fmt.Sprintf("%s %s %s %s", line.Event, line.Session, line.Mode, line.By)
		out[key] = append(out[key], line)
	}
	return out, len(data)
}

// lockedBuffer is read while a timer writes.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestFlood: whoever attaches or is refused all the time does not push other lines out, and what it does last can be seen.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lockedBuffer
		path := filepath.Join(t.TempDir(), "audit.log")
		l := New(path, hclog.New(&hclog.LoggerOptions{Output: &out}))
		e := entry(time.Now())
		long := strings.Repeat(`"`, 7500)
		e.Command, e.Dir = []string{"sh", long, "end"}, "/"+long
		if err := l.Begin(e); err != nil {
			t.Fatal(err)
		}
		_, whole := lines(t, path)
		attach := e
		attach.Identity, attach.Mode = access.Identity{Name: "token other", Grants: access.Exec}, "view"
		denied, failed := attach, e
		denied.ID, denied.By, denied.Mode, denied.Error = "", "token other", "", fmt.Errorf("%w: %s", console.ErrNotAllowed, long)
		failed.Error = errors.New(long)
		for range 1500 {
			l.Attached(attach)
			l.End(denied)
			l.End(failed)
		}
		take := attach
		take.Mode = "take"
		l.Attached(take)
		l.End(e)
		got, size := lines(t, path)
		if size-whole > 64<<10 || len(out.String()) > 2*size {
			t.Errorf("a flood has %d bytes in the file, %d in the log", size-whole, len(out.String()))
		}
		if all := got["start abcdefghij  token ops"]; len(all) != 1 || !slices.Equal(all[0].Argv, e.Command) || all[0].LeftOut != 0 {
			t.Errorf("the start does not have all: %+v", all)
		}
		if all := got["end abcdefghij  token ops"]; len(all) != 1 || all[0].LeftOut != 7503-(mostText-4)+1+7501-mostText || len(all[0].Argv) != 2 {
			t.Errorf("the end: %+v", all)
		}
		if len(got["attach abcdefghij take token other"]) != 1 {
			t.Error("the keyboard was taken without a line")
		}
		time.Sleep(limitTime)
		synctest.Wait()
		got, _ = lines(t, path)
		for _, key := range []string{"attach abcdefghij view token other", "denied   token other", "failed abcdefghij  token ops"} {
			all := got[key]
			if len(all) != mostLines+1 || all[mostLines].Count != 1500-mostLines || all[0].Count != 0 {
				t.Errorf("%s: %d lines, %+v", key, len(all), all[max(len(all)-1, 0):])
			}
		}
		l.Attached(attach)
		if again, _ := lines(t, path); len(again["attach abcdefghij view token other"]) != mostLines+2 {
			t.Error("the next minute begins without a line")
		}
		if n := strings.Count(out.String(), "\n"); n != 3*(mostLines+1)+4 {
			t.Errorf("%d lines in the log", n)
		}
	})
}

// TestManySessions: the lines of all sessions of a client are bounded by their bytes. A session beyond that is refused, an attach counted.
func TestManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		l := New(path, hclog.NewNullLogger())
		e := entry(time.Now())
		e.Command = []string{strings.Repeat("x", 15<<10)}
		limit := (*console.LimitError)(nil)
		started, err := 0, error(nil)
		for ; err == nil && started < 1000; started++ {
			e.ID = fmt.Sprint("s", started)
			err = l.Begin(e)
		}
		if _, size := lines(t, path); !errors.As(err, &limit) || size > mostBytes || started < 100 {
			t.Errorf("%d sessions with %d bytes, then %v", started, size, err)
		}
		for range 5 {
			e.Identity.Name = "token other"
			if err := l.Begin(e); err != nil {
				t.Errorf("another client: %v", err)
			}
		}
		e.Identity.Name, e.Mode = "token ops", "take"
		for k := range 100 {
			e.ID = fmt.Sprint("s", k)
			l.Attached(e)
		}
		if _, size := lines(t, path); size > mostBytes+5*16<<10 {
			t.Errorf("%d bytes", size)
		}
		l.Flush()
		got, _ := lines(t, path)
		for k := range 100 {
			n := 0
			for _, line := range got[fmt.Sprintf("attach s%d take token ops", k)] {
				n += max(line.Count, 1)
			}
			if n != 1 {
				t.Errorf("%d attaches to s%d", n, k)
			}
		}
		time.Sleep(limitTime)
		if err := l.Begin(e); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

// TestShortSecrets: what is cut is masked before.
func TestShortSecrets(t *testing.T) {
	var out bytes.Buffer
	l := New("", hclog.New(&hclog.LoggerOptions{Output: &out}))
	e := entry(time.Now())
	e.Command = []string{"psql", "postgres://u:" + strings.Repeat("hunter2", 100) + "@db/x", "--password", "hunter2"}
	e.Error = errors.New("no")
	l.End(e)
	if text := out.String(); strings.Contains(text, "hunter2") ||
		!strings.Contains(text, `"psql","postgres://u:***@db/x","--password","***"`) {
		t.Error(text)
	}
}

// TestLongestStart: escapes make a line at most six times as long as what a session may have.
func TestLongestStart(t *testing.T) {
	e := entry(time.Now())
	for _, text := range []string{"\x00", "\x1b", "\u202e", "\xff", "\U000e0001", `"`} {
		e.Command = []string{strings.Repeat(text, (16<<10)/len(text))}
		got, err := encode(newLine(Start, e))
		if err != nil || len(got) > 6*(16<<10)+1024 {
			t.Errorf("%q: %d bytes, %v", text, len(got), err)
		}
	}
}
