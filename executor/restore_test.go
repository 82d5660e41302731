package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor/journal"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

// (a) The next supervisor resumes what runs, with its output, and knows how it ended.
func TestResume(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Key: "k", StopGrace: Duration(time.Hour)})
	p := h.next(t)
	awaitState(t, e, job.ID, Running)
	fmt.Fprint(p.files[1], "before ")
	poll(t, "the output is captured", func() bool { job, _ := e.Job(job.ID.String()); return job.Stdout.Bytes == 7 })
	die(e)
	e.mu.Lock()
	for _, s := range e.tasks[job.ID].streams {
		s.Close()
	}
	e.mu.Unlock()

	q := newFakeProcess()
	q.files, p.files = p.files, [3]*os.File{}
	e, h2 := openExecutor(t, e.opts.Config, h, h.items(), map[string]Process{processID(job.ID, 1): q})
	awaitState(t, e, job.ID, Running)
	if job, created, err := e.Submit(t.Context(), Spec{Key: "k", Command: []string{"a"},
		StopGrace: Duration(time.Hour)}, ""); err != nil || created {
		t.Errorf("a submit: %+v, %v, %v", job, created, err)
	}
	fmt.Fprint(q.files[1], "after")
	q.members = []int{9}
	q.end(proc.Exit{Code: 5, CPU: time.Minute})
	got := await(t, e, job.ID)
	want(t, got, Failed)
	if got.Exit.Code != 5 || got.Exit.CPU != time.Minute || got.Exit.Leftovers != 1 || got.Stdout.Bytes != 12 || got.Attempt != 1 {
		t.Errorf("%+v, %+v", got, got.Exit)
	}
	buf := make([]byte, 99)
	if n, _, err := e.ReadOutput(t.Context(), job.ID, "stdout", 1, 0, false, buf); string(buf[:n]) != "before after" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	receive(t, q.gone, "Done")
	if h2.starts("") != 1 {
		t.Errorf("%d starts", h2.starts(""))
	}
}

// A stop survives the death of the supervisor: of a process that runs, and of one that was not started.
func TestResumeStopping(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{})
	h.next(t)
	awaitState(t, e, job.ID, Running)
	if _, err := e.StopJob(t.Context(), job.ID, StopRequest{By: "me"}); err != nil {
		t.Fatal(err)
	}
	die(e)
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(e.opts.Config.Journal)); err != nil {
		t.Fatal(err)
	}
	q := newFakeProcess()
	second, _ := openExecutor(t, e.opts.Config, h, h.items(), map[string]Process{processID(job.ID, 1): q})
	if sig := q.signal(t); sig != syscall.SIGTERM {
		t.Errorf("%v", sig)
	}
	q.end(proc.Exit{Code: -1, Signal: syscall.SIGTERM})
	got := await(t, second, job.ID)
	want(t, got, Killed)
	if got.By != "me" {
		t.Errorf("by %q", got.By)
	}
	third, h3 := openExecutor(t, testConfig(folder), newFakeHost(), life(e), nil)
	want(t, await(t, third, job.ID), Killed)
	if h3.starts("") != 0 {
		t.Error("it was started")
	}
}

// A supervisor that dies after the KILL of a stop, or of a timeout, leaves the reason to the next one.
func TestResumeKilled(t *testing.T) {
	for range 10 {
		e, h := newExecutor(t, nil)
		stopped, late := submit(t, e, Spec{}), submit(t, e, Spec{Timeout: Duration(time.Nanosecond)})
		h.next(t)
		h.next(t)
		awaitState(t, e, stopped.ID, Running)
		awaitState(t, e, late.ID, Running)
		if _, err := e.StopJob(t.Context(), stopped.ID, StopRequest{By: "me"}); err != nil {
			t.Fatal(err)
		}
		die(e)
		processes := map[string]Process{}
		for _, id := range []ID{stopped.ID, late.ID} {
			q := newFakeProcess()
			q.end(proc.Exit{Code: -1, Signal: syscall.SIGKILL})
			processes[processID(id, 1)] = q
		}
		second, _ := openExecutor(t, e.opts.Config, h, h.items(), processes)
		want(t, await(t, second, stopped.ID), Killed)
		want(t, await(t, second, late.ID), TimedOut)
	}
}

// life are the items of the next supervisor in the same container.
func life(e *Executor) fdstore.Items {
	items := fdstore.NewItems()
	items.Add(lifeItem, []byte(e.life), nil)
	return items
}

