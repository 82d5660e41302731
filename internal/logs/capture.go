package logs

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Streams of a log.
const (
	Stdout = 1
	Stderr = 2
)

// Capture reads one process's stdout and stderr, or the one pipe of both. The
// write ends may be held by descendants long after it.
type Capture struct {
	registry *Registry           // nil: the log is not late
	id       string              // of the process
	late     *Options            // nil: the log is not the process's own
	log      atomic.Pointer[Log] // nil: late, and nothing was written yet
	ends     []*os.File
	raw      []syscall.RawConn
	lost     lostOutput  // by the init, in total; guarded by log.mu
	freed    atomic.Bool // it never waits for the reader of the output

	mu    sync.Mutex // guards what follows
	open  int        // ends that have not ended
	after func()     // called when none is left

	// making guards what follows, and the making of log. With mu held the ends are
	// closed, which waits for whoever is making it.
	making   sync.Mutex
	giveUp   func() // gives up the late log; nil: it is not made
	given    bool   // it was given up, or is to be once it is made
	toldLost bool   // that it cannot be made
}

// pipeSize lets a service write for a while when nobody reads: 100 ms at 10
// MB/s. The kernel grants it to root, and to others up to their quota.
const pipeSize = 1 << 20

// Source says where captured output goes: Log, or Late for a log that is made when the
// process writes something for the first time (a log costs four memfds and five messages
// to the init, and most short commands write nothing).
type Source struct {
	ID   string // of the process, and of its late log
	Log  *Log
	Late *Options
}

// NewCapture makes one pipe or two, and gives the child's ends.
func (r *Registry) NewCapture(s Source, count int) (p *Capture, writers []*os.File, err error) {
	var readers []int
	for range count {
		fds := make([]int, 2)
		if err := unix.Pipe2(fds, unix.O_CLOEXEC); err != nil {
			for k, fd := range readers {
				unix.Close(fd)
				writers[k].Close()
			}
			return nil, nil, err
		}
		unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
		readers, writers = append(readers, fds[0]), append(writers, os.NewFile(uintptr(fds[1]), "output"))
	}
	p, err = r.capture(s, readers)
	return p, writers, err
}

// OpenCapture takes over read ends from the store.
func (r *Registry) OpenCapture(s Source, fds []int) (*Capture, error) {
	p, err := r.capture(s, fds)
	if err == nil && s.Log != nil {
		p.join(s.Log)
	}
	return p, err
}

// capture reads from pipes.
func (r *Registry) capture(s Source, fds []int) (*Capture, error) {
	p := &Capture{registry: r, id: s.ID, late: s.Late, open: len(fds)}
	p.log.Store(s.Log)
	if s.Late != nil && s.Log != nil {
		p.giveUp = func() { r.Retire(s.Log) }
	}
	for _, fd := range fds {
		unix.SetNonblock(fd, true)
		end := os.NewFile(uintptr(fd), "output")
		raw, err := end.SyscallConn()
		if err != nil {
			return nil, err
		}
		p.ends, p.raw = append(p.ends, end), append(p.raw, raw)
	}
	return p, nil
}

// Fds are for the bag. They stay ours.
func (p *Capture) Fds() []int {
	out := make([]int, len(p.ends))
	for k := range p.ends {
		p.raw[k].Control(func(fd uintptr) { out[k] = int(fd) })
	}
	return out
}

// Run captures until every writer is gone. Its goroutines end then, or with close.
func (p *Capture) Run() {
	if l := p.log.Load(); l != nil {
		p.join(l)
	}
	for k := range p.ends {
		go func() {
			for {
				n, err := 0, error(nil)
				waitErr := p.raw[k].Read(func(fd uintptr) bool {
					n, err = p.capture(int(fd), k+1, p.freed.Load())
					return err != unix.EAGAIN
				})
				if err == unix.EINTR {
					continue
				}
				if err == errFull && waitErr == nil {
					p.awaitRoom()
					continue
				}
				if n == chunkSize { // a flood: whoever passes it on has its turn, else most of it would be dropped
					runtime.Gosched()
				}
				if waitErr == nil && err != nil {
					err = p.discard(k, err)
				}
				if waitErr != nil || n == 0 && err == nil || err != nil {
					break
				}
			}
			p.ended()
		}()
	}
}

