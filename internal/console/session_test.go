package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/program"
	"golang.org/x/sys/unix"
)

func TestEnds(t *testing.T) {
	t.Parallel()
	container(t, "ends")
}

// pidIn reads a pid that a process has written.
func (s *stage) pidIn(file string) (pid int) {
	s.await("no pid in "+file, func() bool {
		data, err := os.ReadFile(s.dir + "/" + file)
		if err == nil {
			pid, _ = strconv.Atoi(strings.TrimSpace(string(data)))
		}
		return pid > 0
	})
	return pid
}

// playEnds ends sessions in every way, and looks for what is left.
func playEnds(s *stage) {
	for _, tty := range []bool{false, true} {
		for code, script := range map[int]string{0: "true", 7: "exit 7", 137: "kill -9 $$"} {
			spec := s.sh(script)
			spec.TTY = tty
			sess, l := s.open(spec)
			s.all(l)
			x := s.exit(sess)
			s.want(x.Code == code && (x.Signal == "KILL") == (code == 137) && x.Why == "", "%q (terminal %v): %+v", script, tty, x)
			l.Close()
		}
	}
	_, err := s.Open(context.Background(), Spec{Command: []string{"/no/such"}}, tester())
	missing := (*program.StartError)(nil)
	s.want(errors.As(err, &missing) && missing.Code() == 127, "a missing program: %v", err)

	// What has left the session's group and terminal ends with it, after its output or 2 s.
	for _, tty := range []bool{false, true} {
		for name, c := range map[string]struct {
			script string
			least  time.Duration
			most   time.Duration
			out    string
		}{
			"quiet": {`setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >$DIR/PID; echo out`, 0, 10 * time.Second, "out"},
			"deaf": {`setsid sh -c 'trap "" TERM HUP; echo $$ >$DIR/PID; sleep 1000 & wait; sleep 1000' </dev/null >/dev/null 2>&1 &
				while [ ! -s $DIR/PID ]; do sleep 0.01; done; echo out`, 1900 * time.Millisecond, 10 * time.Second, "out"},
			"holding": {`trap "" HUP; setsid sleep 1000 & echo $! >$DIR/PID; echo out`, 1900 * time.Millisecond, 10 * time.Second, "out"},
			"late":    {`trap "" HUP; (trap "" HUP; sleep 0.5; echo late) & echo $! >$DIR/PID; echo out`, 400 * time.Millisecond, 10 * time.Second, "out\nlate"},
		} {
			pidFile := fmt.Sprintf("%s.%v", name, tty)
			spec := s.sh(strings.ReplaceAll(c.script, "PID", pidFile))
			spec.TTY = tty
			begun := time.Now()
			sess, l := s.open(spec)
			out, _ := s.all(l)
			s.exit(sess)
			took := time.Since(begun)
			s.want(took >= c.least && took < c.most, "%s (terminal %v) took %v", name, tty, took)
			s.want(strings.TrimSpace(strings.ReplaceAll(out, "\r", "")) == c.out, "%s (terminal %v) wrote %q", name, tty, out)
			s.want(!alive(s.pidIn(pidFile)), "%s (terminal %v) has left a process", name, tty)
			l.Close()
		}
	}

	// A client that is gone takes its session along.
	spec := s.sh(`trap "" HUP TERM; setsid sleep 1000 & echo $! >$DIR/escaped; echo $$ >$DIR/leader; while :; do sleep 1000; done`)
	sess, l := s.open(spec)
	pids := []int{s.pidIn("escaped"), s.pidIn("leader")}
	begun := time.Now()
	l.Close()
	x := s.exit(sess)
	took := time.Since(begun)
	s.want(took < 10*time.Second && x.Code == 137 && x.Why == "its client is gone", "a lost client: %v, %+v", took, x)
	for _, pid := range pids {
		s.want(!alive(pid), "process %d outlives its client", pid)
	}
	_, err = s.Session(sess.ID())
	s.await("an ended session is forgotten", func() bool { _, err = s.Session(sess.ID()); return errors.Is(err, ErrNoSession) })
	_, err = sess.Attach(tester(), Attach{Mode: View, From: Everything()})
	s.want(errors.Is(err, ErrNoSession), "to attach to it: %v", err)

	// The end of the container.
	sess, l = s.open(s.sh("exec sleep 1000"))
	s.Stop(context.Background())
	x = s.exit(sess)
	s.want(x.Why == "the container stops" && x.Code == 129, "%+v", x)
	_, err = s.Open(context.Background(), s.sh("true"), tester())
	s.want(errors.Is(err, ErrUnavailable), "after Stop: %v", err)
	s.all(l)
	s.say("end")
}

