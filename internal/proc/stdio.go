package proc

import (
	"fmt"
	"os"
	"syscall"

	"github.com/stoker-init/stoker/internal/asuser"
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// StdioMode says what the standard streams of a process are.
type StdioMode int

// The modes of Stdio.
const (
	Discard StdioMode = iota // /dev/null
	Inherit                  // stdout and stderr are stoker's own
	Capture                  // stdout and stderr go to a log
	Pty                      // all three are a terminal, whose other side is Process.Terminal
	Files                    // all three are Stdio.Files
)

// Stdio says what a process has as stdin, stdout and stderr.
type Stdio struct {
	Mode StdioMode
	// InheritStdin makes stdin stoker's own in the modes Inherit and Capture. Otherwise it
	// is /dev/null.
	InheritStdin bool
	// Socket is a listening socket as stdin, as inetd passes it, which Java returns as System.inheritedChannel(); nil: none. It stays
	// the caller's.
	Socket *os.File
	Log    *logs.Log // of Capture
	// OwnLog is for Capture without a Log: the process gets a log of its own, with its ID as
	// the name. It is made at the first output and retired with Done.
	OwnLog *logs.Options
	// Merge captures both streams through one pipe: what is written keeps its order, and
	// all of it is stdout's.
	Merge bool
	// Files are stdin, stdout and stderr in the mode Files; nil: /dev/null. They stay the caller's.
	Files [3]*os.File
	// Rows and Columns are the first size of the terminal of Pty; 0: 24 and 80.
	Rows, Columns uint16
}

// streams are the standard streams of a child that is being started.
type streams struct {
	child [3]uintptr
	files []*os.File // the child's side, which is closed after the start
}

// openStreams opens what the child gets as descriptors 0 to 2.
func (p *Process) openStreams(spec *Spec) (*streams, error) {
	s := &streams{}
	if spec.Stdio.Mode == Pty {
		slave, err := p.openTerminal(spec)
		if err != nil {
			return s, err
		}
		s.files = []*os.File{slave}
		s.child = [3]uintptr{slave.Fd(), slave.Fd(), slave.Fd()}
		return s, nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return s, fmt.Errorf("cannot start %q: cannot open %s: %w", spec.ID, os.DevNull, err)
	}
	s.files = []*os.File{null}
	s.child = [3]uintptr{null.Fd(), null.Fd(), null.Fd()}
	if spec.Stdio.InheritStdin {
		s.child[0] = os.Stdin.Fd()
	}
	if spec.Stdio.Socket != nil {
		s.child[0] = spec.Stdio.Socket.Fd()
	}
	switch spec.Stdio.Mode {
	case Inherit:
		s.child[1], s.child[2] = os.Stdout.Fd(), os.Stderr.Fd()
	case Capture:
		return s, p.openPipes(spec, s)
	case Files:
		p.useFiles(spec, s)
	}
	return s, nil
}

// useFiles gives the child the caller's files.
func (p *Process) useFiles(spec *Spec, s *streams) {
	for k, f := range spec.Stdio.Files {
		if f == nil {
			continue
		}
		s.child[k] = f.Fd()
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
			p.m.giveOutput(spec.User, f)
			if st, ok := info.Sys().(*syscall.Stat_t); ok && k > 0 {
				p.rec.Pipes = append(p.rec.Pipes, logs.PipeName(st.Ino))
			}
		}
	}
}

// openPipes makes the pipes of the output.
func (p *Process) openPipes(spec *Spec, s *streams) error {
	count := 2
	if spec.Stdio.Merge {
		count = 1
	}
	log := spec.Stdio.Log
	if log == nil {
		log = p.m.Logs.OnDemand(spec.ID, *spec.Stdio.OwnLog)
	}
	capture, writers, err := logs.NewCapture(log, count)
	if err != nil {
		return fmt.Errorf("cannot capture the output of %q: %w", spec.ID, err)
	}
	s.files = append(s.files, writers...)
	p.m.giveOutput(spec.User, writers...)
	s.child[1], s.child[2] = writers[0].Fd(), writers[len(writers)-1].Fd()
	p.capture = capture
	return nil
}

// close closes the child's side.
func (s *streams) close() {
	for _, f := range s.files {
		f.Close()
	}
}

// abandonStreams gives up the output or the terminal of a process that was not started.
func (p *Process) abandonStreams() {
	p.capture.Close()
	p.HangUp()
}

// giveOutput makes a user the owner of the pipes or the terminal that it writes to. They
// belong to stoker's user, and /dev/stdout opens them once more, which only the owner may.
func (m *Manager) giveOutput(u *asuser.User, files ...*os.File) {
	if u == nil || int(u.UID) == os.Getuid() {
		return
	}
	for _, f := range files {
		if err := f.Chown(int(u.UID), -1); err != nil {
			m.warnOwner.Do(func() {
				m.warn(fmt.Sprintf("processes of another user (%s) cannot open /dev/stdout and /dev/stderr: %v (needs CAP_CHOWN)",
					u.Name, untrusted.Cause(err)))
			})
			return
		}
	}
}

// outputLost notes what the init discarded while no supervisor worked.
func (p *Process) outputLost(msg *initproto.Msg) {
	p.endCutLines(msg.PipeBytes)
	p.capture.SetLost(msg.Bytes, msg.Lines)
}

// endCutLines ends the lines whose rest the init has discarded, so that the next bytes do
// not continue them. It runs before the pipes are read, and is in the store when it returns.
func (p *Process) endCutLines(each *initproto.PipeBytes) {
	if each == nil || *each == p.rec.Lost {
		return
	}
	lost := uint64(0)
	for k, n := range each {
		lost += n - p.rec.Lost[k]
		if n != p.rec.Lost[k] {
			p.capture.EndLine(k + 1)
		}
	}
	p.m.warn(fmt.Sprintf("%d bytes of the output of %s were discarded while no supervisor worked", lost, p.rec.ID))
	p.rec.Lost = *each
	p.m.step("ended lines")
	p.m.putRecord(p.rec, p.rec.Pid == 0, nil)
}

// FreeOutput is for a process that is to be stopped: with Options.Block it
// no longer waits for the reader of its output.
func (p *Process) FreeOutput() { p.capture.StopWaiting() }

// FlushOutput takes what the process has written by now into its log.
func (p *Process) FlushOutput() { p.capture.Flush() }

// Tail is the end of what is in the log of the process, and of what was written to stderr, at
// most n bytes of each.
func (p *Process) Tail(n int) (all, stderr string) { return p.capture.Tail(n) }
