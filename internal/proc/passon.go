package proc

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// holdPartial is how long the beginning of a line waits for its end before it is
// passed on all the same (a prompt has none).
const holdPartial = 50 * time.Millisecond

// portion is what is passed on in one go.
type portion struct {
	n      int // bytes; 0: nothing to pass on now
	stream int
	lines  uint64
	ends   bool // it ends a line
	hold   bool // there is the beginning of a line, not yet due
}

// passOn copies the log to the container's stdout and stderr. It is the only
// one that a reader who stalls can block. It ends with Flush.
func (l *Log) passOn() {
	defer close(l.passed)
	wake, cancel := l.subscribe()
	defer cancel()
	var held <-chan time.Time // runs out when the beginning of a line has waited enough
	due := false
	for {
		l.passNotes()
		p := l.portion(!due)
		if p.n > 0 {
			held, due = nil, false
			l.passPortion(p)
			continue
		}
		switch {
		case l.quitting() && p.hold:
			due = true
			continue
		case l.quitting():
			return
		case p.hold && held == nil:
			held = time.After(holdPartial)
		}
		select {
		case <-wake:
		case <-held:
			held, due = nil, true
		}
	}
}

// portion looks at what comes next. whole asks for whole lines only.
func (l *Log) portion(whole bool) portion {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipLost()
	seg, until, ok := l.ix.find(l.ix.passed, l.end)
	if !ok {
		return portion{}
	}
	n := int(min(until-l.ix.passed, chunkSize))
	got, err := unix.Pread(l.data, l.buffer()[:n], l.ix.passed)
	if err != nil || got <= 0 {
		return portion{}
	}
	b := l.buf[:got]
	cut := bytes.LastIndexByte(b, '\n') + 1
	if cut == 0 {
		if last := until == l.end; whole && last && got < chunkSize {
			return portion{hold: true}
		}
		cut = got
	}
	l.pinned = [2]int64{l.ix.passed, l.ix.passed + int64(cut)}
	return portion{n: cut, stream: int(seg.stream), lines: uint64(bytes.Count(b[:cut], []byte{'\n'})), ends: b[cut-1] == '\n'}
}

// skipLost jumps over what is no longer kept, counts it and marks the place.
func (l *Log) skipLost() {
	start := l.ix.start()
	if l.ix.passed >= start {
		return
	}
	gone, lines := uint64(start-l.ix.passed), l.ix.startLines()-l.ix.passedLines
	l.ix.droppedBytes += gone
	l.ix.droppedLines += lines
	l.ix.passed, l.ix.passedLines = start, l.ix.startLines()
	unix.Seek(l.sent, start, io.SeekStart)
	l.notes = append(l.notes, fmt.Sprintf("%d lines (%d bytes) of the output of %s were dropped here: it is not read fast enough", lines, gone, l.name))
}

// passPortion passes p on, or counts it as dropped where nobody reads.
func (l *Log) passPortion(p portion) {
	n, err := l.outs[p.stream-1].pass(l, l.sent, p.n, p.ends)
	l.mu.Lock()
	defer l.mu.Unlock()
	if n < p.n && err != nil {
		l.ix.droppedBytes += uint64(p.n - n)
		l.ix.droppedLines += p.lines
		unix.Seek(l.sent, l.ix.passed+int64(p.n), io.SeekStart)
		n = p.n
	}
	l.ix.passed += int64(n)
	l.ix.passedLines += p.lines
	l.pinned = [2]int64{}
	l.trim()
}

// passNotes writes the markers that wait.
func (l *Log) passNotes() {
	l.mu.Lock()
	notes := l.notes
	l.notes = nil
	l.mu.Unlock()
	for _, n := range notes {
		l.outs[1].Write([]byte("stoker: " + n + "\n"))
	}
}

func (l *Log) quitting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quit
}

// Flush passes on what there is, as far as the reader takes it within the
// deadline, and then no more. It is for the end of the container.
func (m *Manager) Flush(within time.Duration) {
	deadline := time.After(within)
	m.mu.Lock()
	var all []*Log
	for _, l := range m.logs {
		all = append(all, l)
	}
	m.mu.Unlock()
	for _, l := range all {
		l.mu.Lock()
		l.quit = true
		for wake := range l.wakes {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
		l.mu.Unlock()
	}
	for _, l := range all {
		select {
		case <-l.passed:
		case <-deadline:
			return
		}
	}
}

// outputLost notes what the init discarded while no supervisor worked.
func (p *Process) outputLost(bytes, lines uint64) {
	if p.pipes == nil {
		return
	}
	l := p.pipes.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if more := lines - p.pipes.lost.lines; more > 0 {
		l.notes = append(l.notes, fmt.Sprintf("%d lines of the output of %s were discarded while no supervisor worked", more, l.name))
	}
	p.pipes.lost = lostOutput{bytes, lines}
}