// (b) An attempt that was begun, but not started, is started once.
func TestBegunNotStarted(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Stdin: []byte("input")})
	h.next(t)
	awaitState(t, e, job.ID, Running)
	die(e)
	e, h2 := openExecutor(t, e.opts.Config, newFakeHost(), life(e), nil)
	p := h2.next(t)
	if p.files[0] == nil {
		t.Error("it has no input")
	}
	p.end(proc.Exit{})
	got := await(t, e, job.ID)
	want(t, got, Succeeded)
	if got.Attempt != 1 || h2.starts("") != 1 || p.spec.ID != processID(job.ID, 1) {
		t.Errorf("attempt %d, %d starts of %s", got.Attempt, h2.starts(""), p.spec.ID)
	}
	die(e)
	e, h3 := openExecutor(t, e.opts.Config, newFakeHost(), life(e), nil)
	want(t, await(t, e, job.ID), Succeeded)
	if h3.starts("") != 0 {
		t.Error("it was started again after its end")
	}
}

// A supervisor that dies while it writes Begun leaves half a record. In the same container the init knows what has begun.
func TestTornBegun(t *testing.T) {
	for _, started := range []bool{true, false} {
		e, h := newExecutor(t, nil)
		job := submit(t, e, Spec{})
		h.next(t)
		awaitState(t, e, job.ID, Running)
		die(e)
		file := segment(t, e.opts.Config.Journal)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = []byte(strings.TrimRight(string(text), "\x00"))
		if err := os.WriteFile(file, text[:len(text)-20], 0o600); err != nil {
			t.Fatal(err)
		}
		processes := map[string]Process{}
		q := newFakeProcess()
		if started {
			processes[processID(job.ID, 1)] = q
		}
		e, h2 := openExecutor(t, e.opts.Config, newFakeHost(), life(e), processes)
		if !started {
			q = h2.next(t)
		}
		q.end(proc.Exit{Code: 5})
		if got := await(t, e, job.ID); got.State != Failed || got.Attempt != 1 || got.Exit.Code != 5 {
			t.Errorf("started %v: %+v, %+v", started, got, got.Exit)
		}
		if n := h2.starts(""); started != (n == 0) {
			t.Errorf("started %v: %d starts", started, n)
		}
	}
}

