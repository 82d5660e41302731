package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/fdstore"
	"golang.org/x/sys/unix"
)

// keptProcess is one that an earlier supervisor has started.
type keptProcess struct {
	*fakeProcess
	terminal *os.File
	done     chan struct{} // closed by Done
	members  []int
}

func (p *keptProcess) Terminal() *os.File { return p.terminal }
func (p *keptProcess) Done()              { close(p.done) }
func (p *keptProcess) SignalGroup(sig syscall.Signal) error {
	if _, exited := p.Exit(); exited || sig != p.endsAt && sig != unix.SIGKILL {
		return nil
	}
	return p.fakeProcess.SignalGroup(p.endsAt)
}
func (p *keptProcess) Members() []int {
	if _, exited := p.Exit(); exited {
		return nil
	}
	return p.members
}

// keptStore notes which items are gone.
type keptStore struct {
	fakeStore
	mu   sync.Mutex
	gone map[string]bool
}

func (s *keptStore) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone[name] = true
}

// brokenRecorder cannot go on with a recording.
type brokenRecorder struct{ panics bool }

func (r brokenRecorder) Create(Info) (Recording, error) { return nil, errors.New("not here") }
func (r brokenRecorder) Resume(string) (Recording, error) {
	if r.panics {
		panic("a fault")
	}
	return nil, errors.New("no disk")
}

// keptItem is what an earlier supervisor has left of a session.
type keptItem struct {
	blob  string // instead of the record
	tty   bool
	ended bool
	rec   string   // its recording
	files []string // as in the record
	fds   int      // fewer descriptors than the record has
}

// item makes the descriptors of an item.
func (i keptItem) item(t *testing.T, streams bool) (blob []byte, fds []int) {
	t.Helper()
	v := saved{Info: Info{ID: "abc", By: tester().Name, Started: time.Now(), Recording: i.rec,
		Spec: Spec{TTY: i.tty, Stdin: true, Keep: Duration(10 * time.Millisecond)}}, Files: i.files}
	if i.ended {
		v.Exit = &Exit{}
	}
	blob, err := json.Marshal(v)
	for _, name := range i.files[:len(i.files)-i.fds] {
		var pipe [2]int
		if err == nil {
			err = unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK)
		}
		keep := pipe[0]
		switch name {
		case "stdin", pipeIn:
			keep = pipe[1]
			unix.Close(pipe[0])
		case ringFile:
			unix.Close(pipe[0])
			unix.Close(pipe[1])
			r, failed := newRing(1, streams)
			if err = failed; err == nil {
				keep = r.fd
				r.h.taken = 7
				r.release()
			}
		default:
			unix.Close(pipe[1])
		}
		fds = append(fds, keep)
	}
	if err != nil {
		t.Fatal(err)
	}
	if i.blob != "" {
		blob = []byte(i.blob)
	}
	return blob, fds
}

// keptItems are items of every form, also of those that there should not be.
func keptItems() map[string]keptItem {
	terminal, pipes := []string{ringFile, pipeOut, pipeIn}, []string{ringFile, "stdout", "stderr", "stdin"}
	return map[string]keptItem{
		"none":                           {},
		"terminal":                       {tty: true, files: terminal},
		"terminal, ended":                {tty: true, ended: true, files: terminal[:1]},
		"terminal, ended, all files":     {tty: true, ended: true, files: terminal},
		"terminal without pipe":          {tty: true, files: terminal[:1]},
		"terminal with half of its pipe": {tty: true, files: terminal[:2]},
		"terminal without ring":          {tty: true, files: terminal[1:]},
		"pipes":                          {files: pipes},
		"pipes, no input":                {files: pipes[:3]},
		"pipes, ended":                   {ended: true, files: pipes[:1]},
		"pipes, ended, all files":        {ended: true, files: pipes},
		"only the ring":                  {files: pipes[:1]},
		"pipes without ring":             {files: pipes[1:]},
		"pipes of a terminal":            {files: terminal},
		"files of both":                  {tty: true, files: append(terminal, pipes[1:]...)},
		"ended without ring":             {ended: true},
		"unknown files":                  {files: append(pipes, "news", "")},
		"files twice":                    {files: append(pipes, pipes...)},
		"a descriptor is missing":        {files: pipes, fds: 1},
		"no descriptors":                 {files: pipes, fds: 4},
		"no JSON":                        {blob: "{", files: pipes},
		"null":                           {blob: "null", files: pipes},
		"other types":                    {blob: `{"Files":[1,2,3,4],"Identity":7}`, files: pipes},
		"recorded":                       {rec: "x.cast", files: pipes},
		"recorded terminal":              {tty: true, rec: "x.cast", files: terminal},
	}
}

