package console

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHidden(t *testing.T) {
	t.Parallel()
	container(t, "hidden")
}

// hide starts a daemon that has no parent, group, session, environment, descriptor or terminal of the session. It waits for the file
// seen, and ignores HUP and TERM.
const hide = `env -i setsid /bin/sh -c 'exec 0<&- 1>&- 2>&-
	(trap "" HUP TERM; echo $$ >/dev/null; /bin/sh -c "echo \$\$ >$0; exec /bin/sleep 1000") & exit' $DIR/FILE
	while [ ! -s $DIR/FILE ]; do sleep 0.01; done; `

// playHidden ends sessions in every way while a hidden process of them runs.
func playHidden(s *stage) {
	for _, tty := range []bool{false, true} {
		var all sync.WaitGroup
		for name, c := range map[string]struct {
			script string
			end    func(sess *Session, l *Link, pid int)
		}{
			"exit":    {"sleep 2.5; exit 3", func(sess *Session, l *Link, _ int) { s.all(l) }},
			"client":  {"exec sleep 1000", func(_ *Session, l *Link, _ int) { l.Close() }},
			"kill":    {"exec sleep 1000", func(sess *Session, _ *Link, _ int) { sess.End("enough") }},
			"deaf":    {`trap "" HUP TERM; while :; do sleep 1000; done`, func(sess *Session, _ *Link, _ int) { sess.End("enough") }},
			"stopped": {"exec sleep 1000", func(sess *Session, _ *Link, pid int) { _ = unix.Kill(pid, unix.SIGSTOP); sess.End("enough") }},
			"killed": {"exec sleep 1000", func(sess *Session, l *Link, _ int) {
				<-time.After(1500 * time.Millisecond) // it is seen within a second
				_ = unix.Kill(sess.proc.Pid(), unix.SIGKILL)
			}},
		} {
			all.Go(func() { // ends with the session
				file := fmt.Sprintf("%s.%v", name, tty)
				spec := s.sh(strings.ReplaceAll(hide, "FILE", file) + c.script)
				spec.TTY = tty
				sess, l := s.open(spec)
				pid := s.pidIn(file)
				c.end(sess, l, pid)
				s.exit(sess)
				s.want(!alive(pid), "%s has left process %d", file, pid)
				l.Close()
			})
		}
		all.Wait()
	}

	// Orphans that the first process does not wait for become zombies. They are no members, and end with it.
	sess, l := s.open(s.sh(`for k in 1 2 3 4 5; do (sleep 0.01 & echo $! >>$DIR/zombies); done; echo begun; exec sleep 1000`))
	s.until(l, "begun")
	s.await("the zombies are members", func() bool { return len(sess.proc.Members()) == 1 })
	begun := time.Now()
	l.Close()
	x := s.exit(sess)
	s.want(time.Since(begun) < killAfter && x.Signal == "HUP", "with zombies: %v, %+v", time.Since(begun), x)
	s.say("end")
}