// (c) In another life what ran is lost, or runs again.
func TestOtherLife(t *testing.T) {
	e, h := newExecutor(t, nil)
	plain, again := submit(t, e, Spec{Key: "k"}), submit(t, e, Spec{Command: []string{"b"}, RetryOnLost: true, Stdin: []byte("input")})
	h.next(t)
	h.next(t)
	die(e)
	e, h = openExecutor(t, e.opts.Config, newFakeHost(), fdstore.NewItems(), nil)
	got := await(t, e, plain.ID)
	want(t, got, Lost)
	if got.Ended.IsZero() || got.Reason == "" {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(e.workspace(plain.ID).path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the workspace of a lost job is still there: %v", err)
	}
	if job, created, err := e.Submit(t.Context(), Spec{Key: "k", Command: []string{"a"}}, ""); err != nil || created || job.State != Lost {
		t.Errorf("%+v, %v, %v", job, created, err)
	}
	p := h.next(t)
	if p.files[0] == nil || p.spec.ID != processID(again.ID, 2) {
		t.Errorf("%+v", p.spec)
	}
	p.end(proc.Exit{})
	if got = await(t, e, again.ID); got.State != Succeeded || got.Attempt != 2 || h.starts("") != 1 {
		t.Errorf("%+v, %d starts", got, h.starts(""))
	}
}

// A process that belongs to no attempt that runs is ended.
func TestStrayProcess(t *testing.T) {
	e, h := newExecutor(t, nil)
	ended := submit(t, e, Spec{})
	h.next(t).end(proc.Exit{})
	await(t, e, ended.ID)
	repeated := submit(t, e, Spec{Retry: Retry{Max: 1, Backoff: Duration(time.Hour)}})
	h.next(t).end(proc.Exit{Code: 1})
	awaitState(t, e, repeated.ID, Accepted)
	poll(t, "the end of the attempt is on disk", func() bool { return e.ExecutorStatus().Running == 0 })
	die(e)
	p, q := newFakeProcess(), newFakeProcess()
	p.members = []int{7}
	q.end(proc.Exit{Code: 1})
	e, h = openExecutor(t, e.opts.Config, newFakeHost(), life(e), map[string]Process{processID(ended.ID, 1): p, processID(repeated.ID, 1): q})
	receive(t, p.gone, "Done")
	receive(t, q.gone, "Done")
	if sig := p.signal(t); sig != syscall.SIGKILL || !p.acked || !q.acked {
		t.Errorf("%v, %v, %v", sig, p.acked, q.acked)
	}
	if job, err := e.Job(repeated.ID.String()); err != nil || job.Attempt != 1 || job.NextAttempt.IsZero() || h.starts("") != 0 {
		t.Errorf("%+v, %v", job, err)
	}
}

// (e) Jobs that wait keep their order.
func TestOrderAfterRestart(t *testing.T) {
	e, _ := newExecutor(t, func(c *Config) { c.Slots = 1 })
	_ = e.ControlExecutor(Pause, "test")
	var ids []ID
	for k := range 6 {
		ids = append(ids, submit(t, e, Spec{Command: []string{fmt.Sprint(k)}, Priority: k / 5}).ID)
	}
	die(e)
	e, h := openExecutor(t, e.opts.Config, newFakeHost(), fdstore.NewItems(), nil)
	for _, name := range []string{"5", "0", "1", "2", "3", "4"} {
		p := h.next(t)
		if p.spec.Argv[0] != name {
			t.Errorf("%s, want %s", p.spec.Argv[0], name)
		}
		p.end(proc.Exit{})
	}
	for _, id := range ids {
		want(t, await(t, e, id), Succeeded)
	}
	if next := submit(t, e, Spec{}); next.ID <= slices.Max(ids) {
		t.Errorf("%s is not above %s", next.ID, slices.Max(ids))
	}
}

// segment is the only file of a journal.
func segment(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, journalFolder, "*.journal"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	return names[0]
}

// (d, f) Whatever is damaged, a job that had begun is not started, and neither is one again whose key is submitted.
func TestDamage(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Slots = 1 })
	ended := submit(t, e, Spec{Key: "ended", Command: []string{"ended"}})
	h.next(t).end(proc.Exit{})
	await(t, e, ended.ID)
	begun := submit(t, e, Spec{Key: "begun", Command: []string{"begun"}})
	h.next(t)
	awaitState(t, e, begun.ID, Running)
	waits := submit(t, e, Spec{Key: "waits", Command: []string{"waits"}})
	size := e.ExecutorStatus().Bytes
	die(e)
	file := segment(t, e.opts.Config.Journal)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	whole = whole[:size]
	base, err := os.ReadFile(filepath.Join(filepath.Dir(file), "lock"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	step := 1
	if testing.Short() {
		step = 17
	}
	unusable := 0
	check := func(name string, content []byte) {
		dir := filepath.Join(root, "x")
		folder := filepath.Join(dir, journalFolder)
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "lock"), base, 0o600),
			os.WriteFile(filepath.Join(folder, filepath.Base(file)), content, 0o600)); err != nil {
			t.Fatal(err)
		}
		h := newFakeHost()
		h.set(func() { h.onStart = func(p *fakeProcess) { p.end(proc.Exit{}) } })
		e, _ := openExecutor(t, testConfig(dir), h, fdstore.NewItems(), nil)
		defer func() { e.attempts.Wait(); die(e) }()
		e.mu.Lock()
		unavailable := e.unavailable
		known := map[string]bool{}
		if unavailable == nil {
			for _, key := range []string{"ended", "begun", "waits"} {
				known[key] = len(e.journal.Find(key)) > 0
			}
		}
		e.mu.Unlock()
		if unavailable != nil {
			unusable++ // nothing is started; an operator has to look
			return
		}
		for _, j := range []Job{ended, begun, waits} {
			if _, err := e.Job(j.ID.String()); !errors.Is(err, ErrNoJob) {
				await(t, e, j.ID)
			}
		}
		before := h.starts("waits")
		if h.starts("begun")+h.starts("ended") > 0 || before > 1 {
			t.Fatalf("%s: %v", name, h.count)
		}
		for key := range known {
			job, created, err := e.Submit(t.Context(), Spec{Key: key, Command: []string{key}}, "")
			if err != nil {
				t.Fatalf("%s: %s: %v", name, key, err)
			}
			await(t, e, job.ID)
			if known[key] && (created || key != "waits" && h.starts(key) > 0 || h.starts(key) > 1) {
				t.Fatalf("%s: the key %s is known, and it was created %v, started %v", name, key, created, h.count)
			}
		}
	}
	check("whole", whole)
	if unusable > 0 || len(whole) < 1000 {
		t.Fatalf("a journal of %d bytes cannot be used", len(whole))
	}
	for at := 0; at < len(whole); at += step {
		damaged := slices.Clone(whole)
		damaged[at] ^= 1 << (at % 8)
		check(fmt.Sprintf("flip at %d", at), damaged)
	}
	for cut := 1; cut <= 64; cut++ {
		check(fmt.Sprintf("cut of %d", cut), whole[:len(whole)-cut])
	}
	if unusable > 20 {
		t.Errorf("%d kinds of damage make the executor unavailable", unusable)
	}
}

