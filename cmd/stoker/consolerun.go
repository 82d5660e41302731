package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	console "github.com/stoker-init/stoker/internal/console/client"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/terminal"
)

// consolePatience is how long a lost stoker is looked for. detachTime and endTime bound the goodbye of a client and the end of a
// command. For redrawPause a terminal has another size, so that its program draws it again.
const (
	consolePatience = 30 * time.Second
	detachTime      = 2 * time.Second
	endTime         = 5 * time.Second
	redrawPause     = 50 * time.Millisecond
)

// controlC is the key ^C in a raw terminal.
const controlC = 3

// consoleRun connects our stdio to a session of the console.
type consoleRun struct {
	client   *api.Client
	path     string // of the first link
	own      bool   // the session is begun here
	input    bool   // stdin is passed on
	settings terminal.Settings
	keys     []byte // that detach
	written  int64  // offset up to which the session's terminal has shown its output before

	session *console.Session
	raw     bool
	screen  *sessionScreen
	leaving chan int // the exit code with which the session is left
}

// run shows a session until it ends or is left.
func (r *consoleRun) run(ctx context.Context) error {
	r.leaving, r.screen = make(chan int, 1), &sessionScreen{out: os.Stdout, until: r.written}
	s, err := retry(ctx, func() (*console.Session, error) {
		return console.Open(ctx, console.Options{Client: r.client, Path: r.path, Stdout: r.screen, Stderr: os.Stderr,
			Patience: consolePatience, Own: r.own, Resumed: r.redraw,
			Lost: func(error) {
				r.say("the connection is lost; trying again for %v", consolePatience)
			},
			Gap: func(_ int, bytes int64) { r.say("%d bytes of output are no longer kept", bytes) }})
	})
	if err != nil {
		return consoleError(r.client, err)
	}
	r.session = s
	hello, viewing := s.Hello(), s.Hello().Mode == "view"
	r.screen.at = hello.Stdout
	signals := make(chan os.Signal, 8)
	for _, sig := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE, syscall.SIGWINCH,
		syscall.SIGCONT} {
		if !signal.Ignored(sig) { // as below nohup
			signal.Notify(signals, sig)
		}
	}
	defer signal.Stop(signals)
	if r.raw = hello.TTY && r.settings.OnTerminal() && (r.input || viewing); r.raw {
		if err := r.settings.Raw(); err != nil {
			return fmt.Errorf("cannot set the terminal to raw mode: %w", err)
		}
		defer r.settings.Reset()
	}
	if !viewing && hello.TTY {
		if !r.own {
			r.redraw()
		}
		r.resize()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go r.handleSignals(ctx, signals) // ends with ctx
	if r.input && !viewing || r.raw {
		go r.copyInput(viewing) // ends with stdin, or with us
	}
	ended, err := s.Run(ctx)
	if err == nil || r.raw && !errors.Is(err, console.ErrOutput) {
		r.screen.finish(err != nil && r.raw)
	}
	if r.raw {
		r.settings.Reset()
	}
	return r.result(ended, err)
}

// say prints a line on stderr.
func (r *consoleRun) say(format string, args ...any) {
	line := "stoker: " + fmt.Sprintf(format, args...)
	if r.raw {
		line = "\r\n" + line + "\r"
	}
	fmt.Fprintln(os.Stderr, line)
}

// resize gives the session's terminal the size of ours.
func (r *consoleRun) resize() {
	if rows, columns := terminal.Size(0); rows > 0 {
		r.session.Resize(rows, columns)
	}
}

// redraw has the program in the session's terminal draw it again, by another size for a moment.
func (r *consoleRun) redraw() {
	rows, columns := terminal.Size(0)
	if !r.raw || rows < 3 {
		return
	}
	r.session.Resize(rows-1, columns)
	time.AfterFunc(redrawPause, r.resize)
}

// rescue puts the terminal back before a panic ends the program.
func (r *consoleRun) rescue() {
	if p := recover(); p != nil {
		r.settings.Reset()
		panic(p)
	}
}

// copyInput passes stdin on until it ends or the detach keys are typed. A viewer's keys only detach.
func (r *consoleRun) copyInput(viewing bool) {
	defer r.rescue()
	keys := detachKeys{keys: r.keys}
	if !r.raw {
		keys.keys = nil
	}
	for buf := make([]byte, 32<<10); ; {
		n, err := os.Stdin.Read(buf)
		send, found := keys.filter(buf[:n])
		switch {
		case viewing:
			found = found || strings.ContainsRune(string(send), controlC)
		default:
			if _, err := r.session.Write(send); err != nil {
				return // it has ended
			}
		}
		switch {
		case found || err != nil && r.raw:
			r.detach(0)
			return
		case err != nil:
			r.session.CloseWrite()
			return
		}
	}
}

