package proc

import (
	"github.com/stoker-init/stoker/internal/initproto"
	"github.com/stoker-init/stoker/internal/logs"
)

// outputLost notes what the init discarded while no supervisor worked.
func (p *Process) outputLost(msg *initproto.Msg) {
	if p.capture == nil {
		return
	}
	l, err := p.capture.Open()
	if err != nil {
		return
	}
	p.endCutLines(l, msg.PipeBytes)
	p.capture.SetLost(msg.Bytes, msg.Lines)
}

// endCutLines ends the lines whose rest the init has discarded, so that the next bytes do
// not continue them. It runs before the pipes are read, and is in the store when it returns.
func (p *Process) endCutLines(l *logs.Log, each *initproto.PipeBytes) {
	if each == nil || *each == p.rec.Lost {
		return
	}
	for k, n := range each {
		if n != p.rec.Lost[k] {
			l.EndLine(k + 1)
		}
	}
	p.rec.Lost = *each
	p.m.step("ended lines")
	p.m.putRecord(p.rec, p.rec.Pid == 0, nil)
}

// FreeOutput is for a process that is to be stopped: with Options.Block it
// no longer waits for the reader of its output.
func (p *Process) FreeOutput() {
	if p.capture != nil {
		p.capture.Free()
	}
}

// FlushOutput takes what the process has written by now into its log.
func (p *Process) FlushOutput() {
	if p.capture != nil {
		p.capture.Flush()
	}
}

// Tail is the end of what the process has written, and of what it has written to stderr,
// at most n bytes of each; of a process without a late log both are empty.
func (p *Process) Tail(n int) (all, stderr string) {
	if p.capture == nil {
		return "", ""
	}
	return p.capture.Tail(n)
}

// writesOutput says whether a process has one of the log pipes of p open.
func (p *Process) writesOutput(pid int) bool {
	if p.capture == nil {
		return false
	}
	open, err := hasOpen(pid, p.capture.Inodes())
	return err == nil && open
}
