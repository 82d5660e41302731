package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// adopt goes on with the sessions of an earlier supervisor, and ends what has no record.
func (m *Manager) adopt() {
	for _, name := range m.opts.Items.Names(itemPrefix) {
		blob, fds, _ := m.opts.Items.Take(name)
		id := name[len(itemPrefix):]
		if err := m.adoptOne(id, blob, fds); err != nil {
			m.opts.Log.Error("a session is lost with the supervisor before this one", "session", id, "error", err)
			m.opts.Store.Delete(name)
		}
	}
	for id, p := range m.opts.Processes {
		delete(m.opts.Processes, id)
		go func() { // ends when they are gone, or after killTime
			s := m.newSession(id, saved{})
			s.proc = p
			s.kill()
			p.Done()
		}()
	}
}

// adoptOne goes on with a session. A panic is an error: the item would end every supervisor that comes.
func (m *Manager) adoptOne(id string, blob []byte, fds []int) (err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("panic: %v\n%s", x, debug.Stack())
		}
	}()
	var v saved
	err = json.Unmarshal(blob, &v)
	if err == nil && len(v.Files) != len(fds) {
		err = fmt.Errorf("it has %d descriptors, and should have %d", len(fds), len(v.Files))
	}
	if err != nil {
		initproto.CloseAll(fds)
		return err
	}
	files := map[string]int{}
	for k, name := range v.Files {
		files[name] = fds[k]
	}
	s := m.newSession(id, v)
	p := m.opts.Processes[IDPrefix+id]
	s.resumeRecording()
	if err := s.openFiles(files, p); err != nil {
		s.lose()
		return err
	}
	if v.Exit == nil && p == nil {
		s.abandon()
		s.lose()
		return nil
	}
	delete(m.opts.Processes, IDPrefix+id)
	counted := s.Info() // its bytes until now: counters begin at 0 with each supervisor
	m.mu.Lock()
	m.metrics.In, m.metrics.Out = m.metrics.In-counted.StdinBytes, m.metrics.Out-counted.StdoutBytes-counted.StderrBytes
	m.mu.Unlock()
	if v.Exit != nil {
		m.adoptEnded(s, p)
		return nil
	}
	s.proc, s.saved.Pid, s.patience = p, p.Pid(), max(adoptedClient, time.Duration(v.Keep))
	if s.ring.h.held != 0 {
		s.awaited = time.Now().Add(holderTime)
	}
	for k := range s.sources {
		s.record(k) // what an earlier supervisor has taken from the process, but not recorded
	}
	m.open[v.By]++
	m.start(s)
	return nil
}

// resumeRecording goes on with the recording. A session that must be recorded ends without it.
func (s *Session) resumeRecording() {
	if s.saved.Exit != nil || s.saved.Recording == "" {
		return
	}
	err := errors.New("nothing records")
	if s.m.opts.Recorder != nil {
		s.recording, err = s.m.opts.Recorder.Resume(s.saved.Recording)
	}
	if err == nil {
		return
	}
	s.recording = nil
	s.m.opts.Log.Error("the recording of a session is cut", "session", s.id, "error", err)
	if s.m.config().Recording.Mode == RecordingRequired {
		s.End("it cannot be recorded any more: " + err.Error())
	}
}

// lose records the end of a session of which nothing else is left, as that of a killed one: it was not seen.
func (s *Session) lose() {
	if s.saved.Exit != nil {
		return
	}
	now := time.Now()
	s.saved.Exit = &Exit{Code: 128 + int(unix.SIGKILL), Signal: "KILL", Why: "it was lost with an earlier supervisor"}
	s.saved.Ended = &now
	if s.recording != nil {
		s.recording.Close(*s.saved.Exit)
	}
	s.m.audit(Entry{Info: s.saved.Info, Identity: s.saved.Identity.Identity})
}

// adoptEnded keeps a session that has ended for its client.
func (m *Manager) adoptEnded(s *Session, p Process) {
	s.exited, s.ended = true, true
	s.ring.closeFile()
	close(s.done)
	m.mu.Lock()
	m.sessions[s.id] = s
	m.mu.Unlock()
	m.isOver(s)
	if p != nil {
		p.Done()
	}
	go s.linger() // ends when the client has read, or had time to
}

// openFiles takes the descriptors of an earlier supervisor. After an error none is open.
func (s *Session) openFiles(files map[string]int, p Process) (err error) {
	take := func(name string) int {
		fd, ok := files[name]
		if !ok {
			return -1
		}
		delete(files, name)
		return fd
	}
	defer func() {
		for _, fd := range files { // those that were not taken
			unix.Close(fd)
		}
	}()
	if s.ring, err = openRing(take(ringFile), !s.saved.TTY); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.abandon()
		}
	}()
	if s.saved.Exit != nil {
		s.in, err = newInput(nil, false)
		return err // only its output is left
	}
	if s.saved.TTY {
		s.sources[Stdout] = &source{pipe: [2]int{take(pipeOut), take(pipeIn)}}
		return s.openTerminal(p)
	}
	for k := Stdout; k <= Stderr; k++ {
		if fd := take(streamName(k)); fd >= 0 {
			if s.sources[k], err = newSource(os.NewFile(uintptr(fd), streamName(k)), [2]int{-1, -1}); err != nil {
				return err
			}
		}
	}
	var in *os.File
	if fd := take(streamName(0)); fd >= 0 {
		in = os.NewFile(uintptr(fd), streamName(0))
	}
	s.in, err = newInput(in, in != nil)
	return err
}

// openTerminal completes a session with a terminal. Without a process there is nothing more of it.
func (s *Session) openTerminal(p Process) (err error) {
	if s.in, err = newInput(nil, false); err != nil || p == nil {
		return err
	}
	terminal, pipe := p.Terminal(), s.sources[Stdout].pipe
	switch {
	case terminal == nil:
		return errors.New("its terminal is gone")
	case pipe[0] < 0 || pipe[1] < 0:
		return errors.New("the pipe of its terminal is missing")
	}
	if s.sources[Stdout], err = newSource(terminal, pipe); err == nil && s.saved.Stdin {
		s.in, err = newInput(terminal, false)
	}
	return err
}
