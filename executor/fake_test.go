package executor

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"golang.org/x/sys/unix"
)

// deadline bounds every wait of a test.
const deadline = 20 * time.Second

// fakeProcess is a process that ends when the test says so.
type fakeProcess struct {
	spec    proc.Spec
	files   [3]*os.File
	signals chan syscall.Signal
	exited  chan struct{}
	onKill  func(*fakeProcess, syscall.Signal) // nil: signals are only noted

	mu          sync.Mutex
	exit        proc.Exit
	members     []int
	acked, done bool
	gone        chan struct{} // closed by Done
}

func newFakeProcess() *fakeProcess {
	return &fakeProcess{signals: make(chan syscall.Signal, 100), exited: make(chan struct{}), gone: make(chan struct{})}
}

func (p *fakeProcess) Pid() int                { return 4242 }
func (p *fakeProcess) Exited() <-chan struct{} { return p.exited }

func (p *fakeProcess) Exit() (proc.Exit, bool) {
	select {
	case <-p.exited:
		return p.exit, true
	default:
		return proc.Exit{}, false
	}
}

func (p *fakeProcess) SignalGroup(sig syscall.Signal) error {
	p.mu.Lock()
	if sig == syscall.SIGKILL {
		p.members = nil
	}
	p.mu.Unlock()
	select {
	case p.signals <- sig:
	default:
	}
	if p.onKill != nil {
		p.onKill(p, sig)
	}
	return nil
}

func (p *fakeProcess) Members() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.members
}

func (p *fakeProcess) Ack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acked = true
}

func (p *fakeProcess) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.done {
		p.done = true
		close(p.gone)
	}
}

// end ends it; only the first call counts.
func (p *fakeProcess) end(x proc.Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.exited:
		return
	default:
	}
	p.exit = x
	closeAll(p.files[:])
	close(p.exited)
}

func (p *fakeProcess) signal(t *testing.T) syscall.Signal {
	t.Helper()
	return receive(t, p.signals, "a signal")
}

// receive waits for an element of a channel.
func receive[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(deadline):
		t.Fatalf("%s did not come", what)
	}
	return v
}

// poll waits until ok.
func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(deadline); !ok(); unix.Poll(nil, 1) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// fakeHost starts fake processes, and keeps what the executor has in the store.
type fakeHost struct {
	started chan *fakeProcess

	mu       sync.Mutex
	count    map[string]int          // of starts, by the first argument
	room     int64                   // 0: no limit
	oomKills uint64                  // what OOMKills returns
	startErr error                   // what Start returns
	prepare  func(Job) error         // nil: always fine
	cgroup   string                  // of each job; empty: one that is not there
	blobs    map[string][]byte       // of the store
	fds      map[string][]int        // of the store
	events   []lifecycle.Occurrence  // published
	onStart  func(p *fakeProcess)    // nil: it runs until the test ends it
	live     map[string]*fakeProcess // by ID
}

func newFakeHost() *fakeHost {
	return &fakeHost{started: make(chan *fakeProcess, 1000), count: map[string]int{}, blobs: map[string][]byte{}, fds: map[string][]int{},
		live: map[string]*fakeProcess{}}
}

func (h *fakeHost) Prepare(job Job, workspace string) (Launch, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.prepare != nil {
		if err := h.prepare(job); err != nil {
			return Launch{}, err
		}
	}
	launch := Launch{Spec: proc.Spec{Env: []string{"HOME=" + workspace}}}
	launch.Spec.Cgroups = []string{orElse(h.cgroup, "/cgroup/of/"+job.ID.String())}
	return launch, nil
}

func (h *fakeHost) Start(_ context.Context, spec proc.Spec) (Process, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.startErr != nil {
		return nil, h.startErr
	}
	h.count[spec.Argv[0]]++
	p := newFakeProcess()
	p.spec = spec
	for k, f := range spec.Stdio.Files {
		if f == nil {
			continue
		}
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		p.files[k] = os.NewFile(uintptr(fd), "stdio")
	}
	h.live[spec.ID] = p
	if h.onStart != nil {
		h.onStart(p)
	}
	h.started <- p
	return p, nil
}

