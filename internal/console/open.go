package console

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/headroom"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/jvm"
	"golang.org/x/sys/unix"
)

// sessionFiles are the descriptors that a session needs at most while it starts.
const sessionFiles = 10

// Open starts the process of a session. The caller attaches at once: a session that had no client for 30 s is ended.
//
// The errors are ErrOff, *SpecError, ErrNotAllowed, *LimitError, ErrUnavailable, and *program.StartError of a program that is missing
// or cannot be executed.
func (m *Manager) Open(ctx context.Context, spec Spec, by access.Identity) (*Session, error) {
	info := Info{Spec: spec, By: by.Name, Address: by.Address, UID: by.UID, Started: time.Now()}
	s, err := m.openSession(ctx, &info, by)
	m.count(err)
	m.refused(info, by, err)
	return s, err
}

// refused audits the error of an attempt to open a session, unless it is one of the request's form.
func (m *Manager) refused(info Info, by access.Identity, err error) {
	if err != nil && !errors.As(err, new(*SpecError)) && !errors.Is(err, ErrOff) {
		now := time.Now()
		info.Ended = &now
		m.audit(Entry{Info: info, Identity: by, Error: err})
	}
}

// openSession sets info to what a session that does not start would have been.
func (m *Manager) openSession(ctx context.Context, info *Info, by access.Identity) (*Session, error) {
	c := m.config()
	launch, err := m.admit(info, by, c)
	if err != nil {
		return nil, err
	}
	s := m.newSession(newID(), saved{Info: *info, Identity: access.Kept{Identity: by}, Admin: launch.Admin != ""})
	s.saved.ID, s.opened = s.id, true
	if err := m.launch(ctx, s, launch, c); err != nil {
		*info = s.saved.Info
		m.free(by.Name)
		return nil, err
	}
	m.start(s)
	return s, nil
}

// admit completes the Info of a session, after an error as far as it is known, and reserves a place for it.
func (m *Manager) admit(info *Info, by access.Identity, c Config) (Launch, error) {
	spec := &info.Spec
	info.User = spec.User
	if !c.Enabled {
		return Launch{}, ErrOff
	}
	if err := spec.validate(c); err != nil {
		return Launch{}, err
	}
	launch, err := m.opts.Host.Prepare(*spec)
	if err != nil {
		return Launch{}, err
	}
	info.User = cmp.Or(launch.User, spec.User)
	spec.Command = launch.Spec.Argv
	spec.Keep = min(spec.Keep, Duration(c.Keep))
	if !by.Grants.Has(access.Admin) {
		if launch.Admin != "" {
			return launch, fmt.Errorf("cannot open a session: %w: %s needs the grant admin", ErrNotAllowed, launch.Admin)
		}
		if err := headroom.DescriptorsFor(sessionFiles); err != nil {
			return launch, fmt.Errorf("cannot open a session: %w: %w", ErrUnavailable, err)
		}
		launch.Spec.KeepReserve = true
	}
	if err := c.mayRun(by.Name, spec.Command); err != nil {
		return launch, fmt.Errorf("cannot open a session: %w", err)
	}
	return launch, m.reserve(by.Name)
}

// Check reports why Open would refuse a session now; nil: it would start its process. A refusal is audited: the answer tells what may
// be run.
func (m *Manager) Check(spec Spec, by access.Identity) error {
	info := Info{Spec: spec, By: by.Name, Address: by.Address, UID: by.UID, Started: time.Now()}
	_, err := m.admit(&info, by, m.config())
	if err == nil {
		m.free(by.Name)
	}
	m.refused(info, by, err)
	return err
}

// newID returns 10 characters that no other session has.
func newID() string { return strings.ToLower(rand.Text()[:10]) }

