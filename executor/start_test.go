package executor

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
	"golang.org/x/sys/unix"
)

func countFDs(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// An attempt that finds too few descriptors keeps none, whichever is the first that it does not get.
func TestNoDescriptors(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Queue = 100 })
	h.set(func() { h.startErr = errors.New("not here") })
	await(t, e, submit(t, e, Spec{Stdin: []byte("in")}).ID)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }()
	short := 0
	for free, enough := 0, false; !enough; free++ {
		job := submit(t, e, Spec{Stdin: []byte("in"), NotBefore: time.Now().Add(time.Hour)})
		open := countFDs(t) - 1 // without that of the count
		limit := before
		limit.Cur = uint64(open + free)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		e.mu.Lock()
		task := e.tasks[job.ID]
		e.mu.Unlock()
		ws := e.workspace(job.ID)
		_, _, err := e.start(task, &job, job.Spec.withDefaults(e.config()), ws)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			t.Fatal("it was started")
		}
		if enough = !strings.Contains(err.Error(), "too many open files"); !enough {
			short++
		}
		e.mu.Lock()
		for _, s := range orElse(task.streams, new(streams)) {
			if s != nil {
				s.Close()
			}
		}
		task.streams = nil
		e.mu.Unlock()
		h.Delete(pipePrefix + job.ID.String())
		if now := countFDs(t) - 1; now != open {
			t.Errorf("with %d free descriptors (%v): %d are open, before %d", free, err, now, open)
		}
	}
	if short == 0 {
		t.Error("none found too few descriptors")
	}
}

// The cgroup of an attempt that is not started is removed.
func TestCgroupOfNoStart(t *testing.T) {
	e, h := newExecutor(t, nil)
	dir := t.TempDir() + "/job"
	h.set(func() {
		h.cgroup = dir
		h.prepare = func(Job) error { return os.Mkdir(dir, 0o700) }
	})
	got := await(t, e, submit(t, e, Spec{Dir: strings.Repeat("x", 300)}).ID)
	if _, err := os.Stat(dir); got.State != Failed || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s (%s), and its cgroup: %v", got.State, got.Reason, err)
	}
}

// A supervisor that takes over is paused and drained as the one before was.
func TestPauseOutlivesSupervisor(t *testing.T) {
	e, h := newExecutor(t, nil)
	for _, verb := range []Verb{Pause, Drain} {
		if err := e.ControlExecutor(verb, "me"); err != nil {
			t.Fatal(err)
		}
	}
	die(e)
	e, h = openExecutor(t, e.opts.Config, h, h.items(), nil)
	if s := e.ExecutorStatus(); s.Draining != "drained by me" || s.Paused == "" {
		t.Errorf("%+v", s)
	}
	if err := e.ControlExecutor(Resume, "me"); err != nil {
		t.Fatal(err)
	}
	die(e)
	e, _ = openExecutor(t, e.opts.Config, h, h.items(), nil)
	if s := e.ExecutorStatus(); s.Draining != "" || s.Paused != "" {
		t.Errorf("resumed: %+v", s)
	}
	die(e)
	e, _ = openExecutor(t, e.opts.Config, newFakeHost(), fdstore.NewItems(), nil)
	if s := e.ExecutorStatus(); s.Draining != "" || s.Paused != "" {
		t.Errorf("in a new container: %+v", s)
	}
}
