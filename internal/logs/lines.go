package logs

import (
	"bytes"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// cursor says how far a joiner has come. It is kept in shared memory.
type cursor struct {
	pos   int64     // everything before it is taken
	open  [2]int64  // of each stream: where the piece begins that is held; -1: none is
	begun [2]uint64 // of each stream: 1: the line's beginning was given already
}

// cursorAt is one before which nothing is held.
func cursorAt(pos int64) cursor { return cursor{pos: pos, open: [2]int64{-1, -1}} }

// piece is a line, or a part of one that is longer than MaxLine or has no end yet.
type piece struct {
	stream int       // Stdout or Stderr
	time   time.Time // when its first byte came
	text   []byte    // without the newline; valid during the call
	begins bool      // it is the line's first
	ends   bool      // it is the line's last: there is a newline
}

// joiner puts the lines of the two streams together. After a kill the next one
// goes on from the cursor: what was held is read again.
type joiner struct {
	cursor
	part [2][]byte    // what is held: at most MaxLine of each stream
	when [2]time.Time // when it came
	held [2]time.Time // since when it is held here
}

// take gives the pieces of b, which is what follows at pos, all of one segment,
// to f, and keeps what has no end yet. It ends early where f refuses a piece,
// and says how many bytes it has taken.
func (j *joiner) take(b []byte, seg segment, f func(piece) bool) int {
	k, n := int(seg.stream)-1, 0
	for n < len(b) {
		rest := b[n:]
		end := bytes.IndexByte(rest, '\n')
		whole, cut := end >= 0, false
		if !whole {
			end = len(rest)
		}
		if room := MaxLine - len(j.part[k]); end > room {
			end, whole, cut = wholeRunes(rest, room), false, true
		}
		step := end
		if whole {
			step++
		}
		if !whole && !cut {
			j.hold(k, rest, seg)
			return len(b)
		}
		p := piece{stream: k + 1, time: time.Unix(0, seg.time), text: rest[:end], begins: j.begun[k] == 0, ends: whole}
		if len(j.part[k]) > 0 {
			p.text, p.time = append(j.part[k], rest[:end]...), j.when[k]
		}
		if !f(p) {
			return n
		}
		j.gave(k, p)
		j.pos += int64(step)
		n += step
	}
	return n
}

// hold keeps the beginning of a line, or more of it.
func (j *joiner) hold(k int, b []byte, seg segment) {
	if len(j.part[k]) == 0 {
		j.open[k], j.when[k], j.held[k] = j.pos, time.Unix(0, seg.time), time.Now()
	}
	j.part[k] = append(j.part[k], b...)
	j.pos += int64(len(b))
}

// gave notes that a piece of stream k was taken.
func (j *joiner) gave(k int, p piece) {
	j.open[k], j.begun[k] = -1, 1
	if p.ends {
		j.begun[k] = 0
	}
	j.part[k] = j.part[k][:0]
	if cap(j.part[k]) > 4<<10 {
		j.part[k] = nil // a hundred logs must not keep a hundred of them
	}
}

// giveHeld gives what is held of a stream, whole line or not.
func (j *joiner) giveHeld(k int, f func(piece) bool) {
	if len(j.part[k]) == 0 {
		return
	}
	if p := (piece{stream: k + 1, time: j.when[k], text: j.part[k], begins: j.begun[k] == 0}); f(p) {
		j.gave(k, p)
	}
}

// waits says whether something of stream k is held, and since when.
func (j *joiner) waits(k int) (since time.Time, ok bool) { return j.held[k], len(j.part[k]) > 0 }

// start begins anew at pos and says how many held bytes are given up for it.
func (j *joiner) start(pos int64) (gone int64) {
	gone = int64(len(j.part[0]) + len(j.part[1]))
	*j = joiner{cursor: cursorAt(pos)}
	return gone
}

// load goes on from a cursor of an earlier supervisor.
func (j *joiner) load(l *Log, c cursor) {
	*j = joiner{cursor: c}
	for k := range j.part {
		if c.open[k] < 0 {
			continue
		}
		j.part[k], j.when[k] = l.streamBytes(k+1, c.open[k], c.pos)
		j.held[k] = time.Now()
		if len(j.part[k]) == 0 { // no longer kept
			j.open[k] = -1
		}
	}
}

// streamBytes gives what one stream wrote between two offsets, at most MaxLine,
// as far as it is kept, and when its first byte came.
func (l *Log) streamBytes(stream int, from, to int64) (out []byte, when time.Time) {
	l.mu.Lock()
	defer l.unlock()
	for from = max(from, l.ix.start()); from < to && len(out) < MaxLine; {
		seg, until, ok := l.ix.find(from, l.end)
		if !ok {
			break
		}
		n := min(until, to) - from
		if int(seg.stream) == stream {
			b := l.buffer()
			got, err := unix.Pread(l.data, b[:min(n, int64(len(b)), int64(MaxLine-len(out)))], from)
			if err != nil || got <= 0 {
				break
			}
			if len(out) == 0 {
				when = time.Unix(0, seg.time)
			}
			out, n = append(out, b[:got]...), int64(got)
		}
		from += n
	}
	return out, when
}

// wholeRunes gives the largest cut of b up to n that is not within a character.
func wholeRunes(b []byte, n int) int {
	for back := 0; back < utf8.UTFMax && n-back > 0; back++ {
		if utf8.RuneStart(b[n-back]) {
			return n - back
		}
	}
	return n // not UTF-8
}
