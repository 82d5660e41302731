package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/gorilla/websocket"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/program"
	"golang.org/x/sys/unix"
)

// Codes of close frames of stoker.v1 that are its own.
const (
	CloseRefused   = 4000 // of a page only: there is no link, and the reason says why
	CloseTaken     = 4001 // another client has taken the keyboard
	CloseRevoked   = 4003 // the client may no longer use the console
	CloseNoSession = 4004 // there is nothing to attach to any more
)

// maxText is the longest text message of a client.
const maxText = 4 << 10

// errLeaving is the end of links when this supervisor stops.
var errLeaving = errors.New("stoker is leaving: connect again")

// own speaks stoker.v1.
type own struct {
	*conn
	info      func() console.Info
	terminate func(why string)
	by        string   // the name of the client's identity
	position  [3]int64 // where the output goes on, by stream
	notice    console.Notice
}

// Hello is the first message.
type Hello struct {
	Type    string           `json:"type"` // session
	ID      string           `json:"id"`
	Mode    string           `json:"mode"` // hold or view
	Command []string         `json:"command"`
	User    string           `json:"user"`
	TTY     bool             `json:"tty"`
	Rows    uint16           `json:"rows"`
	Columns uint16           `json:"columns"`
	Stdout  int64            `json:"stdout"` // offset of the next byte
	Stderr  int64            `json:"stderr"`
	Stdin   int64            `json:"stdin"` // how much input the process has taken
	Keep    console.Duration `json:"keep"`
	By      string           `json:"by"`     // the identity that began it
	Holder  string           `json:"holder"` // the one that has the keyboard
}

func (o *own) begin() error {
	info, mode := o.info(), console.View
	if o.link.Holds() {
		mode = console.Hold
	}
	o.position = o.link.Position()
	o.notice = console.Notice{Rows: info.Rows, Columns: info.Columns, Holder: info.Holder, Viewers: info.Viewers, Stdin: o.link.Taken()}
	return o.text(false, Hello{"session", info.ID, mode.String(), info.Command, info.User, info.TTY, info.Rows, info.Columns,
		o.position[console.Stdout], o.position[console.Stderr], o.notice.Stdin, info.Keep, info.By, info.Holder})
}

// text sends a value as a text message.
func (o *own) text(last bool, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return o.write(websocket.TextMessage, last, nil, body)
}

func (o *own) send(c console.Chunk) error {
	if gap := c.Offset - o.position[c.Stream]; gap > 0 {
		if err := o.text(false, struct {
			Type   string `json:"type"`
			Stream int    `json:"stream"`
			Bytes  int64  `json:"bytes"`
		}{"gap", c.Stream, gap}); err != nil {
			return err
		}
	}
	o.position[c.Stream] = c.Offset + int64(len(c.Data))
	return o.write(websocket.BinaryMessage, false, []byte{byte(c.Stream)}, c.Data)
}

func (o *own) notify(n console.Notice) error {
	var err error
	was := o.notice
	o.notice = n
	if n.Stdin != was.Stdin {
		err = o.text(false, struct {
			Type   string `json:"type"`
			Offset int64  `json:"offset"`
		}{"stdin", n.Stdin})
	}
	if err == nil && (n.Rows != was.Rows || n.Columns != was.Columns) {
		err = o.text(false, struct {
			Type    string `json:"type"`
			Rows    uint16 `json:"rows"`
			Columns uint16 `json:"columns"`
		}{"size", n.Rows, n.Columns})
	}
	if err == nil && (n.Holder != was.Holder || n.Viewers != was.Viewers) {
		err = o.text(false, struct {
			Type    string `json:"type"`
			Holder  string `json:"holder"`
			Viewers int    `json:"viewers"`
		}{"clients", n.Holder, n.Viewers})
	}
	return err
}

// command is a text message of a client.
type command struct {
	Type    string `json:"type"`
	Stream  int    `json:"stream"`
	Offset  int64  `json:"offset"`
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
	Signal  string `json:"signal"`
}

func (o *own) receive(kind int, r io.Reader) error {
	if kind == websocket.TextMessage {
		return o.command(r)
	}
	var channel [1]byte
	if _, err := io.ReadFull(r, channel[:]); err == io.EOF {
		return nil
	} else if err != nil {
		return err
	}
	if channel[0] != stdinChannel {
		return violation("channel: only 0, stdin, is written by a client")
	}
	return o.input(r)
}

// violation is the client's fault.
func violation(format string, args ...any) error {
	return &closeError{websocket.ClosePolicyViolation, fmt.Sprintf(format, args...)}
}

// command does what a text message says. What only the holder of the keyboard may do is ignored of others: it may have lost it a
// moment ago.
func (o *own) command(r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, maxText+1))
	switch {
	case err != nil:
		return err
	case len(text) > maxText:
		return &closeError{websocket.CloseMessageTooBig, fmt.Sprintf("a text message has at most %d bytes", maxText)}
	case len(text) == 0:
		return nil
	}
	var c command
	if err := json.Unmarshal(text, &c); err != nil {
		return violation("message: %v", err)
	}
	switch c.Type {
	case "ack":
		if c.Stream != console.Stdout && c.Stream != console.Stderr || c.Offset < 0 {
			return violation("ack: stream is 1 or 2, and offset is not negative")
		}
		o.link.Ack(c.Stream, c.Offset)
	case "resize":
		o.link.Resize(c.Rows, c.Columns)
	case "signal":
		signal, ok := signalNumber(c.Signal)
		if !ok {
			return violation("signal: %q is none", c.Signal)
		}
		_ = o.link.Signal(signal) // the process may have ended
	case "eof":
		o.link.CloseStdin()
	case "detach":
		return &closeError{websocket.CloseNormalClosure, "detached"}
	case "end":
		if o.link.Holds() {
			o.terminate("by " + o.by)
		}
	default:
		return violation("type: %q is unknown", c.Type)
	}
	return nil
}

// signalNumber returns the number of a signal that is named INT or SIGINT.
func signalNumber(name string) (syscall.Signal, bool) {
	n := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG"))
	return n, n != 0
}

// exit is the last message.
type exit struct {
	Type    string `json:"type"` // exit
	Code    int    `json:"code"`
	Signal  string `json:"signal"`
	OOM     bool   `json:"oom"`
	Message string `json:"message"` // why it was ended, or could not be started; empty: it ended by itself
}

func (o *own) end(err error) *closeError {
	normal := &closeError{websocket.CloseNormalClosure, ""}
	var start *program.StartError
	var refused refusedError
	switch {
	case errors.As(err, &refused):
		return &closeError{CloseRefused, err.Error()}
	case errors.As(err, &start):
		_ = o.text(true, exit{Type: "exit", Code: start.Code(), Message: start.Error()}) // the client may be gone
		return normal
	case errors.Is(err, console.ErrTaken):
		return &closeError{CloseTaken, o.info().Holder}
	case errors.Is(err, console.ErrRevoked):
		return &closeError{CloseRevoked, err.Error()}
	case errors.Is(err, console.ErrNoSession):
		return &closeError{CloseNoSession, err.Error()}
	case errors.Is(err, errLeaving):
		return &closeError{websocket.CloseGoingAway, err.Error()}
	case err != io.EOF:
		return &closeError{websocket.CloseInternalServerErr, err.Error()}
	}
	e := o.info().Exit
	if e == nil {
		return &closeError{websocket.CloseInternalServerErr, "the exit code is unknown"}
	}
	_ = o.text(true, exit{"exit", e.Code, e.Signal, e.OOM, e.Why}) // the client may be gone
	return normal
}
