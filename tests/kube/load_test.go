package kube_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestShortCommands checks that the output of short commands is complete to the last byte.
func TestShortCommands(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	var want strings.Builder
	for k := range 500 {
		fmt.Fprintln(&want, k+1)
	}
	for _, tty := range []bool{false, true} {
		count, text := amount(100, 1000), want.String()+"last byte"
		if tty {
			text = strings.ReplaceAll(text, "\n", "\r\n")
		}
		var all sync.WaitGroup
		places := make(chan struct{}, 4)
		for range count {
			places <- struct{}{}
			all.Go(func() { // ends with its session
				defer func() { <-places }()
				b.exec(within(t), call{tty: tty}, "sh", "-c", "seq 500; printf 'last byte'; exit 6").check(t, 6, text, "")
			})
		}
		all.Wait()
	}
}

// slowReader passes on at most rate bytes a second.
type slowReader struct {
	io.Reader
	rate  int
	began time.Time
	read  int
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.began.IsZero() {
		s.began = time.Now()
	}
	n, err := s.Reader.Read(p[:min(len(p), 16<<10)])
	s.read += n
	if ahead := time.Duration(s.read)*time.Second/time.Duration(s.rate) - time.Since(s.began); ahead > 0 {
		<-time.After(ahead)
	}
	return n, err
}

// TestInterruptInFlood presses ^C while a program floods a client that reads 2 MB/s. What the client's own kernel has received is not
// in stoker's hands, so each may have a second and a third try.
func TestInterruptInFlood(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]boxOptions{"tcp": {}, "tls": {tls: true}} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t, o)
			for _, protocol := range []string{v5, v4, v1} {
				var n int
				var took time.Duration
				for try := 0; try == 0 || try < 3 && (n > 256<<10 || took > 500*time.Millisecond); try++ {
					n, took = b.interruptFlood(t, protocol)
					t.Logf("%s: %d KiB in %v after ^C", protocol, n>>10, took)
				}
				if n > 256<<10 || took > 500*time.Millisecond {
					t.Errorf("%s: %d KiB in %v after ^C", protocol, n>>10, took)
				}
			}
		})
	}
}

// interruptFlood returns how much comes after ^C, and for how long.
func (b *box) interruptFlood(t *testing.T, protocol string) (after int, took time.Duration) {
	t.Helper()
	conn := b.open(t, protocol, true, "yes")
	defer conn.Close()
	conn.in = bufio.NewReader(&slowReader{Reader: conn.in, rate: 2 << 20})
	var all int64
	read := func(until func() bool) (n int) {
		for !until() {
			opcode, payload, err := conn.next()
			if err != nil {
				t.Fatal(err)
			}
			if opcode == closing {
				return n
			}
			if n += len(payload); opcode == binaryData && protocol == v1 {
				all += int64(len(payload) - 1)
				conn.send(t, frame(text, fmt.Sprintf(`{"type":"ack","stream":1,"offset":%d}`, all)))
			}
		}
		return n
	}
	flood := time.Now().Add(2 * time.Second)
	if n := read(func() bool { return time.Now().After(flood) }); n < 512<<10 {
		t.Errorf("only %d bytes of the flood came", n)
	}
	pressed := time.Now()
	conn.send(t, frame(binaryData, "\x00\x03"))
	return read(func() bool { return false }), time.Since(pressed)
}

// TestNothingIsLeft opens many sessions, half of which are aborted, and checks that nothing of them is left.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]boxOptions{"tcp": {}, "tls": {tls: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBox(t, o)
			b.warmUp(t)
			before, pid := b.usage(), b.supervisor()
			count := amount(100, 500)
			for k := range count {
				b.abuse(t, k)
				if k%100 == 99 {
					t.Logf("after %d: %+v", k+1, b.usage())
				}
			}
			b.leftovers(t, before, pid)
		})
	}
}

// warmUp waits for what a supervisor does 2 s after its start, and runs a few sessions, so that what is made once is there.
func (b *box) warmUp(t *testing.T) {
	poll(t, "the configuration is watched", func() bool {
		return time.Since(b.began) > 4*time.Second && b.files()["anon_inode:inotify"] > 1 // the first is of the tokens
	})
	for k := range 20 {
		b.exec(within(t), call{tty: k%2 == 0}, "true").check(t, 0, "", "")
	}
}

// abuse is one session of client-go: good, aborted at once, aborted in a flood, or aborted while it waits.
func (b *box) abuse(t *testing.T, k int) {
	ctx, abort := context.WithCancel(within(t))
	defer abort()
	tty := k%4 < 2
	switch k % 8 {
	case 0, 2, 4, 6:
		if r := b.exec(ctx, call{tty: tty, stdin: strings.NewReader("in\n")}, "sh", "-c", "echo out; exit 3"); r.code != 3 || r.err != nil {
			t.Errorf("code %d, %v", r.code, r.err)
		}
	case 1:
		abort()
		b.exec(ctx, call{tty: tty}, "sleep", "1000")
	default:
		s, done := &screen{}, make(chan struct{})
		command := map[int]string{3: "echo ready; exec yes", 5: "echo ready; exec sleep 1000", 7: "echo ready; sleep 1000 & exec cat"}[k%8]
		keys, keyboard := io.Pipe()
		go func() { // ends with ctx
			defer close(done)
			b.exec(ctx, call{tty: tty, stdin: keys, stdout: s}, "sh", "-c", command)
		}()
		s.await(t, "ready")
		abort()
		<-done
		keyboard.Close()
	}
}

