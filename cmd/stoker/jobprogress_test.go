package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stoker-init/stoker/executor"
)

func waitsFor(why string) executor.Job {
	return executor.Job{ID: 5, State: executor.Queued, Waiting: why, Accepted: time.Now()}
}

// TestProgressInLines: without a terminal there is nothing about a quick job, and never more than a line in ten seconds.
func TestProgressInLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newJobProgress(&out, progressLine{})
		after := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if out.String() != want {
				t.Errorf("%q, want %q", out.String(), want)
			}
		}
		p.set(waitsFor("place 1 in the queue"))
		after(9*time.Second, "")
		p.output()
		after(time.Minute, "")
		p.set(waitsFor("place 3 in the queue")) // another attempt
		after(9*time.Second, "")
		p.set(waitsFor("place 2 in the queue"))
		want := "stoker: job 0000000000000005 is QUEUED: place 2 in the queue\n"
		after(2*time.Second, want)
		after(time.Hour, want)
		p.set(waitsFor("paused by\nuid 0\x1b"))
		want += "stoker: job 0000000000000005 is QUEUED: paused by uid 0?\n"
		after(time.Second, want)
		for range 9 { // nobody wants to read each place
			p.set(waitsFor("place 1 in the queue"))
			p.set(waitsFor("place 0 in the queue"))
			after(time.Second, want)
		}
		after(time.Second, want+"stoker: job 0000000000000005 is QUEUED: place 0 in the queue\n")
		p.stop()
	})
}

// TestProgressOnATerminal: the line is replaced, and gone before anything else is printed.
func TestProgressOnATerminal(t *testing.T) {
	terminal, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	synctest.Test(t, func(t *testing.T) {
		p := newJobProgress(terminal, progressLine{terminal})
		seen := 0
		want := func(when, text string) {
			t.Helper()
			synctest.Wait()
			got, err := os.ReadFile(terminal.Name())
			if err != nil || string(got[seen:]) != strings.ReplaceAll(text, "^", "\r\x1b[K") {
				t.Errorf("%s: %q, %v", when, got[seen:], err)
			}
			seen = len(got)
		}
		p.set(waitsFor("place 2 in the queue"))
		time.Sleep(shownTime / 2)
		want("at once", "")
		time.Sleep(2 * shownTime)
		want("later", "^job 0000000000000005 is QUEUED: place 2 in the queue (0s)^job 0000000000000005 is QUEUED: place 2 in the queue (1s)")
		p.hide()
		want("for another line", "^")
		p.hide()
		want("without a line", "")
		time.Sleep(shownTime)
		want("then", "^job 0000000000000005 is QUEUED: place 2 in the queue (1s)")
		p.set(executor.Job{ID: 5, State: executor.Running, Attempt: 1, Pid: 7, Accepted: time.Now().Add(-time.Hour), Started: time.Now()})
		time.Sleep(shownTime)
		want("running", "^job 0000000000000005 is RUNNING (0s)")
		p.output()
		want("output", "^")
		p.set(waitsFor("not before 2026"))
		time.Sleep(time.Minute)
		want("another attempt", "stoker: job 0000000000000005 is QUEUED: not before 2026\n")
		p.stop()
		want("the end", "")
	})
}
