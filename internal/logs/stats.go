package logs

// Stats are a log's counters.
type Stats struct {
	Bytes        int64  `json:"bytes"`         // written so far
	Lines        uint64 `json:"lines"`         // complete lines among them
	DroppedBytes uint64 `json:"dropped_bytes"` // not forwarded: the reader is too slow, or gone
	DroppedLines uint64 `json:"dropped_lines"`
	LostBytes    uint64 `json:"lost_bytes"` // discarded: no supervisor worked, or it could not be kept
	LostLines    uint64 `json:"lost_lines"`
	Forwarded    int64  `json:"-"` // bytes forwarded or dropped
	// Blocked means that the service waits for the reader of its output.
	Blocked bool       `json:"blocked,omitempty"`
	File    *FileStats `json:"file,omitempty"` // nil: the log has no file
}

// FileStats are the counters of a log's files since Options.File was set.
type FileStats struct {
	Path         string `json:"path"`
	Bytes        uint64 `json:"bytes"`         // written
	DroppedBytes uint64 `json:"dropped_bytes"` // could not be written in time
	DroppedLines uint64 `json:"dropped_lines"`
	Error        string `json:"error,omitempty"` // of the last write; empty: it succeeded
}

// Stats returns the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	read := l.ix.forwarded
	if l.taken.pos > read.pos { // these bytes are being written
		read = l.taken
	}
	dropped, lost := l.ix.dropped.plus(l.missed(read)), l.ix.lost
	for p := range l.captures {
		lost = lost.plus(p.lost)
	}
	s := Stats{Bytes: l.end, Lines: l.ix.lines, DroppedBytes: dropped.bytes, DroppedLines: dropped.lines,
		LostBytes: lost.bytes, LostLines: lost.lines, Blocked: l.blocked > 0, Forwarded: l.ix.forwarded.pos}
	if l.file != nil {
		s.File = l.file.stats()
	}
	return s
}

// amount is a number of bytes, and of the lines that end in them.
type amount struct{ bytes, lines uint64 }

func (a amount) plus(b amount) amount { return amount{a.bytes + b.bytes, a.lines + b.lines} }

func (a amount) minus(b amount) amount { return amount{a.bytes - b.bytes, a.lines - b.lines} }

// progress is how far a writer has read the log.
type progress struct {
	pos   int64
	lines uint64 // newlines before pos
}

// since is what is between two positions.
func (p progress) since(from progress) amount {
	return amount{uint64(p.pos - from.pos), p.lines - min(from.lines, p.lines)}
}

// missed is what a writer has not read and is no longer kept. The writer counts it when it
// continues, which may be never if its reader stalls. The caller has l.mu.
func (l *Log) missed(by progress) amount {
	if start := l.ix.start(); by.pos < start.pos {
		return start.since(by)
	}
	return amount{}
}