// launch records and starts a session. After an error nothing is left of it.
func (m *Manager) launch(ctx context.Context, s *Session, l Launch, c Config) (err error) {
	if m.opts.Auditor != nil {
		if err := m.opts.Auditor.Begin(Entry{Info: s.saved.Info, Identity: s.saved.Identity.Identity}); err != nil {
			if errors.As(err, new(*LimitError)) {
				s.saved.ID = "" // no line has it
				return err
			}
			return fmt.Errorf("cannot open a session: %w: %w", ErrUnavailable, err)
		}
	}
	if err := m.record(s, c.Recording.Mode); err != nil {
		return err
	}
	if err = m.exec(ctx, s, l, c); err != nil {
		if s.recording != nil {
			s.recording.Close(Exit{Code: 126, Why: err.Error()})
		}
		if errors.Is(err, proc.ErrStopping) || headroom.Short(err) || headroom.ShortOfFiles(err) {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return fmt.Errorf("cannot open a session: %w", err)
	}
	return nil
}

// record begins the recording.
func (m *Manager) record(s *Session, mode string) (err error) {
	if mode != RecordingOn && mode != RecordingRequired {
		return nil
	}
	err = errors.New("nothing records")
	if m.opts.Recorder != nil {
		s.recording, err = m.opts.Recorder.Create(s.saved.Info)
	}
	switch {
	case err == nil:
		s.saved.Recording = s.recording.Name()
	case mode == RecordingRequired:
		return fmt.Errorf("cannot open a session: %w: it cannot be recorded: %w", ErrUnavailable, err)
	default:
		s.recording = nil
		m.opts.Log.Warn("a session is not recorded", "session", s.id, "error", err)
	}
	return nil
}

// exec makes the streams and starts the process.
func (m *Manager) exec(ctx context.Context, s *Session, l Launch, c Config) (err error) {
	size, err := jvm.ParseMemory(c.Scrollback)
	if err != nil {
		return err
	}
	if s.ring, err = newRing(size, !s.saved.TTY); err != nil {
		return err
	}
	s.ring.h.held, s.awaited = 1, time.Now().Add(firstClient)
	var theirs [3]*os.File
	defer func() {
		for _, f := range theirs {
			f.Close() // a nil file is no error that matters
		}
		if err != nil {
			s.abandon()
		}
	}()
	if count, known := m.opts.Host.OOMKills(); known {
		s.saved.OOMKills = &count
	}
	spec := l.Spec
	spec.ID, spec.Subreaper = IDPrefix+s.id, true
	if s.saved.TTY {
		spec.Stdio = proc.Stdio{Mode: proc.Pty, Rows: s.saved.Rows, Columns: s.saved.Columns}
		s.ring.h.rows, s.ring.h.columns = cmp.Or(s.saved.Rows, 24), cmp.Or(s.saved.Columns, 80)
		err = s.makeStage()
	} else {
		theirs, err = s.makePipes()
		spec.Stdio = proc.Stdio{Mode: proc.Files, Files: theirs}
	}
	if err == nil && s.in == nil {
		s.in, err = newInput(nil, false)
	}
	if err == nil {
		err = s.store() // before there is a process
	}
	if err != nil {
		return err
	}
	if s.proc, err = m.opts.Host.Start(ctx, spec); err != nil {
		return err
	}
	return s.started()
}

// Names of the descriptors of an item.
const (
	ringFile = "ring"
	pipeOut  = "pipe-out" // of the pipe between a terminal and the ring
	pipeIn   = "pipe-in"
)

// streamName is the name of the pipe of a stream.
func streamName(k int) string { return [...]string{"stdin", "stdout", "stderr"}[k] }

// makeStage makes the pipe between the terminal and the ring.
func (s *Session) makeStage() error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("cannot make a pipe: %w", err)
	}
	s.sources[Stdout] = &source{pipe: fds}
	return nil
}

// makePipes makes the pipes of a session without a terminal, and returns those for the process.
func (s *Session) makePipes() (theirs [3]*os.File, err error) {
	for k := range theirs {
		if k == 0 && !s.saved.Stdin {
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, fmt.Errorf("cannot make a pipe: %w", err)
		}
		if k == 0 {
			theirs[0] = r
			s.in, err = newInput(w, true)
		} else {
			theirs[k] = w
			s.sources[k], err = newSource(r, [2]int{-1, -1})
		}
		if err != nil {
			return theirs, err
		}
	}
	return theirs, nil
}

// started completes a session by what the process has.
func (s *Session) started() (err error) {
	s.saved.Pid = s.proc.Pid()
	if s.saved.TTY {
		err = s.openTerminal(s.proc)
	}
	if err == nil {
		err = s.store()
	}
	if err != nil {
		s.kill()
		s.proc.Done()
	}
	return err
}

// abandon closes everything of a session without a process.
func (s *Session) abandon() {
	s.m.opts.Store.Delete(itemPrefix + s.id)
	for _, c := range s.sources {
		if c != nil {
			c.close()
		}
	}
	if s.in != nil && s.in.pipe != nil {
		s.in.pipe.Close()
	}
	s.ring.closeFile()
	s.ring.release()
}
