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

// Attacher attaches to JVMs, one attachment per JVM at a time: a second request for the attach socket makes a JVM print a thread dump to
// its output.
type Attacher struct {
	mu   sync.Mutex // guards Busy
	Busy map[int]*attachSlot
}

// attachSlot serialises the attachments to one JVM.
type attachSlot struct {
	token chan struct{} // held by the attached caller
	want  int
}

// NewAttacher returns an Attacher without open attachments.
func NewAttacher() *Attacher { return &Attacher{Busy: map[int]*attachSlot{}} }

// Attach attaches to the JVM of a process. ctx must have a deadline.
func (a *Attacher) Attach(ctx context.Context, p supervisor.Process) (*hotspot.Attached, error) {
	t := a.acquire(p.Pid())
	defer a.release(p.Pid(), t)
	select {
	case <-t.token:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { t.token <- struct{}{} }()
	return hotspot.Attach(ctx, hotspot.Target{Pid: p.Pid(), Quit: func() error { return p.Signal(syscall.SIGQUIT) }})
}

func (a *Attacher) acquire(pid int) *attachSlot {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.Busy[pid]
	if t == nil {
		t = &attachSlot{token: make(chan struct{}, 1)}
		t.token <- struct{}{}
		a.Busy[pid] = t
	}
	t.want++
	return t
}

func (a *Attacher) release(pid int, t *attachSlot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.want--; t.want == 0 {
		delete(a.Busy, pid)
	}
}

// AsUserOf returns a function that retries a call with the rights of the process if it is not permitted.
func AsUserOf(p supervisor.Process) func(func() error) error {
	return func(look func() error) error { return asuser.RetryAs(p.Pid(), look) }
}

// attachWithinHalf attaches within half of the remaining time and leaves the rest for the command.
func (a *Attacher) attachWithinHalf(ctx context.Context, p supervisor.Process) (*hotspot.Attached, error) {
	if until, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(until)/2)
		defer cancel()
	}
	return a.Attach(ctx, p)
}

// ThreadDump returns a thread dump for an incident.
func (a *Attacher) ThreadDump(ctx context.Context, p supervisor.Process) ([]byte, error) {
	if err := hotspot.Identify(p.Pid(), AsUserOf(p)); err != nil {
		return nil, err // a JVM other than HotSpot would handle a second request as another SIGQUIT
	}
	at, err := a.attachWithinHalf(ctx, p)
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
		err = nil // a partial dump is still useful
	}
	return dump, err
}

// OpenThreads requests a thread dump with locks, and with the extended thread information of Java 11 and later.
func OpenThreads(ctx context.Context, at *hotspot.Attached) (io.ReadCloser, error) {
	text, err := at.Open(ctx, hotspot.MaxReply, "jcmd", "Thread.print -l -e")
	if refused := new(hotspot.StatusError); errors.As(err, &refused) {
		return at.Open(ctx, hotspot.MaxReply, "jcmd", "Thread.print -l")
	}
	return text, err
}