// join makes the pipes some of those that the log is filled from.
func (p *Capture) join(l *Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pipes[p] = true
	l.toldLost = false
}

// discard is Log.discard of an end. nil says that there may be more.
func (p *Capture) discard(k int, cause error) error {
	var n int
	var err error
	if ctlErr := p.raw[k].Control(func(fd uintptr) { n, err = p.cast(int(fd), cause) }); ctlErr != nil {
		return ctlErr
	}
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil || n == 0 {
		return io.EOF
	}
	return nil
}

// awaitRoom lets the pipe fill, and so the service wait, until the reader of the
// output has read, is gone, or nobody is to wait for it any more.
func (p *Capture) awaitRoom() {
	l := p.log.Load()
	l.mu.Lock()
	if p.freed.Load() || l.closed || !l.full() {
		l.mu.Unlock()
		return
	}
	if l.room == nil {
		l.room = make(chan struct{})
	}
	room := l.room
	l.mu.Unlock()
	<-room // closed by makeRoom and by setFree
}

// Free ends all waiting for the reader of the output: from now on its lines
// are dropped rather than that their writer is held up.
func (p *Capture) Free() {
	p.freed.Store(true)
	l := p.log.Load()
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room != nil { // who still has to wait makes another
		close(l.room)
		l.room = nil
	}
}

// ended notes that one end has no writer left.
func (p *Capture) ended() {
	p.mu.Lock()
	p.open--
	var after func()
	if p.open == 0 {
		after = p.after
		p.settle()
	}
	p.mu.Unlock()
	if after != nil {
		after()
	}
}

// settle closes the ends and moves what was lost into the log's own count.
func (p *Capture) settle() {
	for _, f := range p.ends {
		f.Close()
	}
	l := p.log.Load()
	if l == nil {
		return
	}
	l.mu.Lock()
	l.ix.lostBytes += p.lost.bytes
	l.ix.lostLines += p.lost.lines
	p.lost = lostOutput{}
	delete(l.pipes, p)
	if l.closed && len(l.pipes) == 0 {
		l.release()
	}
	if l.retired {
		poke(l.poke) // whoever passes on may be waiting for it
	}
	l.mu.Unlock()
}

// AtEnd says whether every writer is gone.
func (p *Capture) AtEnd() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open == 0
}

// WhenEnded calls f once every writer is gone.
func (p *Capture) WhenEnded(f func()) {
	p.mu.Lock()
	if p.open > 0 {
		p.after, f = f, nil
	}
	p.mu.Unlock()
	if f != nil {
		f()
	}
}

// Flush takes what is in the pipes now: what a process wrote before it ended is
// in the log before its exit is told. A descendant that goes on writing cannot
// hold this up for more than a pipe's worth. What cannot be kept is counted.
func (p *Capture) Flush() {
	for k := range p.ends {
		p.raw[k].Control(func(fd uintptr) {
			for total := 0; total < 2*pipeSize; {
				n, err := p.capture(int(fd), k+1, true)
				if n <= 0 && err != nil && err != unix.EAGAIN && err != unix.EINTR {
					n, err = p.cast(int(fd), err)
				}
				if n <= 0 || err != nil {
					return
				}
				total += n
			}
		})
	}
}

// Close gives the pipes up.
func (p *Capture) Close() {
	p.Free()
	for _, f := range p.ends {
		f.Close()
	}
}

// Inodes are the names of the pipes; none when they have ended.
func (p *Capture) Inodes() []string {
	if p.AtEnd() {
		return nil
	}
	var out []string
	for k := range p.ends {
		_ = p.raw[k].Control(func(fd uintptr) { // an error: closed meanwhile
			var st unix.Stat_t
			if unix.Fstat(int(fd), &st) == nil {
				out = append(out, fmt.Sprintf("pipe:[%d]", st.Ino))
			}
		})
	}
	return out
}