// keptProcesses are the states of a process; nil: there is none.
func keptProcesses(t *testing.T) map[string]func() *keptProcess {
	master := func() *os.File {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		return r
	}
	running := func(terminal *os.File) *keptProcess {
		p := newFakeProcess(unix.SIGHUP)
		return &keptProcess{p, terminal, make(chan struct{}), []int{p.Pid()}}
	}
	return map[string]func() *keptProcess{
		"gone":             func() *keptProcess { return nil },
		"running":          func() *keptProcess { return running(master()) },
		"without terminal": func() *keptProcess { return running(nil) },
		"exited": func() *keptProcess {
			p := running(master())
			close(p.exited)
			return p
		},
	}
}

// TestAdopt: whatever an earlier supervisor has left, the next one starts, and nothing is left of it at the end.
func TestAdopt(t *testing.T) {
	for item, i := range keptItems() {
		for process, makeProcess := range keptProcesses(t) {
			for _, recorder := range []Recorder{nil, brokenRecorder{}, brokenRecorder{panics: true}} {
				if i.rec == "" && recorder != nil {
					continue
				}
				t.Run(item+", process "+process, func(t *testing.T) {
					t.Parallel()
					adoptAndStop(t, i, makeProcess(), recorder)
				})
			}
		}
	}
}

func adoptAndStop(t *testing.T, i keptItem, p *keptProcess, recorder Recorder) {
	var out lockedBuffer
	store := &keptStore{gone: map[string]bool{}}
	o := Options{Config: testConfig(), Host: fakeHost{}, Store: store, Items: fdstore.NewItems(), Processes: map[string]Process{},
		Recorder: recorder, Log: hclog.New(&hclog.LoggerOptions{Output: &out})}
	var fds []int
	if i.files != nil || i.ended {
		var blob []byte
		blob, fds = i.item(t, !i.tty)
		o.Items.Add(itemPrefix+"abc", blob, fds)
	}
	if p != nil {
		o.Processes[IDPrefix+"abc"] = p
		defer p.terminal.Close() // a nil file is no error that matters
	}
	m := New(o)
	if r, ok := recorder.(brokenRecorder); strings.Contains(out.String(), "panic") != (ok && r.panics) {
		t.Errorf("it panicked: %s", out.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m.Stop(ctx)
	defer func() {
		if got := m.Metrics(); got.In != 0 || got.Out != 0 {
			t.Errorf("what an earlier supervisor has counted counts again: %+v", got)
		}
	}()
	if p != nil {
		select {
		case <-p.done:
		case <-ctx.Done():
			t.Fatalf("its process is not done with: %s", out.String())
		}
	}
	pollUntil(t, "it is still there", func() bool {
		store.mu.Lock()
		defer store.mu.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.sessions) == 0 && len(m.open) == 0 && (fds == nil || store.gone[itemPrefix+"abc"])
	})
}

// TestAdoptUnrecorded: a session whose recording cannot be gone on with ends where recordings are required.
func TestAdoptUnrecorded(t *testing.T) {
	for mode, want := range map[string]string{
		RecordingRequired: "it cannot be recorded any more: no disk",
		RecordingOn:       "the container stops",
	} {
		audit := &auditLog{}
		p := &keptProcess{newFakeProcess(unix.SIGHUP), nil, make(chan struct{}), nil}
		o := Options{Config: testConfig(), Host: fakeHost{}, Store: fakeStore{}, Items: fdstore.NewItems(), Recorder: brokenRecorder{},
			Processes: map[string]Process{IDPrefix + "abc": p}, Auditor: audit, Log: hclog.NewNullLogger()}
		o.Config.Recording.Mode = mode
		blob, fds := keptItem{rec: "x.cast", files: []string{ringFile, "stdout", "stderr"}}.item(t, true)
		o.Items.Add(itemPrefix+"abc", blob, fds)
		m := New(o)
		m.Stop(t.Context())
		<-p.done
		if len(audit.lines) != 1 || audit.lines[0] != "end "+want {
			t.Errorf("%s: %q", mode, audit.lines)
		}
	}
}

// pollUntil waits for a condition.
func pollUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(10 * time.Second); !ok(); <-tick.C {
		if time.Now().After(until) {
			t.Fatal(what)
		}
	}
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
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
