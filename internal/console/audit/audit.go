// Package audit writes down who opened, joined and ended sessions of the console: one line of JSON for each event, to stoker's log
// and to a file. It does not decide who may.
package audit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/logfile"
	"github.com/stoker-init/stoker/internal/printable"
	"github.com/stoker-init/stoker/internal/redact"
)

// Events of lines.
const (
	Start  = "start"  // the process is about to start
	End    = "end"    // all processes of the session are gone
	Failed = "failed" // the session was not started: the reason
	Denied = "denied" // it may not be opened or joined by this identity
	Attach = "attach" // another client has joined; Mode take: and has the keyboard from now on
)

// Line is one event.
type Line struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	Session string    `json:"session,omitempty"`
	// The client: of attach that one, else who opened the session.
	By      string   `json:"by"`
	Address string   `json:"address,omitempty"`  // of a client by TCP
	PeerPid int      `json:"peer_pid,omitempty"` // of a client at the unix socket
	Grants  []string `json:"grants,omitempty"`
	Mode    string   `json:"mode,omitempty"` // of attach: hold, view, take
	// OpenedBy is who opened the session, where that was another one.
	OpenedBy string `json:"opened_by,omitempty"`

	Argv    []string `json:"argv"`
	Context string   `json:"context,omitempty"`
	User    string   `json:"user,omitempty"`
	Dir     string   `json:"dir,omitempty"`
	Env     []string `json:"env,omitempty"` // that the client has set
	TTY     bool     `json:"tty"`
	Pid     int      `json:"pid,omitempty"`

	Exit      *console.Exit `json:"exit,omitempty"`
	Seconds   float64       `json:"seconds,omitempty"` // from its start to its end
	Reason    string        `json:"reason,omitempty"`
	BytesIn   int64         `json:"bytes_in"`
	BytesOut  int64         `json:"bytes_out"`
	Recording string        `json:"recording,omitempty"`
	AuditID   string        `json:"audit_id,omitempty"` // KUBERNETES_EXEC_AUDIT_ID

	LeftOut int `json:"left_out,omitempty"` // bytes of what the client has chosen that are not in this line
	Count   int `json:"count,omitempty"`    // so many events of one kind are in this line; 0: it is one event
}

// The file is rotated.
const (
	fileSize = 16 << 20
	files    = 4 // full ones
)

// Log is a console.Auditor.
type Log struct {
	log    hclog.Logger
	limits limits

	mu   sync.Mutex // guards the rest, and keeps lines whole
	file logfile.File
	torn bool // the file ends with a part of a line
}

// New makes a Log that also writes to the file at path, unless that is empty.
func New(path string, log hclog.Logger) *Log {
	l := &Log{log: log}
	l.Configure(path)
	return l
}

// Configure makes it write to another file.
func (l *Log) Configure(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if path == l.file.Path {
		return
	}
	l.file.Close()
	l.file, l.torn = logfile.File{Options: logfile.Options{Path: path, Size: fileSize, Files: files, Mode: 0o600}}, false
}

// Begin writes the start of a session. An error refuses it: nothing happens that cannot be written down.
func (l *Log) Begin(e console.Entry) error {
	line := newLine(Start, e)
	text, err := encode(line)
	if err == nil {
		err = l.mayStart(line, len(text))
	}
	if err != nil {
		return err
	}
	return l.write(line)
}

// Attached writes that a client has joined a session, or was refused.
func (l *Log) Attached(e console.Entry) { l.reportLimited(newLine(Attach, e)) }

// End writes the end of a session, or why it was not started.
func (l *Log) End(e console.Entry) {
	if line := newLine(End, e); line.Event == End {
		l.report(line)
	} else {
		l.reportLimited(line)
	}
}

// reportLimited writes or counts a line of which a client can cause any number.
func (l *Log) reportLimited(line Line) {
	if text, err := encode(line.short()); err != nil || l.mayWrite(line, len(text)) {
		l.report(line)
	}
}

func newLine(event string, e console.Entry) Line {
	switch {
	case errors.Is(e.Error, console.ErrNotAllowed):
		event = Denied
	case e.Error != nil:
		event = Failed
	}
	l := Line{Time: time.Now().UTC(), Event: event, Session: e.ID, By: e.By, Address: e.Address, Mode: e.Mode,
		Argv: append([]string{}, e.Command...), Context: cmp.Or(e.Context, e.Container), User: e.User, Dir: e.Dir, Env: e.Env, TTY: e.TTY,
		Pid: e.Pid, BytesIn: e.StdinBytes, BytesOut: e.StdoutBytes + e.StderrBytes, Recording: e.Recording, AuditID: e.AuditID}
	if who := e.Identity; who.Name != "" { // it is unknown after the death of a supervisor
		l.By, l.Address, l.PeerPid, l.Grants = who.Name, who.Address, max(who.Pid, 0), who.Grants.Names()
	}
	if l.By != e.By {
		l.OpenedBy = e.By
	}
	if event == End {
		l.Exit = e.Exit
	}
	if event == End && e.Ended != nil {
		l.Seconds = math.Round(e.Ended.Sub(e.Started).Seconds()*1e3) / 1e3
	}
	if e.Error != nil {
		l.Reason = e.Error.Error()
	} else if l.Exit != nil {
		l.Reason = l.Exit.Why
	}
	return l
}

func (l *Log) report(line Line) {
	if err := l.write(line); err != nil {
		l.log.Error("an audit line is in this log only", "error", err)
	}
}

// encode returns a line. Nothing in it can steer a terminal or begin another line.
func encode(line Line) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		return nil, fmt.Errorf("cannot write an audit line: %w", err)
	}
	return printable.JSON(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// write writes a line to the file, and to the log, which others read: without secrets.
func (l *Log) write(line Line) error {
	masked := line
	masked.Argv, masked.Env = redact.Args(line.Argv), redact.Args(line.Env)
	text, err := encode(masked.short()) // a part of a secret would not be known as one
	if err != nil {
		return err
	}
	l.log.Info("audit " + string(text))
	if text, err = encode(line.short()); err != nil {
		return err
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file.Path == "" {
		return nil
	}
	err = l.file.Open()
	if err == nil && l.file.Len() > 0 && l.file.Len()+int64(len(text)) >= l.file.Size {
		err = l.file.Rotate()
	}
	if err != nil {
		return fmt.Errorf("cannot write an audit line: %w", err)
	}
	whole := append(text, '\n')
	if l.torn {
		whole = append([]byte("\n"), whole...)
	}
	n, err := l.file.Write(whole)
	if l.torn = err != nil && (n > 0 || l.torn); err != nil {
		return fmt.Errorf("cannot write an audit line: %w", err)
	}
	return nil
}
