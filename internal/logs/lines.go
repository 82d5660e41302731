package logs

import (
	"bytes"
	"time"
	"unicode/utf8"
)

// Line is one line of a log, without its newline, or a fragment of one.
type Line struct {
	Stream int // Stdout or Stderr
	Time   time.Time
	Text   []byte // valid during the call
	Open   bool   // the line goes on: it has no newline yet, or was cut at MaxLine
	Offset int64  // behind its last byte in the log
	rest   bool   // it goes on with a line
}

// MaxLine is the longest line that comes whole.
const MaxLine = 64 << 10

// lineAssembler puts the lines of the two streams together.
type lineAssembler struct {
	pos  int64        // everything before it was taken
	skip [2]int64     // of each stream: bytes before it are passed over
	from [2]int64     // of each stream: where the held fragment begins
	end  [2]int64     // and ends
	part [2][]byte    // the held fragment: at most MaxLine
	when [2]int64     // when it came; Unix, ns
	held [2]time.Time // since when it is held here
	rest [2]bool      // what was emitted last did not end its line
}

// assembleFrom continues where each stream was written.
func assembleFrom(p position) *lineAssembler {
	return &lineAssembler{pos: min(p.done[0], p.done[1]), skip: p.done, rest: [2]bool{p.begun[0] == 1, p.begun[1] == 1}}
}

// save notes that what was emitted is written.
func (a *lineAssembler) save(p *position) {
	for k := range p.done {
		p.done[k] = max(a.pos, a.skip[k])
		if len(a.part[k]) > 0 {
			p.done[k] = a.from[k]
		}
		p.begun[k] = 0
		if a.rest[k] {
			p.begun[k] = 1
		}
	}
	p.writing = 0
}

// moveTo leaves out what is before an offset that is within a gap, with what is held: its
// end is not known. It returns how many bytes were held.
func (a *lineAssembler) moveTo(pos int64) (held int) {
	held = len(a.part[0]) + len(a.part[1])
	*a = *assembleFrom(position{done: [2]int64{pos, pos}})
	return held
}

// take emits the lines of b, which is what follows at pos, all of one segment,
// to f, and holds what has no end yet. It ends early where f refuses a line,
// and says how many bytes it has taken.
func (a *lineAssembler) take(b []byte, seg segment, f func(Line) bool) int {
	k := int(seg.stream) - 1
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
		line := Line{Stream: k + 1, Time: time.Unix(0, seg.time), Text: rest[:end], Open: !whole, Offset: a.pos + int64(step), rest: a.rest[k]}
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

// hold keeps the beginning of a line, or more of it.
func (a *lineAssembler) hold(k int, b []byte, seg segment) {
	if len(a.part[k]) == 0 {
		a.from[k], a.when[k], a.held[k] = a.pos, seg.time, time.Now()
	}
	a.part[k] = append(a.part[k], b...)
	a.pos += int64(len(b))
	a.end[k] = a.pos
}

func (a *lineAssembler) emitted(k int, l Line) {
	a.rest[k] = l.Open
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
	if l := (Line{Stream: k + 1, Time: time.Unix(0, a.when[k]), Text: a.part[k], Open: true, Offset: a.end[k], rest: a.rest[k]}); f(l) {
		a.emitted(k, l)
	}
}

// due is a stream whose fragment was held for a time; else wait says how long it takes
// until there is one. 0: nothing is held.
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

// wholeRunes returns the largest cut of b up to n that is not within a character.
func wholeRunes(b []byte, n int) int {
	for back := 0; back < utf8.UTFMax && n-back > 0; back++ {
		if utf8.RuneStart(b[n-back]) {
			return n - back
		}
	}
	return n // not UTF-8
}
