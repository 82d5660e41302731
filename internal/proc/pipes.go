package proc

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/stoker-init/stoker/internal/procfs"
	"golang.org/x/sys/unix"
)

// Streams of a log.
const (
	Stdout = 1
	Stderr = 2
)

// pipes are the read ends of one process's stdout and stderr, or the one of both. The
// write ends may be held by descendants long after it.
type pipes struct {
	log  atomic.Pointer[Log] // nil: late, and nothing was written yet
	late *lateLog            // nil: the log is not the process's own
	ends []*os.File
	raw  []syscall.RawConn
	lost lostOutput  // by the init, in total; guarded by log.mu
	free atomic.Bool // it never waits for the reader of the output

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

// newPipes makes one pipe or two, and gives the child's ends. One of l and late is not nil.
func newPipes(l *Log, late *lateLog, count int) (p *pipes, writers []*os.File, err error) {
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
	p, err = openPipes(l, late, readers)
	return p, writers, err
}

// openPipes takes over read ends, new ones or from the bag.
func openPipes(l *Log, late *lateLog, fds []int) (*pipes, error) {
	p := &pipes{late: late, open: len(fds)}
	p.log.Store(l)
	if late != nil && l != nil {
		p.giveUp = func() { late.m.Retire(l) }
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

// fds are for the bag. They stay ours.
func (p *pipes) fds() []int {
	out := make([]int, len(p.ends))
	for k := range p.ends {
		p.raw[k].Control(func(fd uintptr) { out[k] = int(fd) })
	}
	return out
}

// run captures until every writer is gone. Its goroutines end then, or with close.
func (p *pipes) run() {
	if l := p.log.Load(); l != nil {
		p.join(l)
	}
	for k := range p.ends {
		go func() {
			for {
				n, err := 0, error(nil)
				waitErr := p.raw[k].Read(func(fd uintptr) bool {
					n, err = p.capture(int(fd), k+1, p.free.Load())
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
func (p *pipes) join(l *Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pipes[p] = true
	l.toldLost = false
}

// discard is Log.discard of an end. nil says that there may be more.
func (p *pipes) discard(k int, cause error) error {
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
func (p *pipes) awaitRoom() {
	l := p.log.Load()
	l.mu.Lock()
	if p.free.Load() || l.closed || !l.full() {
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

// setFree ends all waiting for the reader of the output: from now on its lines
// are dropped rather than that their writer is held up.
func (p *pipes) setFree() {
	p.free.Store(true)
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

// FreeOutput is for a process that is to be stopped: with LogOptions.Block it
// does not wait any more for whoever reads its output.
func (p *Process) FreeOutput() {
	if p.pipes != nil {
		p.pipes.setFree()
	}
}

// ended notes that one end has no writer left.
func (p *pipes) ended() {
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
func (p *pipes) settle() {
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

// atEnd says whether every writer is gone.
func (p *pipes) atEnd() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open == 0
}

// whenEnded calls f once every writer is gone.
func (p *pipes) whenEnded(f func()) {
	p.mu.Lock()
	if p.open > 0 {
		p.after, f = f, nil
	}
	p.mu.Unlock()
	if f != nil {
		f()
	}
}

// flush takes what is in the pipes now: what a process wrote before it ended is
// in the log before its exit is told. A descendant that goes on writing cannot
// hold this up for more than a pipe's worth. What cannot be kept is counted.
func (p *pipes) flush() {
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

// close gives the pipes up.
func (p *pipes) close() {
	p.setFree()
	for _, f := range p.ends {
		f.Close()
	}
}

// writtenBy says whether a process has one of the pipes as its stdout or stderr.
func (p *pipes) writtenBy(pid int) bool {
	var want []procfs.Socket
	for _, fd := range p.fds() {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil {
			want = append(want, procfs.Socket{Inode: fmt.Sprintf("pipe:[%d]", st.Ino)})
		}
	}
	found, err := ownsSocket(pid, want)
	return err == nil && found
}