func TestTail(t *testing.T) {
	t.Parallel()
	container(t, "tail")
}

// playTail reads short commands: not a byte is missing.
func playTail(s *stage) {
	for k := range 100 {
		spec := s.sh("head -c 30000 /dev/zero | tr '\\0' x; echo END")
		spec.TTY = k%2 == 0
		sess, l := s.open(spec)
		out, _ := s.all(l)
		out = strings.TrimRight(out, "\r\n")
		s.want(len(out) == 30003 && strings.HasSuffix(out, "xEND"), "run %d: %d bytes, %.20q", k, len(out), out[max(0, len(out)-20):])
		s.exit(sess)
		l.Close()
	}
	s.say("end")
}

func TestOutput(t *testing.T) {
	t.Parallel()
	container(t, "output")
}

// playOutput has slow, fast and missing readers.
func playOutput(s *stage) {
	// Both streams.
	_, l := s.open(s.sh("echo out; echo err >&2"))
	out, errs := s.all(l)
	s.want(out == "out\n" && errs == "err\n", "%q, %q", out, errs)
	l.Close()

	// A holder that does not read stops the process; nothing is lost.
	spec := s.sh("seq 1 100000; echo done >$DIR/written")
	sess, l := s.open(spec)
	s.await("no output", func() bool { return sess.Info().StdoutBytes > window/2 })
	_, err := os.Stat(s.dir + "/written")
	s.want(err != nil && sess.Info().StdoutBytes <= window, "the process does not wait: %d bytes", sess.Info().StdoutBytes)
	// A viewer does not help it on.
	v, err := sess.Attach(tester(), Attach{Mode: View, From: Everything()})
	s.want(err == nil, "%v", err)
	c, err := v.Next(context.Background())
	s.want(err == nil && c.Offset == 0 && strings.HasPrefix(string(c.Data), "1\n2\n"), "a viewer sees %d %.20q, %v", c.Offset, c.Data, err)
	out, _ = s.all(l)
	s.want(out == seq(100000), "%d bytes", len(out))
	// The viewer has missed a part, and knows how much.
	next, got := c.Offset+int64(len(c.Data)), 0
	for {
		c, err := v.Next(context.Background())
		if err != nil {
			s.want(err == io.EOF, "%v", err)
			break
		}
		if c.Offset > next {
			got++
		}
		s.want(string(c.Data) == out[c.Offset:][:len(c.Data)], "at %d a viewer sees something else", c.Offset)
		next = c.Offset + int64(len(c.Data))
	}
	s.want(got == 1 && next == int64(len(out)), "%d gaps, up to %d of %d", got, next, len(out))
	l.Close()
	v.Close()

	// Output waits for the first client, and for one that is lost and comes back.
	spec = s.sh("seq 1 200000")
	spec.Keep = Duration(time.Minute)
	sess, err = s.Open(context.Background(), spec, tester())
	s.want(err == nil, "%v", err)
	full := func() bool { return sess.Info().StdoutBytes >= sess.ring.h.size }
	s.await("the ring is not filled before the first client", full)
	l, err = sess.Attach(tester(), Attach{Mode: Hold, From: Everything(), Window: 64 << 10})
	s.want(err == nil, "%v", err)
	c, err = l.Next(context.Background())
	s.want(err == nil && c.Offset == 0, "the first client begins at %d, %v", c.Offset, err)
	got = len(c.Data)
	l.Ack(Stdout, 1000) // the rest was on its way
	l.Close()
	s.await("the ring is not filled up for the client", func() bool { return sess.Info().StdoutBytes == 1000+sess.ring.h.size })
	l, err = sess.Attach(tester(), Attach{Mode: Hold, From: [3]int64{0, 1000, 0}})
	s.want(err == nil && got > 1000, "%v", err)
	out, _ = s.all(l)
	s.want(out == seq(200000)[1000:], "%d bytes", len(out))
	l.Close()

	// Without a holder the process goes on after a while, and the end is kept.
	spec = s.sh("seq 1 100000")
	out = seq(100000)
	spec.Keep = Duration(time.Minute)
	sess, l = s.open(spec)
	l.Close()
	s.exit(sess)
	l, err = sess.Attach(tester(), Attach{Mode: Hold, From: [3]int64{0, 100, 0}})
	s.want(err == nil, "%v", err)
	c, err = l.Next(context.Background())
	s.want(err == nil && c.Offset == int64(len(out))-sess.ring.h.size && sess.ring.h.size >= 256<<10 &&
		strings.HasPrefix(out[c.Offset:], string(c.Data)),
		"from %d: %v", c.Offset, err)
	l.Close()

	// Next returns no more than what is not acknowledged.
	spec.Keep = 0
	_, l = s.open(s.sh("seq 1 10000"))
	l.window = 10
	c, err = l.Next(context.Background())
	s.want(err == nil && len(c.Data) == 10, "%d bytes, %v", len(c.Data), err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	_, err = l.Next(ctx)
	cancel()
	s.want(errors.Is(err, context.DeadlineExceeded), "beyond the window: %v", err)
	l.Ack(Stdout, 4)
	l.Ack(Stdout, 1<<40)
	l.Ack(Stdout, -1)
	c, err = l.Next(context.Background())
	s.want(err == nil && c.Offset == 10 && len(c.Data) == 10, "%d at %d, %v", len(c.Data), c.Offset, err)
	l.Close()
	s.say("end")
}

func seq(n int) string {
	var b strings.Builder
	for k := range n {
		fmt.Fprintln(&b, k+1)
	}
	return b.String()
}

func TestInput(t *testing.T) {
	t.Parallel()
	container(t, "input")
}

// playInput types.
func playInput(s *stage) {
	// 1 MiB through cat.
	spec := s.sh("exec cat")
	spec.Stdin = true
	sess, l := s.open(spec)
	text := strings.Repeat("0123456789abcde\n", 65536)
	go func() { // ends with the input
		s.want(l.Write([]byte(text)) == nil, "cannot write")
		l.CloseStdin()
	}()
	out, _ := s.all(l)
	s.want(out == text, "%d bytes of %d came back", len(out), len(text))
	s.want(s.exit(sess).Code == 0 && l.Taken() == int64(len(text)), "%+v, taken %d", s.exit(sess), l.Taken())
	s.want(l.Write([]byte("x")) == io.ErrClosedPipe, "input after the end")
	l.Close()

	// A process that does not read.
	spec = s.sh("exec sleep 1000")
	spec.Stdin = true
	sess, l = s.open(spec)
	wrote := make(chan error)
	go func() { wrote <- l.Write(make([]byte, 1<<20)) }() // ends with the link
	s.await("the queue is not full", func() bool { return l.Room() == 0 && l.Taken() > 0 })
	l.Close()
	err := <-wrote
	s.want(errors.Is(err, ErrClosed), "%v", err)
	s.exit(sess)

	// One that closes its input, and one without.
	spec = s.sh("exec <&-; echo closed; exec sleep 1000")
	spec.Stdin = true
	_, l = s.open(spec)
	s.until(l, "closed")
	s.await("no error", func() bool { return l.Write([]byte("x")) == io.ErrClosedPipe })
	l.Close()
	_, l = s.open(s.sh("exec cat"))
	s.want(l.Write([]byte("x")) == io.ErrClosedPipe, "input without stdin")
	s.all(l)
	l.Close()

	// A terminal: size, signals, end of file.
	spec = Spec{Command: []string{"/bin/bash", "--norc", "--noprofile", "--noediting", "-i"}, TTY: true, Stdin: true, Rows: 30, Columns: 100}
	sess, l = s.open(spec)
	enter := func(line, want string) {
		s.want(l.Write([]byte(line+"\n")) == nil, "cannot type")
		s.until(l, want)
	}
	enter("tty; test -t 0 && test -t 1 && test -t 2 && echo ter''minal", "terminal")
	enter("stty size", "30 100")
	l.Resize(40, 120)
	l.Resize(1, 120)
	enter("stty size", "40 120")
	enter("ls -l /proc/self/fd | wc -l; echo fd''s", "5\r\nfds") // 0 to 2, and that of ls
	enter("grep -E 'Sig(Blk|Ign)' /proc/self/status; echo sig''s", "sigs")
	enter("sleep 1000 && echo no", "sleep 1000")
	s.await("no sleep", func() bool { return strings.Contains(procNames(), "sleep\n") })
	s.want(l.Write([]byte("\x03")) == nil, "^C")
	enter("echo status=$?", "status=130")
	enter(`sh -c 'echo sle""eps; exec sleep 1000'`, "sleeps")
	s.want(l.Signal(unix.SIGTERM) == nil, "cannot signal")
	enter("echo sta''tus=$?", "status=143") // the shell lives on
	l.CloseStdin()
	s.all(l)
	s.want(s.exit(sess).Code == 0, "%+v", s.exit(sess))
	l.Close()
	s.say("end")
}

// procNames lists the names of all processes.
func procNames() string {
	var b strings.Builder
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if data, err := os.ReadFile("/proc/" + e.Name() + "/comm"); err == nil {
			b.Write(data)
		}
	}
	return b.String()
}

