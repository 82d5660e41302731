package hooks

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/program"
)

// fakeHost runs no programs. The words of a hook's command are what the process does:
// a duration is how long it runs, "exit N" its code, "ignore-term", "say TEXT", "complain TEXT" on stderr, "killed",
// "nostart", "give TEXT" what it writes to STOKER_OUT, "immortal".
type fakeHost struct {
	mu      sync.Mutex
	items   map[string][]byte
	puts    int
	bytes   int // that were put
	alive   map[string]*fakeProcess
	started []string // "TITLE at SECONDS"
	signals []string
	most    int // that lived at once
	begun   time.Time
	dead    bool // the supervisor is: nothing has an effect
	writes  int  // puts and dels after which the supervisor dies; 0: it does not
	env     map[string][]string
}

func newFakeHost() *fakeHost {
	return &fakeHost{items: map[string][]byte{}, alive: map[string]*fakeProcess{}, begun: time.Now(), env: map[string][]string{}}
}

type fakeProcess struct {
	host    atomic.Pointer[fakeHost]
	id      string
	stdout  string
	stderr  string
	ignores bool
	never   bool
	exited  chan struct{}
	once    sync.Once
	exit    proc.Exit
}

func (h *fakeHost) Start(ctx context.Context, spec proc.Spec, title string) (Process, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead {
		r := h.run(spec.ID) // a dead supervisor has no effect
		r.end(proc.Exit{})
		return r, nil
	}
	r := h.run(spec.ID)
	h.started = append(h.started, fmt.Sprintf("%s@%v", strings.TrimPrefix(title, "hook "), time.Since(h.begun).Round(time.Millisecond)))
	h.env[title] = spec.Env
	code, signal, lives := 0, syscall.Signal(0), time.Duration(0)
	for k := 0; k < len(spec.Argv); k++ {
		switch w := spec.Argv[k]; w {
		case "exit":
			k++
			fmt.Sscan(spec.Argv[k], &code)
		case "say":
			k++
			r.stdout = spec.Argv[k]
		case "complain":
			k++
			r.stderr = spec.Argv[k]
		case "killed":
			signal = syscall.SIGKILL
		case "give":
			k++
			for _, kv := range spec.Env {
				if path, ok := strings.CutPrefix(kv, "STOKER_OUT="); ok {
					_ = os.WriteFile(path, []byte(spec.Argv[k]), 0o600)
				}
			}
		case "ignore-term":
			r.ignores = true
		case "immortal":
			r.ignores, r.never = true, true
		case "nostart":
			return nil, &program.StartError{Path: "/x", Step: "execute", Err: syscall.ENOENT}
		default:
			lives, _ = time.ParseDuration(w)
		}
	}
	h.alive[r.id] = r
	h.most = max(h.most, len(h.alive))
	time.AfterFunc(lives, func() { r.end(proc.Exit{Code: code, Signal: signal}) })
	return r, nil
}

func (h *fakeHost) PutJSON(name string, value any, _ ...int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if body, err := json.Marshal(value); err != nil {
		return err
	} else if !h.dead {
		h.items[name] = body
		h.puts++
		h.bytes += len(body)
		h.written()
	}
	return nil
}

// written counts a write, after which the supervisor may die.
func (h *fakeHost) written() {
	if h.writes > 0 {
		h.writes--
		h.dead = h.writes == 0
	}
}

func (h *fakeHost) Delete(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.dead {
		delete(h.items, name)
		h.written()
	}
}

// recovered is what an earlier supervisor has left.
func recovered(items map[string][]byte) Recovered {
	return Recovered{Items: fdstore.Items{Blobs: items, Files: map[string][]int{}}, Processes: map[string]Process{}}
}

// die ends the supervisor; its successor has what it left.
func (h *fakeHost) die() (*fakeHost, Recovered) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = true
	next := newFakeHost()
	next.begun, next.started = h.begun, slices.Clone(h.started)
	past := recovered(maps.Clone(h.items))
	next.items = maps.Clone(h.items)
	for id, r := range h.alive {
		r.host.Store(next)
		next.alive[id] = r
		past.Processes[id] = r
	}
	return next, past
}

func (r *fakeProcess) end(x proc.Exit) {
	r.once.Do(func() {
		r.exit = x
		close(r.exited)
	})
}