// (d) A record that cannot be read makes a job LOST.
func TestUncertain(t *testing.T) {
	dir := t.TempDir()
	j, _, err := journal.Open(filepath.Join(dir, journalFolder), journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(Job{ID: 5, Spec: Spec{Key: "k", Command: []string{"a"}}, State: Accepted})
	for id, data := range [][]byte{[]byte("{"), text, []byte(`{"id":[]}`)} {
		if err := j.Append(journal.Record{ID: uint64(id + 4), Key: "k", Kind: journal.Accepted, Data: data}).Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	e, h := openExecutor(t, testConfig(dir), newFakeHost(), fdstore.NewItems(), nil)
	h.next(t).end(proc.Exit{})
	for id, state := range map[ID]State{4: Lost, 5: Succeeded, 6: Lost} {
		job := await(t, e, id)
		want(t, job, state)
		if state == Lost && !strings.Contains(job.Reason, "damaged") {
			t.Error(job.Reason)
		}
	}
	if h.starts("") != 1 {
		t.Errorf("%d starts", h.starts(""))
	}
}

// mount mounts a small file system, or skips the test.
func mount(t *testing.T, flags uintptr, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("cannot mount a file system: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestReadOnly(t *testing.T) {
	dir := mount(t, unix.MS_RDONLY, 4<<20)
	e, _ := openExecutor(t, testConfig(dir), newFakeHost(), fdstore.NewItems(), nil)
	_, _, err := e.Submit(t.Context(), Spec{Command: []string{"a"}}, "")
	if u := (*UnavailableError)(nil); !errors.As(err, &u) || u.NoSpace || !strings.Contains(u.Why, "read-only") {
		t.Errorf("%v", err)
	}
}

// When the disk is full nothing is accepted, what runs can end, and what was refused can be submitted again.
func TestNoSpace(t *testing.T) {
	dir := mount(t, 0, 1<<20)
	e, h := openExecutor(t, testConfig(dir), newFakeHost(), fdstore.NewItems(), nil)
	first := submit(t, e, Spec{})
	p := h.next(t)
	awaitState(t, e, first.ID, Running)
	_ = e.ControlExecutor(Pause, "test")
	filler := filepath.Join(dir, "filler")
	if f, err := os.Create(filler); err != nil {
		t.Fatal(err)
	} else {
		for err == nil {
			_, err = f.Write(make([]byte, 4<<10))
		}
		f.Close()
	}
	var err error
	for k := 0; err == nil && k < 9; k++ {
		_, _, err = e.Submit(t.Context(), Spec{Key: fmt.Sprint("k", k), Command: []string{"x"}, Stdin: make([]byte, 60<<10)}, "")
	}
	if u := (*UnavailableError)(nil); !errors.As(err, &u) || !u.NoSpace {
		t.Fatalf("%v", err)
	}
	accepted := e.ExecutorStatus().Waiting
	p.end(proc.Exit{})
	want(t, await(t, e, first.ID), Succeeded)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	key := fmt.Sprint("k", accepted) // the one that was refused
	last, created, err := e.Submit(t.Context(), Spec{Key: key, Command: []string{"x"}}, "")
	if err != nil || !created {
		t.Fatalf("%v, %v", created, err)
	}
	_ = e.ControlExecutor(Resume, "test")
	for range accepted + 1 {
		h.next(t).end(proc.Exit{})
	}
	want(t, await(t, e, last.ID), Succeeded)
	if n := h.starts("x"); n != accepted+1 {
		t.Errorf("%d starts of %d jobs", n, accepted+1)
	}
}