// leftovers waits until a box holds no more than before, and checks that its supervisor is the same.
func (b *box) leftovers(t *testing.T, before usage, pid int) {
	t.Helper()
	pollFor(t, 15*time.Second, "all sessions end", b.idle)
	var after usage
	good := false
	for end := time.Now().Add(15 * time.Second); !good && time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		after = b.usage()
		good = after.FDs <= before.FDs && after.Goroutines <= before.Goroutines && after.Terminals <= before.Terminals &&
			after.Zombies == 0 && after.RSS <= before.RSS+16<<10
	}
	t.Logf("before %+v, after %+v", before, after)
	if !good {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if now := b.supervisor(); now != pid {
		t.Errorf("the supervisor was %d and is %d", pid, now)
	}
}

// TestManySessions opens thousands of sessions, good, broken and hostile.
func TestManySessions(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{console: "sessions: 64, sessions_per_client: 64, keep: 1s"})
	b.warmUp(t)
	before, pid := b.usage(), b.supervisor()
	var all sync.WaitGroup
	places := make(chan struct{}, 8)
	for k := range amount(250, 5000) {
		places <- struct{}{}
		all.Go(func() { // ends with its session
			defer func() { <-places }()
			b.abuseRaw(t, k)
		})
		if k%1000 == 999 {
			t.Logf("after %d: %+v", k+1, b.usage())
		}
	}
	all.Wait()
	b.leftovers(t, before, pid)
}

// abuseRaw is one session of a client that is good, breaks the protocol, or leaves in some way.
func (b *box) abuseRaw(t *testing.T, k int) {
	protocol := []string{v5, v4, v1}[k%3]
	conn := b.open(t, protocol, k%2 == 0, "sh", "-c", "echo ready; exec cat")
	defer conn.Close()
	if k%5 != 0 {
		conn.await(t, "ready")
	}
	switch k % 7 {
	case 0: // the end of a good one
		if protocol != v5 || k%2 == 0 {
			conn.send(t, frame(binaryData, "\x00\x04"))
		} else {
			conn.send(t, frame(binaryData, "\xff\x00"))
		}
		if protocol == v5 {
			if code, reason, err := conn.end(deadline); code != 1000 {
				t.Errorf("%d: code %d %q, %v", k, code, reason, err)
			}
		}
	case 1:
		conn.send(t, rawFrame(0x82, false, 2, "\x00x"))
	case 2:
		conn.send(t, rawFrame(0xff, true, 1<<62, "\x00x"))
	case 3:
		conn.send(t, frame(closing, "\x03\xe8"))
	case 4:
		conn.send(t, frame(binaryData, "\x00"+strings.Repeat("x", 60<<10)))
	case 5:
		conn.send(t, rawFrame(0x82, true, 1000, "\x00half of a message"))
	}
}

// TestDeadReaders opens sessions whose clients never read: they cost no memory, and end with their connection.
func TestDeadReaders(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	b.warmUp(t)
	before, pid := b.usage(), b.supervisor()
	var conns []*raw
	for k := range 32 {
		conn := b.open(t, []string{v5, v4, v1}[k%3], k%2 == 0, "yes")
		conns = append(conns, conn)
		// Input that the program does not read.
		conn.send(t, frame(binaryData, "\x00"+strings.Repeat("\n", 4<<10)))
	}
	most, end := 0, time.Now().Add(time.Duration(amount(3, 30))*time.Second)
	for ; time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		most = max(most, b.usage().RSS)
	}
	t.Logf("memory %d KiB, with 32 dead readers at most %d KiB", before.RSS, most)
	if most-before.RSS > 32*1024 {
		t.Errorf("memory rose from %d to %d KiB", before.RSS, most)
	}
	b.exec(within(t), call{}, "echo", "well").check(t, 0, "well\n", "")
	for _, conn := range conns {
		conn.Close()
	}
	b.leftovers(t, before, pid)
}

// TestPingFlood sends pings and never reads the pongs, while the input is stuck.
func TestPingFlood(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	b.warmUp(t)
	before, pid := b.usage(), b.supervisor()
	conn := b.open(t, v5, false, "sleep", "1000")
	_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	for range 200_000 {
		if _, err := conn.Write(frame(ping, strings.Repeat("x", 125))); err != nil {
			break // the server reads no more, or has given up
		}
	}
	if after := b.usage(); after.RSS-before.RSS > 8<<10 {
		t.Errorf("memory rose from %d to %d KiB", before.RSS, after.RSS)
	}
	conn.Close()
	b.leftovers(t, before, pid)
}

// TestStuckInput fills the input of a program that does not read, and checks that the rest of its session works.
func TestStuckInput(t *testing.T) {
	t.Parallel()
	b := newBox(t, boxOptions{})
	for _, tty := range []bool{false, true} {
		conn := b.open(t, v5, tty, "sh", "-c", "echo ready; sleep 3; echo awake; exec sleep 1000")
		conn.await(t, "ready")
		stuck := make(chan struct{})
		go func() { // ends when the connection is closed
			defer close(stuck)
			for range 1000 {
				if _, err := conn.Write(frame(binaryData, "\x00"+strings.Repeat("x\n", 8<<10))); err != nil {
					return
				}
			}
		}()
		conn.await(t, "awake")
		conn.Close()
		<-stuck
		pollFor(t, 5*time.Second, "the session ends", b.idle)
	}
}
