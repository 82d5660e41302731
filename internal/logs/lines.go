package logs

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// Line is one line of a log, without its newline, or a fragment of one.
type Line struct {
	Stream    int // Stdout or Stderr
	Time      time.Time
	Text      []byte // valid during the call
	Open      bool   // the line continues: it has no newline yet, or was cut at MaxLine
	Offset    int64  // behind its last byte in the log
	continued bool   // the text continues a line
}

// MaxLine is the longest line that is not cut, in bytes.
const MaxLine = 64 << 10

// lineAssembler assembles the lines of the two streams.
type lineAssembler struct {
	pos  int64        // everything before it was taken
	skip [2]int64     // of each stream: bytes before it are ignored
	from [2]int64     // of each stream: where the held fragment begins
	end  [2]int64     // and ends
	part [2][]byte    // the held fragment: at most MaxLine
	when [2]int64     // when it was captured; Unix, ns
	held [2]time.Time // since when it is held here
	open [2]bool      // what was emitted last did not end its line
}

// assembleFrom continues where each stream was written.
func assembleFrom(p position) *lineAssembler {
	return &lineAssembler{pos: min(p.done[0], p.done[1]), skip: p.done, open: [2]bool{p.partial[0] == 1, p.partial[1] == 1}}
}

// assembleAt begins at an offset.
func assembleAt(pos int64) *lineAssembler { return assembleFrom(position{done: [2]int64{pos, pos}}) }

// save notes that what was emitted is written.
func (a *lineAssembler) save(p *position) {
	for k := range p.done {
		p.done[k] = max(a.pos, a.skip[k])
		if len(a.part[k]) > 0 {
			p.done[k] = a.from[k]
		}
		p.partial[k] = 0
		if a.open[k] {
			p.partial[k] = 1
		}
	}
	p.writing = 0
}

// moveTo drops the held fragments, whose ends are missing, and continues at an offset
// behind a gap. It returns how many bytes it dropped.
func (a *lineAssembler) moveTo(pos int64) (dropped int) {
	dropped = len(a.part[0]) + len(a.part[1])
	*a = *assembleAt(pos)
	return dropped
}

// take emits the lines of b, the bytes at pos, all of one segment, to f, and holds a last
// line without an end. It stops where f refuses a line, and returns how many bytes it has
// taken.
func (a *lineAssembler) take(b []byte, seg segment, f func(Line) bool) int {
	k := seg.stream() - 1
	n := int(min(max(a.skip[k]-a.pos, 0), int64(len(b))))
	a.pos += int64(n)
	for n < len(b) {
		rest := b[n:]
		end := bytes.IndexByte(rest, '\n')
		whole, step := end >= 0, end+1
		if !whole {
			end, step = len(rest), len(rest)
		}
		room := MaxLine - len(a.part[k])
		switch {
		case end > room:
			end = wholeRunes(rest, room)
			whole, step = false, end
		case !whole:
			a.hold(k, rest, seg)
			return len(b)
		}
		line := Line{Stream: k + 1, Time: time.Unix(0, seg.time), Text: rest[:end], Open: !whole, Offset: a.pos + int64(step),
			continued: a.open[k]}
		if len(a.part[k]) > 0 {
			line.Text, line.Time = append(a.part[k], rest[:end]...), time.Unix(0, a.when[k])
		}
		if !f(line) {
			return n
		}
		a.emitted(k, line)
		a.pos += int64(step)
		n += step
	}
	return n
}

// takeWhole takes the whole lines at the beginning of b, the bytes at pos, at most so many bytes,
// and returns how many. They are to be emitted as they are. It takes none if a line is incomplete
// that was begun before.
func (a *lineAssembler) takeWhole(b []byte, seg segment, most int64) int {
	k := seg.stream() - 1
	if most <= 0 || a.skip[k] > a.pos || a.open[0] || a.open[1] || len(a.part[k]) > 0 {
		return 0
	}
	n := bytes.LastIndexByte(b[:min(int64(len(b)), most, MaxLine)], '\n') + 1
	a.pos += int64(n)
	return n
}

// hold appends to the held fragment of a line.
func (a *lineAssembler) hold(k int, b []byte, seg segment) {
	if len(a.part[k]) == 0 {
		a.from[k], a.when[k], a.held[k] = a.pos, seg.time, time.Now()
	}
	a.part[k] = append(a.part[k], b...)
	a.pos += int64(len(b))
	a.end[k] = a.pos
}

func (a *lineAssembler) emitted(k int, l Line) {
	a.open[k] = l.Open
	a.part[k] = a.part[k][:0]
	if cap(a.part[k]) > 4<<10 {
		a.part[k] = nil // a hundred logs must not keep a hundred of them
	}
}

// emitHeld emits what is held of a stream, as a fragment.
func (a *lineAssembler) emitHeld(k int, f func(Line) bool) {
	if len(a.part[k]) == 0 {
		return
	}
	l := Line{Stream: k + 1, Time: time.Unix(0, a.when[k]), Text: a.part[k], Open: true, Offset: a.end[k], continued: a.open[k]}
	if f(l) {
		a.emitted(k, l)
	}
}

// due returns a stream whose fragment was held for a time; else how long to wait for one,
// or 0 if nothing is held.
func (a *lineAssembler) due(hold time.Duration) (k int, wait time.Duration, ok bool) {
	for k := range a.part {
		if len(a.part[k]) == 0 {
			continue
		}
		left := time.Until(a.held[k].Add(hold))
		if left <= 0 {
			return k, 0, true
		}
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return 0, wait, false
}

// wholeRunes returns the largest cut of b up to n that is not within a rune.
func wholeRunes(b []byte, n int) int {
	for back := 0; back < utf8.UTFMax && n-back > 0; back++ {
		if utf8.RuneStart(b[n-back]) {
			return n - back
		}
	}
	return n // not UTF-8
}
