package launch

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Attacher attaches to JVMs, to each for one at a time: one that is asked for its
// socket twice dumps its threads to its output.
type Attacher struct {
	mu   sync.Mutex // guards busy
	Busy map[int]*turns
}

// turns serialises the attachments to one JVM.
type turns struct {
	token chan struct{} // taken by the one that attaches
	want  int
}

// NewAttacher returns an Attacher that lets one attach to a JVM at a time.
func NewAttacher() *Attacher { return &Attacher{Busy: map[int]*turns{}} }

// Attach attaches to the JVM that is a process. ctx must have an end.
func (a *Attacher) Attach(ctx context.Context, p supervisor.Process) (*hotspot.Attached, error) {
	t := a.enter(p.Pid())
	defer a.leave(p.Pid(), t)
	select {
	case <-t.token:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { t.token <- struct{}{} }()
	return hotspot.Attach(ctx, hotspot.Target{Pid: p.Pid(), Quit: func() error { return p.Signal(syscall.SIGQUIT) }})
}

func (a *Attacher) enter(pid int) *turns {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.Busy[pid]
	if t == nil {
		t = &turns{token: make(chan struct{}, 1)}
		t.token <- struct{}{}
		a.Busy[pid] = t
	}
	t.want++
	return t
}

func (a *Attacher) leave(pid int, t *turns) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.want--; t.want == 0 {
		delete(a.Busy, pid)
	}
}

// AsUserOf looks as a process's user where we may not.
func AsUserOf(p supervisor.Process) func(func() error) error {
	return func(look func() error) error { return asuser.Try(p.Pid(), look) }
}

// attachSoon attaches in half of the time: the other half is for what follows.
func (a *Attacher) attachSoon(ctx context.Context, p supervisor.Process) (*hotspot.Attached, error) {
	if until, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(until)/2)
		defer cancel()
	}
	return a.Attach(ctx, p)
}

// ThreadDump makes one for an incident.
func (a *Attacher) ThreadDump(ctx context.Context, p supervisor.Process) ([]byte, error) {
	if err := hotspot.Identify(p.Pid(), AsUserOf(p)); err != nil {
		return nil, err // another JVM than HotSpot would take it for a second wish
	}
	at, err := a.attachSoon(ctx, p)
	if err != nil {
		return nil, err
	}
	text, err := OpenThreads(ctx, at)
	if err != nil {
		return nil, err
	}
	defer text.Close()
	dump, err := io.ReadAll(io.LimitReader(text, incident.MaxThreadDump))
	if len(dump) > 0 {
		err = nil // a part is better than nothing
	}
	return dump, err
}

// OpenThreads asks for the threads with their locks, and with what a JVM from 11 on
// knows of each besides.
func OpenThreads(ctx context.Context, at *hotspot.Attached) (io.ReadCloser, error) {
	text, err := at.Open(ctx, hotspot.MaxReply, "jcmd", "Thread.print -l -e")
	if refused := new(hotspot.StatusError); errors.As(err, &refused) {
		return at.Open(ctx, hotspot.MaxReply, "jcmd", "Thread.print -l")
	}
	return text, err
}
