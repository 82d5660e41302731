package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Kills of the supervisor in the middle of a flood.
const kills = 25

func TestKilled(t *testing.T) {
	for _, name := range []string{"kill-pipe", "kill-tty"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := container(t, name)
			if len(lines) < kills {
				t.Errorf("%d lives only", len(lines))
			}
		})
	}
}

// playKilled runs a session whose output is a sequence of numbers, and is killed again and again while a client reads and writes down
// what it gets. The client goes on at the size of its file, and types a line in each life.
func playKilled(s *stage) {
	tty := strings.HasSuffix(os.Args[1], "tty")
	f, _ := os.OpenFile(s.dir+"/client", os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	size, _ := f.Seek(0, io.SeekEnd)
	var l *Link
	if s.lives == 1 {
		spec := s.sh(`trap "" HUP; while read -r line; do echo "$line" >>$DIR/typed; done & seq 1 100000000 & echo $! >$DIR/seq; wait`)
		if tty {
			spec.Command[2] = "stty -echo; " + spec.Command[2]
		}
		spec.Command[2] = strings.Replace(spec.Command[2], "while read -r line", "while read -r line <&3", 1)
		spec.Command[2] = "exec 3<&0; " + spec.Command[2]
		spec.TTY, spec.Stdin, spec.Keep = tty, true, Duration(time.Minute)
		_, l = s.open(spec)
		s.pidIn("seq") // from here on the terminal does not echo
	} else {
		list := s.Sessions()
		if len(list) != 1 || list[0].Exit != nil {
			s.say("FAIL life %d: %+v", s.lives, list)
			return
		}
		sess, err := s.Session(list[0].ID)
		if err == nil {
			<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond) // the client does not come back at once
			l, err = sess.Attach(tester(), Attach{Mode: Hold, From: [3]int64{0, size, 0}})
		}
		if err != nil {
			s.say("FAIL life %d: %v", s.lives, err)
			return
		}
	}
	s.say("life %d at %d", s.lives, size)
	typed := func() string {
		data, _ := os.ReadFile(s.dir + "/typed")
		return string(data)
	}
	text := ""
	for k := range s.lives {
		text += fmt.Sprintf("typed in life %d\n", k+1)
	}
	if s.lives <= kills {
		time.AfterFunc(time.Duration(20+rand.IntN(60))*time.Millisecond, die)
	} else {
		go func() { // ends when all has arrived
			s.await("something typed is missing", func() bool { return len(typed()) >= len(text) })
			l.s.End("enough")
		}()
	}
	// As every client that comes back: from what was taken on.
	if err := l.Write([]byte(text[l.Taken():])); err != nil {
		s.say("FAIL life %d: %v", s.lives, err)
	}
	for {
		c, err := l.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || c.Offset != size {
			s.say("FAIL life %d: at %d instead of %d, %v", s.lives, c.Offset, size, err)
			return
		}
		n, _ := f.Write(c.Data)
		size += int64(n)
	}
	s.checkSequence()
	s.want(typed() == text, "typed in %d lives:\n%s", s.lives, typed())
	s.say("end")
}

// checkSequence checks that the client's file is the sequence, to somewhere.
func (s *stage) checkSequence() {
	data, _ := os.ReadFile(s.dir + "/client")
	lines := strings.Split(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n")
	for k, line := range lines[:len(lines)-1] {
		if n, _ := strconv.Atoi(line); n != k+1 {
			s.say("FAIL line %d is %q", k+1, line)
			return
		}
	}
	s.want(len(lines) > 10000, "%d lines only", len(lines))
	s.say("%d bytes in %d lines", len(data), len(lines))
}

// playResume is killed after its session has ended, before its client has read the end.
func playResume(s *stage) {
	switch s.lives {
	case 1:
		spec := s.sh("echo last words; exit 6")
		spec.Keep = Duration(time.Minute)
		ended, l := s.open(spec)
		l.Close()
		s.exit(ended)
		spec = s.sh("exec sleep 1000")
		_, _ = s.open(spec) // its client cannot come again
		spec.Keep, spec.TTY, spec.Stdin = Duration(time.Minute), true, true
		spec.Command = []string{"/bin/sh"}
		_, l = s.open(spec)
		l.Resize(50, 150)
		_ = l.Write([]byte("X=kept\n"))
		s.await("no input", func() bool { return l.Taken() == 7 })
		spec = s.sh("cat; echo eof; exec sleep 1000")
		spec.Keep, spec.Stdin = Duration(time.Minute), true
		_, l = s.open(spec)
		l.CloseStdin()
		s.until(l, "eof")
		die()
	case 2:
		list := map[string]*Session{}
		for _, info := range s.Sessions() {
			sess, err := s.Session(info.ID)
			s.want(err == nil, "%v", err)
			list[strings.Join(info.Command, " ")] = sess
		}
		s.want(len(list) == 4, "%+v", s.Sessions())
		ended := list["/bin/sh -c echo last words; exit 6"]
		l, err := ended.Attach(tester(), Attach{Mode: Hold, From: Everything()})
		s.want(err == nil, "%v", err)
		out, _ := s.all(l)
		s.want(out == "last words\n" && ended.Info().Exit.Code == 6 && ended.Info().StdoutBytes == 11, "%q, %+v", out, ended.Info())
		l.Close()
		lost := list["/bin/sh -c exec sleep 1000"]
		x := s.exit(lost)
		s.want(strings.HasPrefix(x.Why, "no client"), "%+v", x)
		shell := list["/bin/sh"]
		l, err = shell.Attach(tester(), Attach{Mode: Hold, From: Everything()})
		s.want(err == nil && l.Taken() == 7, "%v", err)
		_ = l.Write([]byte("echo $X; stty size; exit 9\n"))
		out, _ = s.all(l)
		s.want(strings.Contains(out, "kept\r\n50 150\r\n") && shell.Info().Exit.Code == 9, "%q, %+v", out, shell.Info())
		sess := list["/bin/sh -c cat; echo eof; exec sleep 1000"]
		l, err = sess.Attach(tester(), Attach{Mode: Hold, From: [3]int64{0, 4, 0}})
		s.want(err == nil && l.Write([]byte("x")) == io.ErrClosedPipe, "the input is open again: %v", err)
		sess.End("enough")
		s.exit(sess)
		s.say("end")
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	container(t, "resume")
}
