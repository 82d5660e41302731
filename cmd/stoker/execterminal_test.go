package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
)

// fakeConsole serves sessions that end as end says, and reports what else the client sends.
func fakeConsole(t *testing.T, end func(*websocket.Conn)) (socket string, got <-chan string) {
	t.Helper()
	sent := make(chan string, 100)
	socket = filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := (&websocket.Upgrader{Subprotocols: []string{"stoker.v1"}}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.WriteJSON(map[string]any{"type": "session", "id": "abc", "mode": "hold", "tty": true, "keep": "10m0s"})
		for {
			_, data, err := conn.ReadMessage()
			if err != nil {
				return
			}
			select {
			case sent <- string(data):
			default:
			}
			end(conn)
			if strings.Contains(string(data), "detach") {
				_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
				return
			}
		}
	})}
	go s.Serve(l) // ends with Close
	t.Cleanup(func() { s.Close() })
	return socket, sent
}

// TestTerminalIsRestored: whatever ends exec in a raw terminal, its modes are as before.
func TestTerminalIsRestored(t *testing.T) {
	closeBy := func(code int, text string) func(*websocket.Conn) {
		return func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, text))
		}
	}
	for name, tc := range map[string]struct {
		end    func(*websocket.Conn)
		signal syscall.Signal
		code   int
		said   string
	}{
		"exit":   {end: func(c *websocket.Conn) { _ = c.WriteJSON(map[string]any{"type": "exit", "code": 5}) }, code: 5},
		"taken":  {end: closeBy(4001, "token ops"), code: 76, said: "the keyboard was taken by token ops"},
		"denied": {end: closeBy(4003, "token removed"), code: 3, said: "token removed"},
		"TERM":   {signal: syscall.SIGTERM, code: 128 + 15, said: "stoker sessions attach abc"},
		"HUP":    {signal: syscall.SIGHUP, code: 128 + 1, said: "detached; the session goes on for 10m0s"},
		"INT":    {signal: syscall.SIGINT, code: 128 + 2, said: "detached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := tc.end
			if end == nil {
				end = func(*websocket.Conn) {}
			}
			socket, sent := fakeConsole(t, end)
			master, slave, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			if err := pty.Setsize(master, &pty.Winsize{Rows: 33, Cols: 99}); err != nil {
				t.Fatal(err)
			}
			before := modes(t, slave)
			cmd := command(t, "stoker", "exec", "-it", "--", "x")
			cmd.Env = append(os.Environ(), "STOKER_SOCKET="+socket)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			shown := make(chan string, 1)
			go func() { // ends when nothing has the terminal open
				var b bytes.Buffer
				_, _ = io.Copy(&b, master)
				shown <- b.String()
			}()
			if m := receive(t, sent, "the size of the terminal"); !strings.Contains(m, `"rows":33,"columns":99`) {
				t.Errorf("the first message is %q, want the size", m)
			}
			for until := time.Now().Add(receiveTime); tc.signal != 0 && modes(t, slave) == before; {
				if time.Now().After(until) {
					t.Fatal("the terminal is not raw")
				}
			}
			if tc.signal != 0 {
				if err := cmd.Process.Signal(tc.signal); err != nil {
					t.Fatal(err)
				}
			}
			_ = cmd.Wait() // its code is read below
			if modes(t, slave) != before {
				t.Error("the modes of the terminal are not as before")
			}
			slave.Close()
			if said := receive(t, shown, "the end of the terminal"); cmd.ProcessState.ExitCode() != tc.code || !strings.Contains(said, tc.said) {
				t.Errorf("exit code %d, want %d; it said %q, want %q", cmd.ProcessState.ExitCode(), tc.code, said, tc.said)
			}
		})
	}
}

func modes(t *testing.T, terminal *os.File) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}
