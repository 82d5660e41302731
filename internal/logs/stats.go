package logs

import (
	"bytes"
	"cmp"
)

// Stats are a log's counters.
type Stats struct {
	Bytes        int64  `json:"bytes"`         // written so far
	Lines        uint64 `json:"lines"`         // of them, complete ones
	DroppedBytes uint64 `json:"dropped_bytes"` // not forwarded: the reader is too slow, or gone
	DroppedLines uint64 `json:"dropped_lines"`
	LostBytes    uint64 `json:"lost_bytes"` // discarded: no supervisor worked, or it could not be kept
	LostLines    uint64 `json:"lost_lines"`
	Forwarded    int64  `json:"-"` // bytes forwarded, or given up
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

// Stats returns the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.ix.header
	took := progress{h.forwarded, h.forwardedLines}
	if l.taken.pos > took.pos { // these are being written
		took = l.taken
	}
	gone := l.missed(took)
	s := Stats{Bytes: l.end, Lines: h.lines, DroppedBytes: h.droppedBytes + gone.bytes, DroppedLines: h.droppedLines + gone.lines,
		LostBytes: h.lostBytes, LostLines: h.lostLines, Blocked: l.room != nil, Forwarded: h.forwarded}
	for p := range l.pipes {
		s.LostBytes += p.lost.bytes
		s.LostLines += p.lost.lines
	}
	if l.file != nil {
		s.File = l.file.stats()
	}
	return s
}

// amount is a number of bytes, and of the lines that end in them.
type amount struct{ bytes, lines uint64 }

// progress is how far a writer has taken the log. What is dropped behind it is dropped for
// that writer; what is before it is written, or being written, or counted.
type progress struct {
	pos   int64
	lines uint64 // newlines before pos
}

// missed is what a writer that has come so far cannot get any more. The writer itself
// counts it only when it goes on, and its reader may never read. The caller has l.mu.
func (l *Log) missed(by progress) amount {
	start, lines := l.ix.start(), l.ix.startLines()
	if by.pos >= start {
		return amount{}
	}
	return amount{uint64(start - by.pos), lines - min(by.lines, lines)}
}

// takeNext is read for a writer, whose progress it moves with the same lock: what is dropped
// later, the writer has.
func (l *Log) takeNext(by *progress, buf []byte, offset int64) (n int, seg segment, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, seg, at = l.readKept(buf, offset)
	if n > 0 && at == offset {
		*by = progress{at + int64(n), by.lines + uint64(bytes.Count(buf[:n], []byte{'\n'}))}
	}
	return n, seg, at
}
