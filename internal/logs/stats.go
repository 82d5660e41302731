package logs

import (
	"bytes"
	"cmp"
)

// Stats are a log's counters.
type Stats struct {
	Bytes        int64  `json:"bytes"`         // written so far
	Lines        uint64 `json:"lines"`         // of them, complete ones
	DroppedBytes uint64 `json:"dropped_bytes"` // not passed on: the reader is too slow, or gone
	DroppedLines uint64 `json:"dropped_lines"`
	LostBytes    uint64 `json:"lost_bytes"` // discarded: no supervisor worked, or it could not be kept
	LostLines    uint64 `json:"lost_lines"`
	Passed       int64  `json:"-"` // bytes passed on, or given up
	// Blocked says that the service waits for the reader of its output.
	Blocked bool       `json:"blocked,omitempty"`
	File    *FileStats `json:"file,omitempty"` // nil: written to none
}

// FileStats are the counters of a log's files, since it has any.
type FileStats struct {
	Path         string `json:"path"`
	Bytes        uint64 `json:"bytes"`         // written
	DroppedBytes uint64 `json:"dropped_bytes"` // could not be written in time
	DroppedLines uint64 `json:"dropped_lines"`
	Error        string `json:"error,omitempty"` // why nothing can be written now
}

// title is the name of the log in front of its lines.
func (l *Log) title() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Or(l.opts.Title, l.name)
}

// Stats gives the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.ix.header
	took := taken{l.ix.passed, l.ix.passedLines}
	if l.taken.pos > took.pos { // these are on their way
		took = l.taken
	}
	gone := l.missed(took)
	s := Stats{Bytes: l.end, Lines: h.lines, DroppedBytes: h.droppedBytes + gone.bytes, DroppedLines: h.droppedLines + gone.lines,
		LostBytes: h.lostBytes, LostLines: h.lostLines, Blocked: l.room != nil, Passed: l.ix.passed}
	for p := range l.pipes {
		s.LostBytes += p.lost.bytes
		s.LostLines += p.lost.lines
	}
	if l.file != nil {
		s.File = l.file.stats()
	}
	return s
}

// taken is how far a sink has taken the log. What is dropped behind it is dropped for
// that sink; what is before it is passed on, or written, or already counted.
type taken struct {
	pos   int64
	lines uint64 // newlines before pos
}

// missed is what a sink that has come so far will not find any more. The sink itself
// counts it only when it goes on, and a reader may never read. It has l.mu.
func (l *Log) missed(by taken) (gone lostOutput) {
	start, lines := l.ix.start(), l.ix.startLines()
	if by.pos >= start {
		return gone
	}
	gone.bytes = uint64(start - by.pos)
	if lines > by.lines {
		gone.lines = lines - by.lines
	}
	return gone
}

// takeNext is read for a sink, whose place it moves in the same moment: what is dropped
// later than that the sink has.
func (l *Log) takeNext(by *taken, buf []byte, offset int64) (n int, seg segment, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, seg, at = l.readKept(buf, offset)
	if n > 0 && at == offset {
		*by = taken{at + int64(n), by.lines + uint64(bytes.Count(buf[:n], []byte{'\n'}))}
	}
	return n, seg, at
}

// lostOutput is an amount of output that is missing.
type lostOutput struct{ bytes, lines uint64 }