func (h *fakeHost) Room() (int64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.room, h.room > 0
}

func (h *fakeHost) OOMKills(cgroups []string) (uint64, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.oomKills, len(cgroups) == 1
}

func (h *fakeHost) Publish(o lifecycle.Occurrence) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, o)
}

func (h *fakeHost) Put(name string, blob []byte, fds ...int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.blobs[name] = blob
	h.fds[name] = nil
	for _, fd := range fds {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		h.fds[name] = append(h.fds[name], own)
	}
	return nil
}

func (h *fakeHost) Delete(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, fd := range h.fds[name] {
		unix.Close(fd)
	}
	delete(h.blobs, name)
	delete(h.fds, name)
}

// starts is how often a program was started; empty: any.
func (h *fakeHost) starts(program string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, count := range h.count {
		if program == "" || name == program {
			n += count
		}
	}
	return n
}

// set changes the host.
func (h *fakeHost) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// next waits for the next start.
func (h *fakeHost) next(t *testing.T) *fakeProcess {
	t.Helper()
	return receive(t, h.started, "a start")
}

// items are what the next supervisor gets.
func (h *fakeHost) items() fdstore.Items {
	h.mu.Lock()
	defer h.mu.Unlock()
	items := fdstore.NewItems()
	for name, blob := range h.blobs {
		items.Add(name, blob, h.fds[name])
		delete(h.fds, name)
	}
	return items
}

func testConfig(dir string) Config {
	return Config{Slots: 4, Queue: 10, Journal: dir, Timeout: time.Hour, StopGrace: time.Hour, OutputCap: "64KiB", WorkspaceCap: "1MiB",
		Brake: 5, Classes: map[string]Class{"one": {Slots: 1, Queue: 2}, "high": {Priority: 50}}}
}

// newExecutor returns an executor with a new journal.
func newExecutor(t *testing.T, change func(*Config)) (*Executor, *fakeHost) {
	t.Helper()
	c := testConfig(t.TempDir())
	if change != nil {
		change(&c)
	}
	return openExecutor(t, c, newFakeHost(), fdstore.NewItems(), nil)
}

// openExecutor returns an executor that ends with the test.
func openExecutor(t *testing.T, c Config, h *fakeHost, items fdstore.Items, processes map[string]Process) (*Executor, *fakeHost) {
	t.Helper()
	e := New(Options{Config: c, Host: h, Store: h, Log: hclog.NewNullLogger(), Items: items, Processes: processes})
	t.Cleanup(func() { die(e) })
	return e, h
}

// errDead makes an executor useless.
var errDead = errors.New("the supervisor is dead")

// die leaves the journal and the processes as kill -9 does.
func die(e *Executor) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.journal != nil {
		e.journal.Close()
	}
	e.wake.Stop()
	e.journal, e.unavailable, e.lastOpen = nil, errDead, time.Now().Add(time.Hour)
}

func submit(t *testing.T, e *Executor, spec Spec) Job {
	t.Helper()
	if spec.Command == nil {
		spec.Command = []string{"a"}
	}
	job, created, err := e.Submit(t.Context(), spec, "tester")
	if err != nil || !created {
		t.Fatalf("submit: created %v, %v", created, err)
	}
	return job
}

func await(t *testing.T, e *Executor, id ID) Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	job, err := e.AwaitJob(ctx, id, nil)
	if err != nil {
		t.Fatalf("await %s: %v (%+v)", id, err, job)
	}
	return job
}

func want(t *testing.T, job Job, s State) {
	t.Helper()
	if job.State != s {
		t.Fatalf("%s, want %s: %s (%+v)", job.State, s, job.Reason, job.Exit)
	}
}

// awaitState waits for a state that is not final.
func awaitState(t *testing.T, e *Executor, id ID, s State) {
	t.Helper()
	poll(t, string(s), func() bool {
		job, err := e.Job(id.String())
		return err == nil && job.State == s
	})
}
