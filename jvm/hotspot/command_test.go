package hotspot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stoker-init/stoker/internal/asuser"
)

func TestReadStatusLine(t *testing.T) {
	for _, c := range []struct{ reply, text, err string }{
		{"0\nanswer\nof lines\n", "answer\nof lines\n", ""},
		{"0\n", "", ""},
		{"1\njava.lang.IllegalArgumentException: Unknown diagnostic command\n", "",
			"it answered status 1: java.lang.IllegalArgumentException: Unknown diagnostic command"},
		{"101\n", "", "it answered status 101: "},
		{"", "", "it closed the connection: permission denied"},
		{"garbage", "", `it answered "garbage"`},
		{"0", "", `it answered "0"`},
		{strings.Repeat("x", 200), "", `it answered "` + strings.Repeat("x", maxStatusLine) + `"`},
	} {
		r := bufio.NewReader(strings.NewReader(c.reply))
		err := readStatusLine(r)
		text, _ := io.ReadAll(r)
		if err == nil && string(text) != c.text || c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
			t.Errorf("%q: %q, %v", c.reply, text, err)
		}
	}
}

func FuzzReadStatusLine(f *testing.F) {
	for _, s := range []string{"0\nx", "1\n", "", "\n", "-1\nx"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		r := bufio.NewReader(strings.NewReader(string(reply)))
		if err := readStatusLine(r); err == nil && !strings.HasPrefix(strings.TrimLeft(strings.TrimSpace(string(reply)), "+-"), "0") {
			t.Errorf("%q is taken for a success", reply)
		}
	})
}

// speaking is a fake JVM that responds to each request by answer.
func speaking(t *testing.T, answer func(net.Conn)) *Attached {
	t.Helper()
	socket := t.TempDir() + "/socket"
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends when l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(conn)
			_ = conn.Close()
		}
	}()
	as, err := asuser.OfProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return &Attached{target: Target{Pid: os.Getpid()}, as: as, socket: socket}
}

func TestReplyIsBounded(t *testing.T) {
	block := []byte(strings.Repeat("x", 1<<20))
	a := speaking(t, func(conn net.Conn) {
		_, _ = fmt.Fprintln(conn, 0)
		for {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	})
	r, err := a.Open(attachTime(t), MaxReply, "threaddump")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	if n != MaxReply || !errors.Is(err, ErrLongReply) || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if text, err := a.Command(attachTime(t), "jcmd", "VM.flags"); len(text) != maxKept || !errors.Is(err, ErrLongReply) {
		t.Errorf("kept: %d bytes, %v", len(text), err)
	}
}

// The end of the context ends a command that the JVM does not answer, before its
// first word and in the middle.
func TestReplyTimeout(t *testing.T) {
	for _, begun := range []string{"", "0\nbegun"} {
		come, gone := make(chan struct{}), make(chan struct{})
		a := speaking(t, func(conn net.Conn) {
			close(come)
			_, _ = io.WriteString(conn, begun)
			_, _ = io.Copy(io.Discard, conn)
			close(gone)
		})
		ctx, cancel := context.WithCancel(attachTime(t))
		read := make(chan struct{})
		go func() { // ends with the command
			<-come
			<-read
			cancel()
		}()
		if begun == "" {
			close(read)
			if _, err := a.Open(ctx, MaxReply, "threaddump"); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		} else {
			r, err := a.Open(ctx, MaxReply, "threaddump")
			if err != nil {
				t.Fatal(err)
			}
			close(read)
			if text, err := io.ReadAll(r); string(text) != "begun" || !errors.Is(err, context.Canceled) {
				t.Errorf("%q, %v", text, err)
			}
			_ = r.Close()
		}
		<-gone // the connection is closed
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	a := &Attached{}
	for _, args := range [][]string{{"1", "2", "3", "4"}, {strings.Repeat("x", maxArgument+1)}, {"a\x00b"}} {
		if _, err := a.Open(t.Context(), MaxReply, "dumpheap", args...); err == nil {
			t.Errorf("%.20q: no error", args)
		}
	}
}

// A JVM takes one connection after the other, and queues five: others retry.
func TestTwentyCommandsAtOnce(t *testing.T) {
	target, _ := startJVM(t, compile(t), 0)
	a, err := Attach(attachTime(t), target)
	if err != nil {
		t.Fatal(err)
	}
	ctx := attachTime(t)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if text, err := a.Command(ctx, "jcmd", "Thread.print"); err != nil || !strings.Contains(text, "at Eater.main") {
				t.Errorf("%v, %d bytes", err, len(text))
			}
		})
	}
	all.Wait()
}
