package proc

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/procfs"
)

// A file that our own process writes first thing is never too old, whatever the
// kernel's clocks do.
func TestStartTimeOfRealProcess(t *testing.T) {
	b, err := procfs.ReadStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	started := StartTime(b.Start)
	if ago := time.Since(started); ago < 0 || ago > time.Hour {
		t.Errorf("this process started %v ago", ago)
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d", os.Getpid()))
	if err == nil && started.Sub(info.ModTime()) > time.Minute {
		t.Errorf("it started at %v, and /proc knows of it since %v", started, info.ModTime())
	}
}

func TestWrittenSince(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 500e6, time.UTC)
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{
		{0, true}, {time.Hour, true}, {-tick, true}, {-tick - 1, false}, {-time.Hour, false},
		{-500 * time.Millisecond, true}, // the file system keeps whole seconds
		{-1500 * time.Millisecond, false},
	} {
		if got := WrittenSince(start.Add(c.after), start); got != c.want {
			t.Errorf("written %v after the start: %v, want %v", c.after, got, c.want)
		}
	}
}