// handleSignals passes signals on. In a raw terminal, and of a viewer, they are for us: they leave the session.
func (r *consoleRun) handleSignals(ctx context.Context, signals <-chan os.Signal) {
	defer r.rescue()
	viewing := r.session.Hello().Mode == "view"
	for sent := false; ; {
		var sig os.Signal
		select {
		case <-ctx.Done():
			return
		case sig = <-signals:
		}
		number, _ := sig.(syscall.Signal)
		switch {
		case sig == syscall.SIGPIPE: // the write tells
		case sig == syscall.SIGWINCH && !viewing:
			r.resize()
		case sig == syscall.SIGCONT && r.raw: // a shell may have changed the modes
			_ = r.settings.Raw() // fails if the terminal is gone
			r.redraw()
		case sig == syscall.SIGWINCH, sig == syscall.SIGCONT:
		case viewing && sig == syscall.SIGINT:
			r.detach(0)
		case r.raw || viewing:
			r.detach(exit.Signalled + int(number))
		case !sent:
			sent = true
			r.session.Signal(proc.SignalName(number))
		default:
			r.leave(exit.Signalled + int(number))
			r.session.End(endTime)
		}
	}
}

// detach leaves the session alone, with an exit code of ours.
func (r *consoleRun) detach(code int) {
	r.leave(code)
	r.session.Detach(detachTime)
}

func (r *consoleRun) leave(code int) {
	select {
	case r.leaving <- code:
	default: // it is left already
	}
}

// result is the error for the end of a session; nil: its command has succeeded.
func (r *consoleRun) result(ended console.Exit, err error) error {
	id := r.session.Hello().ID
	back := &exit.Error{Err: err, Hint: "stoker sessions attach " + id + " comes back", Code: exit.Unavailable}
	var taken *console.TakenError
	switch {
	case errors.Is(err, syscall.EPIPE):
		return &exit.Error{Code: exit.Signalled + int(syscall.SIGPIPE)} // as other programs end then
	case errors.Is(err, console.ErrOutput):
		return &exit.Error{Err: err, Code: exit.CannotWrite}
	case errors.Is(err, console.ErrLeft):
		return r.left()
	case errors.As(err, &taken):
		back.Hint = "stoker sessions attach --take " + id + " takes it back, --view shows the output"
		back.Code = exit.Taken
		return back
	case errors.Is(err, console.ErrNotAllowed):
		return &exit.Error{Err: err, Code: exit.Refused}
	case errors.Is(err, console.ErrNoSession):
		return &exit.Error{Err: err, Code: exit.Unavailable}
	case err != nil:
		return back
	}
	if ended.OOM {
		r.note("the command was killed: out of memory")
	}
	if ended.Message != "" {
		r.note("the session was ended: %s", ended.Message)
	}
	code := ended.Code
	if number, err := proc.ParseSignal(ended.Signal); err == nil {
		code = exit.Signalled + int(number)
	}
	if code == 0 {
		return nil
	}
	return &exit.Error{Code: code}
}

// left says how to come back to a session that was left, and returns the exit code.
func (r *consoleRun) left() error {
	code := 0
	select {
	case code = <-r.leaving:
	default:
		return &exit.Error{Err: console.ErrLost, Code: exit.Unavailable}
	}
	switch hello := r.session.Hello(); {
	case hello.Mode == "view":
	case hello.Keep == 0:
		r.note("detached; the session ends")
	default:
		r.note("detached; the session goes on for %v\nhint: stoker sessions attach %s", time.Duration(hello.Keep), hello.ID)
	}
	if code == 0 {
		return nil
	}
	return &exit.Error{Code: code}
}

// note prints a line on stderr, in which what the server said cannot control the terminal.
func (r *consoleRun) note(format string, args ...any) {
	fmt.Fprintf(display.New(os.Stderr), "stoker: "+format+"\n", args...)
}

// consoleError is the error for a session that was not opened.
func consoleError(client *api.Client, err error) error {
	var refused *api.StatusError
	var start *console.StartError
	switch {
	case errors.As(err, &start):
		return &exit.Error{Err: err, Code: start.Exit.Code}
	case errors.Is(err, console.ErrNoSession):
		return &exit.Error{Err: errors.New("there is no such session"), Hint: "stoker sessions list shows those that run", Code: exit.NotFound}
	case client.Remote() && errors.Is(err, api.ErrNoSocket):
		return &exit.Error{Err: fmt.Errorf("cannot reach the console: %w", err), Hint: api.RemoteHint, Code: exit.Unavailable}
	case !errors.As(err, &refused):
		return &exit.Error{Err: fmt.Errorf("cannot reach the console: %w", err), Code: exit.Unavailable}
	case refused.Code == api.CodeConsoleOff:
		refused.Hint = "put `console: {enabled: true}` into stoker.yaml, and run stoker reload"
	case refused.Status == http.StatusConflict:
		return &exit.Error{Err: err, Hint: "--view shows the output, --take takes the keyboard", Code: exit.Taken}
	case refused.Status == http.StatusBadRequest:
		return &exit.Error{Err: err, Code: exit.Usage}
	}
	return err
}
