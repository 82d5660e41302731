package executor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor/journal"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/proc"
)

// closeStreams ends the capture of a job's output, as the death of the supervisor does.
func closeStreams(e *Executor, id ID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.tasks[id].streams {
		s.Close()
	}
}

// The next supervisor knows whether the kernel's OOM killer has ended a job.
func TestResumeOOM(t *testing.T) {
	for _, kills := range []uint64{3, 4} {
		e, h := newExecutor(t, nil)
		h.set(func() { h.oomKills = 3 })
		job := submit(t, e, Spec{})
		h.next(t)
		awaitState(t, e, job.ID, Running)
		die(e)
		closeStreams(e, job.ID)
		q := newFakeProcess()
		e, _ = openExecutor(t, e.opts.Config, h, h.items(), map[string]Process{processID(job.ID, 1): q})
		awaitState(t, e, job.ID, Running)
		h.set(func() { h.oomKills = kills })
		q.end(proc.Exit{Code: -1, Signal: syscall.SIGKILL})
		if got := await(t, e, job.ID); got.Exit.OOMKilled != (kills > 3) {
			t.Errorf("%d kills, 3 at the start: %+v", kills, got.Exit)
		}
	}
}

// What an attempt has left in the store is taken out of it, also when it has ended meanwhile.
func TestStoreAfterRestart(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{})
	h.next(t)
	awaitState(t, e, job.ID, Running)
	die(e)
	closeStreams(e, job.ID)
	items := h.items()
	items.Blobs[lifeItem] = []byte("another container") // so it is not resumed
	fds := items.Files[pipePrefix+job.ID.String()]
	openExecutor(t, e.opts.Config, h, items, nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, kept := h.blobs[pipePrefix+job.ID.String()]; kept || len(fds) != 2 {
		t.Errorf("kept %v, descriptors %v", kept, fds)
	}
	for _, fd := range fds {
		if link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil && strings.HasPrefix(link, "pipe:") {
			t.Errorf("descriptor %d is still open: %s", fd, link)
		}
	}
}

// The output of a job that is lost can be read as far as it was captured, and so can that of one whose output cannot be continued.
func TestOutputOfLost(t *testing.T) {
	for name, resumed := range map[string]bool{"lost": false, "resumed without its pipes": true} {
		e, h := newExecutor(t, nil) // 64 KiB are kept
		job := submit(t, e, Spec{})
		p := h.next(t)
		awaitState(t, e, job.ID, Running)
		const total = 1 << 20
		if _, err := p.files[1].WriteString(strings.Repeat("0123456789abcde\n", total/16)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(p.files[2], "last words")
		poll(t, "the output is captured", func() bool {
			j, _ := e.Job(job.ID.String())
			return j.Stdout.Bytes == total && j.Stderr.Bytes == 10
		})
		before, _ := e.Job(job.ID.String())
		die(e)
		processes, state := map[string]Process{}, Lost
		if resumed {
			q := newFakeProcess()
			q.end(proc.Exit{})
			processes[processID(job.ID, 1)], state = q, Succeeded
		}
		e, _ = openExecutor(t, e.opts.Config, newFakeHost(), fdstore.NewItems(), processes)
		got := await(t, e, job.ID)
		want(t, got, state)
		if got.Stdout != before.Stdout || got.Stderr.Bytes != 10 || !got.Stdout.Truncated() {
			t.Errorf("%s: %+v and %+v, before %+v", name, got.Stdout, got.Stderr, before.Stdout)
		}
		buf := make([]byte, 100)
		if n, _, err := e.ReadOutput(t.Context(), job.ID, "stderr", 1, 0, false, buf); string(buf[:n]) != "last words" || err != nil {
			t.Errorf("%s: %q, %v", name, buf[:n], err)
		}
		n, at, err := e.ReadOutput(t.Context(), job.ID, "stdout", 1, total/2, false, buf)
		if at != before.Stdout.Tail || n != len(buf) || err != nil || !strings.Contains(string(buf), "abcde\n0123") {
			t.Errorf("%s: %q at %d, %v", name, buf[:n], at, err)
		}
	}
}

// A job whose first record is missing has no stdin: it is never begun again.
func TestWithoutFirstRecord(t *testing.T) {
	first := Job{ID: 7, Spec: Spec{Command: []string{"a"}, RetryOnLost: true, Retry: Retry{Max: 9}}, State: Accepted}
	begun, again := first, first
	begun.State, begun.Attempt, begun.Life, begun.Started = Running, 1, "1", time.Now()
	again.Attempt = 1
	for name, test := range map[string]struct {
		records []Job // after the first one
		life    string
		runs    bool  // its process is there
		damaged State // its state if the first record is missing
		intact  State
	}{
		"another container": {[]Job{begun}, "2", false, Lost, Succeeded},
		"not started":       {[]Job{begun}, "1", false, Lost, Succeeded},
		"repeated":          {[]Job{begun, again}, "1", false, Lost, Succeeded},
		"runs":              {[]Job{begun}, "1", true, Failed, Succeeded},
		"alone":             {nil, "1", false, Lost, Succeeded},
	} {
		for _, damaged := range []bool{true, false} {
			dir, want := t.TempDir(), test.intact
			j, _, err := journal.Open(filepath.Join(dir, journalFolder), journal.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, job := range append([]Job{first}, test.records...) {
				kind := journal.Accepted
				if job.State == Running {
					kind = journal.Begun
				}
				if err := j.Append(journal.Record{ID: 7, Kind: kind, Data: encode(job)}).Wait(); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if damaged {
				text, err := os.ReadFile(segment(t, dir))
				if err != nil {
					t.Fatal(err)
				}
				text[bytes.IndexByte(text, '{')] = '['
				if err := os.WriteFile(segment(t, dir), text, 0o600); err != nil {
					t.Fatal(err)
				}
				want = test.damaged
			}
			h := newFakeHost()
			h.set(func() { h.onStart = func(p *fakeProcess) { p.end(proc.Exit{}) } })
			items, processes := fdstore.NewItems(), map[string]Process{}
			items.Add(lifeItem, []byte(test.life), nil)
			if q := newFakeProcess(); test.runs {
				q.end(proc.Exit{Code: 1})
				processes[processID(7, 1)] = q
			}
			e, _ := openExecutor(t, testConfig(dir), h, items, processes)
			if job := await(t, e, 7); job.State != want || damaged && h.starts("") > 0 {
				t.Errorf("%s, damaged %v: %s, want %s (%s), %d starts", name, damaged, job.State, want, job.Reason, h.starts(""))
			}
			die(e)
		}
	}
}
