package proc

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/execshim"
	"github.com/stoker-init/stoker/internal/logs"
)

// playOpened executes programs as names in open folders and a script by its path, with
// the exec shim and without it.
func playOpened(s *stage) int {
	umask := 0o22
	const text = "echo $(readlink /proc/$$/exe) $0; exit 11"
	p := s.process("a")
	if p == nil {
		s.say("started by life %d", s.rec.Starts)
		_ = os.WriteFile(s.dir+"/hook", []byte("#!/bin/sh\ncd \"$(dirname \"$0\")/..\" && pwd && basename \"$0\"\n"), 0o755)
		p = s.opened("a", nil, "/bin/bash", "-c", text)
	}
	for k, p := range []*Process{p, s.opened("b", &umask, "/bin/bash", "-c", text), s.opened("c", nil, s.dir+"/hook"),
		s.opened("d", &umask, s.dir+"/hook")} {
		text := strings.ReplaceAll(s.text(p), filepath.Dir(s.dir), "UP")
		s.say("%d: %d %s", k, status(p), text)
	}
	return 0
}

// playLinked executes a program that a link of another name leads to.
func playLinked(s *stage) int {
	p := s.process("a")
	if p == nil {
		s.say("started by life %d", s.rec.Starts)
		_ = os.Symlink("/bin/bash", s.dir+"/another")
		p = s.opened("a", nil, s.dir+"/another", "-c", "exit 11")
	}
	s.say("%d", status(p))
	return 0
}

func (s *stage) opened(id string, umask *int, argv ...string) *Process {
	p, err := s.m.Start(context.Background(), Spec{ID: id, Argv: argv, Env: append(os.Environ(), "DIR="+s.dir),
		Attributes: execshim.Attributes{Umask: umask}, Stdio: Stdio{Mode: Capture, OwnLog: &logs.Options{}},
		Open: openFolder})
	if err != nil {
		s.say("%v", err)
		os.Exit(1)
	}
	return p
}

// openFolder opens the folder of a program.
func openFolder(path string) (*os.File, string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, "", err
	}
	f, err := os.Open(filepath.Dir(path))
	return f, filepath.Base(path), err
}

// text is what it wrote until its end.
func (s *stage) text(p *Process) string {
	<-p.Exited()
	return strings.Join(strings.Fields(tail(p)), " ")
}

// TestExecutedInAnOpenFolder: a program has its own name all the same, a script finds what
// is beside it, and a supervisor that takes over in the middle finds the process.
func TestExecutedInAnOpenFolder(t *testing.T) {
	bash, err := filepath.EvalSymlinks("/bin/bash")
	if err != nil {
		t.Skip(err)
	}
	runPlay(t, "at-cloned-open").want(t, "started by life 1", "0: 11 "+bash+" /bin/bash", "1: 11 "+bash+" /bin/bash", "2: 0 UP hook",
		"3: 0 UP hook")
}

func TestExecutedThroughALink(t *testing.T) {
	runPlay(t, "at-cloned-link").want(t, "started by life 1", "11")
}