func (h *fakeHost) run(id string) *fakeProcess {
	r := &fakeProcess{id: id, exited: make(chan struct{})}
	r.host.Store(h)
	return r
}

func (r *fakeProcess) Exited() <-chan struct{} { return r.exited }
func (r *fakeProcess) Exit() (proc.Exit, bool) {
	select {
	case <-r.exited:
		return r.exit, true
	default:
		return proc.Exit{}, false
	}
}
func (r *fakeProcess) SignalGroup(sig syscall.Signal) error {
	h := r.host.Load()
	h.mu.Lock()
	if _, ended := r.Exit(); !ended {
		h.signals = append(h.signals, fmt.Sprintf("%v@%v", sig, time.Since(h.begun).Round(time.Millisecond)))
	}
	h.mu.Unlock()
	if !r.never && (sig == syscall.SIGKILL || !r.ignores) {
		r.end(proc.Exit{Code: -1, Signal: sig})
	}
	return nil
}
func (r *fakeProcess) Tail(n int) (all, stderr string) {
	all = r.stderr + r.stdout // what is wrong came first
	return all[max(0, len(all)-n):], r.stderr[max(0, len(r.stderr)-n):]
}
func (r *fakeProcess) Done() {
	h := r.host.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.dead {
		delete(h.alive, r.id)
	}
}

// testRunner is a Runner with a fake host, and what it reported.
type testRunner struct {
	*Runner
	h              *fakeHost
	mu             sync.Mutex
	done           []string // "event: hook ok|why, ..."
	failures       []string
	pluginFailures []string
	registry       *Registry
	stopped        bool
}

func newTestRunner(t *testing.T, h *fakeHost, past Recovered, list ...ResolvedHook) *testRunner {
	t.Helper()
	l := &testRunner{h: h, registry: NewRegistry(list, Facts{})}
	l.Runner = NewRunner(Options{Host: h, Recovered: past, Log: hclog.NewNullLogger(), Registry: func() *Registry { return l.registry },
		OnPluginFailure: func(p string, _ lifecycle.Event, why string) { l.note(&l.pluginFailures, p+": "+why) },
		OnFailure: func(o lifecycle.Occurrence, out Outcome) {
			l.note(&l.failures, string(o.Event)+"/"+out.Hook+": "+out.Why)
		},
		OnDone: func(o lifecycle.Occurrence, outs []Outcome) {
			var words []string
			for _, out := range outs {
				if out.OK {
					words = append(words, out.Hook+" ok")
				} else {
					words = append(words, out.Hook+" "+out.Why)
				}
			}
			l.note(&l.done, string(o.Event)+": "+strings.Join(words, ", "))
		}})
	return l
}

func (l *testRunner) note(to *[]string, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stopped {
		*to = append(*to, text)
	}
}

// newHook makes a hook of words for the fake host.
func newHook(e lifecycle.Event, name, command string, more ...func(*ResolvedHook)) ResolvedHook {
	h := Hook{Name: name, Command: strings.Fields(command)}
	b := ResolvedHook{Hook: h, Event: e, Source: "test"}
	for _, f := range more {
		f(&b)
	}
	b.Hook = b.WithDefaults()
	return b
}

func onFailure(p string) func(*ResolvedHook)      { return func(b *ResolvedHook) { b.OnFailure = p } }
func timeout(d time.Duration) func(*ResolvedHook) { return func(b *ResolvedHook) { b.Timeout = d } }
func parallel(b *ResolvedHook)                    { b.Parallel = true }
func services(names ...string) func(*ResolvedHook) {
	return func(b *ResolvedHook) { b.Services = names }
}
func plugin(name string) func(*ResolvedHook) {
	return func(b *ResolvedHook) { b.Plugin, b.Optional = name, true }
}
func share(s float64) func(*ResolvedHook)  { return func(b *ResolvedHook) { b.Share = s } }
func atEnd(end string) func(*ResolvedHook) { return func(b *ResolvedHook) { b.When.End = end } }
func of(e lifecycle.Event, start uint64) lifecycle.Occurrence {
	return lifecycle.Occurrence{Event: e, Service: "app", Start: start, At: time.Now()}
}
func wantEqual(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// byEvent makes lists of hooks.
func byEvent(lists map[lifecycle.Event][]Hook) (out ByEvent) {
	for e, list := range lists {
		out.Lists[e.Index()] = list
	}
	return out
}
