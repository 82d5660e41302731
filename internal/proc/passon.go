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
		p := l.portion(!due)
		l.passNotes()
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
	defer l.unlock()
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
	rest, restLines := l.restOfLine(start)
	start += rest
	gone, lines := uint64(start-l.ix.passed), l.ix.startLines()+restLines-l.ix.passedLines
	l.ix.droppedBytes += gone
	l.ix.droppedLines += lines
	l.ix.passed, l.ix.passedLines = start, l.ix.startLines()+restLines
	unix.Seek(l.sent, start, io.SeekStart)
	l.gap = true
	l.notes = append(l.notes, fmt.Sprintf("%d lines (%d bytes) of the output of %s were dropped here: it is not read fast enough", lines, gone, l.name))
}

// restOfLine is what must be skipped at off so that nothing begins in the middle
// of a line whose beginning is gone. Where the byte before is gone too, one line
// too many is skipped, and counted.
func (l *Log) restOfLine(off int64) (n int64, lines uint64) {
	seg, until, ok := l.ix.find(off, l.end)
	if !ok || seg.off > off {
		return 0, 0
	}
	b := l.buffer()[:min(until-off, chunkSize-1)+1]
	got, err := unix.Pread(l.data, b, off-1)
	if err != nil || got < 1 || b[0] == '\n' {
		return 0, 0
	}
	if end := bytes.IndexByte(b[1:got], '\n'); end >= 0 {
		return int64(end) + 1, 1
	}
	return 0, 0 // longer than a segment: its pieces are no lines anyway
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
	notes, gap := l.notes, l.gap
	l.notes, l.gap = nil, false
	l.mu.Unlock()
	if gap { // what follows must not be taken for the rest of the line before
		l.outs[0].endLine(l)
		l.outs[1].endLine(l)
	}
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
