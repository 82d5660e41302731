package launch

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/jvm/drain"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/supervisor"
	"github.com/stoker-init/stoker/supervisor/incident"
)

// Attacher attaches to JVMs, one attachment per JVM at a time: a second request for the attach socket makes a JVM print a thread dump to
// its output.
type Attacher struct {
	mu   sync.Mutex // guards Busy
	Busy map[int]chan struct{}
}

// NewAttacher returns an Attacher without open attachments.
func NewAttacher() *Attacher { return &Attacher{Busy: map[int]chan struct{}{}} }

// Attach attaches to the JVM of a process. ctx must have a deadline.
func (a *Attacher) Attach(ctx context.Context, p supervisor.Process) (*hotspot.Attached, error) {
	for other := a.begin(p.Pid()); other != nil; other = a.begin(p.Pid()) {
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer a.end(p.Pid())
	return hotspot.Attach(ctx, hotspot.Target{Pid: p.Pid(), Quit: func() error { return p.Signal(syscall.SIGQUIT) }})
}

// begin begins an attachment, or returns a channel that is closed when the current one has ended.
func (a *Attacher) begin(pid int) (other <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if busy := a.Busy[pid]; busy != nil {
		return busy
	}
	a.Busy[pid] = make(chan struct{})
	return nil
}

func (a *Attacher) end(pid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.Busy[pid])
	delete(a.Busy, pid)
}

// EndRequests implements supervisor.Launch.EndRequests for Tomcat. ctx must have a deadline.
func (a *Attacher) EndRequests(ctx context.Context, p supervisor.Process) (summary string, err error) {
	return drain.End(ctx, func() (*hotspot.Attached, error) { return a.attachInHalf(ctx, p) })
}

// attachInHalf attaches to a process if it is a JVM, within half of the time of ctx: the rest is for what follows.
func (a *Attacher) attachInHalf(ctx context.Context, p supervisor.Process) (*hotspot.Attached, error) {
	if err := hotspot.Identify(p.Pid()); err != nil {
		return nil, err // a JVM other than HotSpot would handle a second request as another SIGQUIT
	}
	until, _ := ctx.Deadline()
	half, cancel := context.WithTimeout(ctx, time.Until(until)/2)
	defer cancel()
	return a.Attach(half, p)
}

// ThreadDump returns a thread dump for an incident. ctx must have a deadline.
func (a *Attacher) ThreadDump(ctx context.Context, p supervisor.Process) ([]byte, error) {
	at, err := a.attachInHalf(ctx, p)
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
	if status := new(hotspot.StatusError); errors.As(err, &status) {
		return at.Open(ctx, hotspot.MaxReply, "jcmd", "Thread.print -l")
	}
	return text, err
}
