package proc

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/logfile"
	"github.com/stoker-init/stoker/internal/logs"
	"golang.org/x/sys/unix"
)

// The service of TestDropsAreCountedAtOnce writes so much, in lines of 50 bytes.
const (
	unreadLines = 200_000
	unreadBytes = 50 * unreadLines

	outputPipe = 1 << 20 // of a service's output
)

// watchCounters looks at the counters over and over, and tells of one that is lower
// than it was, also than before a kill.
func (s *stage) watchCounters(l *logs.Log, done chan struct{}) {
	seen, err := os.OpenFile(s.dir+"/seen", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		s.say("%v", err)
		return
	}
	defer seen.Close()
	var high [6]uint64
	buf := make([]byte, 8*len(high))
	if _, err := seen.ReadAt(buf, 0); err == nil {
		for k := range high {
			high[k] = binary.LittleEndian.Uint64(buf[8*k:])
		}
	}
	names := [6]string{"dropped_bytes", "dropped_lines", "file.dropped_bytes", "file.dropped_lines", "file.bytes", "lost_bytes"}
	for {
		st := l.Stats()
		now := [6]uint64{st.DroppedBytes, st.DroppedLines, 0, 0, 0, st.LostBytes}
		if st.File != nil {
			now[2], now[3], now[4] = st.File.DroppedBytes, st.File.DroppedLines, st.File.Bytes
		}
		for k := range now {
			if now[k] < high[k] {
				s.say("%s fell from %d to %d", names[k], high[k], now[k])
			}
			high[k] = now[k]
			binary.LittleEndian.PutUint64(buf[8*k:], now[k])
		}
		_, _ = seen.WriteAt(buf, 0)
		select {
		case <-done:
			return
		default:
			unix.Poll(nil, 0)
		}
	}
}

// playUnread has a service that writes while nothing takes its output, and tells what is
// counted by then.
func playUnread(s *stage) int {
	o := playOptions()
	l, err := s.m.Logs.Open("svc", o)
	if err != nil {
		s.say("%v", err)
		return 1
	}
	p := s.process("svc.1")
	if s.first() {
		p = s.service("svc", os.Getenv("PLAY_SHELL"), o)
	}
	s.m.Adopted()
	done := make(chan struct{})
	watched := make(chan struct{})
	go func() { // ends with done
		defer close(watched)
		s.watchCounters(l, done)
	}()
	s.dieSoon()
	if p != nil {
		s.say("%d", status(p))
	}
	st := l.Stats()
	held := uint64(logs.DefaultKeep + 2*outputPipe + 128<<10) // and what the reader's pipe took
	s.say("counted %v", o.Format == logs.FormatNone || st.DroppedBytes+st.LostBytes+held+outputPipe > unreadBytes)
	s.say("counted for the file %v", st.File.DroppedBytes+st.LostBytes+held > unreadBytes)
	os.WriteFile(s.dir+"/ended", nil, 0o644)
	waitFile(s.dir + "/read")
	l.AwaitForwarded(l.End(), 20*1e9)
	close(done)
	<-watched
	return 0
}

// What is dropped is counted when it is dropped, not when the reader returns or the
// file can be written again; no counter ever falls, over kills of the supervisor too.
func TestDropsAreCountedAtOnce(t *testing.T) {
	for _, f := range []logs.Format{logs.FormatRaw, logs.FormatPrefix, logs.FormatJSON} {
		for _, kills := range []int{0, 12} {
			t.Run(fmt.Sprint(f, kills), func(t *testing.T) {
				gate := make(chan struct{})
				folder := t.TempDir() + "/folder"
				out := performance{script: "unread", kills: kills, shell: fmt.Sprintf(
					`yes "a line that is about fifty bytes long, to fill it" | head -n %d`, unreadLines),
					options: logs.Options{Format: f, File: &logfile.Options{Path: folder + "/f", Size: 64 << 10}},
					read:    func(r io.Reader) []byte { <-gate; out, _ := io.ReadAll(r); return out },
					during: func(dir string) {
						waitFile(dir + "/ended")
						_ = os.Mkdir(folder, 0o755)
						close(gate)
						os.WriteFile(dir+"/read", nil, 0o644)
					}}.run(t)
				for line := range strings.Lines(out.said) {
					if strings.Contains(line, "fell") || strings.Contains(line, "false") {
						t.Error(line)
					}
				}
			})
		}
	}
}