func TestFewDescriptors(t *testing.T) {
	t.Parallel()
	container(t, "few")
}

// playFew leaves no more descriptors than are kept for operators: only an admin opens a session.
func playFew(s *stage) {
	const limit = 64
	s.want(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}) == nil, "cannot set the limit")
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil || fd >= limit-18 {
			break
		}
	}
	_, err := s.Open(context.Background(), s.sh("true"), tester())
	s.want(errors.Is(err, ErrUnavailable), "the last descriptors: %v", err)
	admin := access.Identity{Name: "uid 0", Grants: access.All}
	for _, tty := range []bool{true, false} {
		spec := s.sh("echo out")
		spec.TTY = tty
		sess, err := s.Open(context.Background(), spec, admin)
		s.want(err == nil, "an admin: %v", err)
		l, err := sess.Attach(admin, Attach{Mode: Hold, From: Everything()})
		s.want(err == nil, "an admin: %v", err)
		out, _ := s.all(l)
		s.want(strings.TrimSpace(out) == "out", "%q", out)
		l.Close()
	}
	s.say("end")
}

func TestLinks(t *testing.T) {
	t.Parallel()
	container(t, "links")
}

// playLinks attaches several clients.
func playLinks(s *stage) {
	spec := s.sh("exec cat")
	spec.Stdin, spec.Keep = true, Duration(time.Minute)
	sess, l := s.open(spec)
	other := access.Identity{Name: "token other", Grants: access.Exec}
	_, err := sess.Attach(other, Attach{Mode: Hold, From: Everything()})
	s.want(errors.Is(err, ErrHeld) && strings.Contains(err.Error(), "token test"), "%v", err)
	_, err = sess.Attach(access.Identity{Name: "token viewer", Grants: access.View | access.Job}, Attach{Mode: View})
	s.want(errors.Is(err, ErrNotAllowed), "%v", err)
	v, err := sess.Attach(other, Attach{Mode: View, From: Everything()})
	s.want(err == nil && errors.Is(v.Write([]byte("x")), ErrReadOnly) && errors.Is(v.Signal(unix.SIGTERM), ErrReadOnly),
		"a viewer may type: %v", err)
	v.CloseStdin()
	info := sess.Info()
	s.want(info.Holder == "token test" && info.Viewers == 1 && info.DetachedSince == nil && info.Pid > 1, "%+v", info)
	s.want(l.Write([]byte("one\n")) == nil, "cannot type")
	s.until(l, "one")
	s.until(v, "one")

	var viewers []*Link
	for range maxLinks - 2 {
		v, err := sess.Attach(other, Attach{Mode: View})
		s.want(err == nil, "%v", err)
		viewers = append(viewers, v)
	}
	_, err = sess.Attach(other, Attach{Mode: View})
	s.want(errors.As(err, new(*LimitError)), "too many viewers: %v", err)
	for _, v := range viewers {
		v.Close()
	}
	taker, err := sess.Attach(other, Attach{Mode: Take, From: [3]int64{0, 4, 0}})
	s.want(err == nil, "%v", err)
	<-l.Gone()
	_, err = l.Next(context.Background())
	s.want(errors.Is(err, ErrTaken) && errors.Is(l.Err(), ErrTaken) && strings.Contains(err.Error(), "token other"), "%v", err)
	s.want(errors.Is(l.Write([]byte("x")), ErrTaken), "the old holder may type")
	l.Close()
	s.want(taker.Taken() == 4 && taker.Position()[Stdout] == 4, "taken %d, at %v", taker.Taken(), taker.Position())
	s.want(taker.Write([]byte("two\n")) == nil, "cannot type")
	out := s.until(taker, "two")
	s.want(out == "two\n", "%q", out)
	var n Notice
	s.await("no notice", func() bool {
		select {
		case n = <-v.Notices():
		default:
		}
		return n.Stdin == 8
	})
	s.want(n.Holder == "token other" && n.Viewers == 1, "%+v", n)
	v.Close()
	taker.Close()
	s.want(sess.Info().DetachedSince != nil, "%+v", sess.Info())
	l, err = sess.Attach(tester(), Attach{Mode: Hold, From: Everything()})
	s.want(err == nil, "%v", err)
	s.want(s.until(l, "two") == "one\ntwo\n", "what was kept is not there")
	sess.End("enough")
	s.want(s.exit(sess).Why == "enough", "%+v", sess.Info().Exit)
	<-l.Gone()
	s.want(l.Err() == nil, "%v", l.Err())
	s.all(l)
	l.Close()

	// A client that detaches does not wait for a process that does not read.
	spec = s.sh("exec sleep 1000")
	spec.Stdin, spec.Keep = true, Duration(time.Minute)
	sess, l = s.open(spec)
	written := make(chan error)
	go func() { written <- l.Write(make([]byte, 1<<20)) }()
	s.await("there is room", func() bool { return l.Room() == 0 })
	l.Close()
	s.want(errors.Is(<-written, ErrClosed), "it waited for something else")
	sess.End("enough")
	s.exit(sess)

	// An ended session waits for its client.
	spec = s.sh("echo last; exit 5")
	spec.Keep = Duration(time.Minute)
	sess, l = s.open(spec)
	l.Close()
	s.exit(sess)
	sess, err = s.Session(sess.ID())
	s.want(err == nil, "%v", err)
	l, err = sess.Attach(tester(), Attach{Mode: Hold, From: Everything()})
	s.want(err == nil, "%v", err)
	out, _ = s.all(l)
	s.want(out == "last\n" && sess.Info().Exit.Code == 5, "%q", out)
	l.Close()
	s.await("it is kept although it was read", func() bool { _, err := s.Session(sess.ID()); return err != nil })
	list := s.Sessions()
	s.want(len(list) == 3 && list[0].ID == sess.ID() && list[0].StdoutBytes == 5, "%+v", list)
	s.say("end")
}
