package proc

// Stats are a log's counters.
type Stats struct {
	Bytes        int64  `json:"bytes"`         // written so far
	Lines        uint64 `json:"lines"`         // of them, complete ones
	DroppedBytes uint64 `json:"dropped_bytes"` // not passed on: the reader is too slow, or gone
	DroppedLines uint64 `json:"dropped_lines"`
	LostBytes    uint64 `json:"lost_bytes"` // discarded: no supervisor worked, or it could not be kept
	LostLines    uint64 `json:"lost_lines"`
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

// Stats gives the counters.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.ix.header
	s := Stats{Bytes: l.end, Lines: h.lines, DroppedBytes: h.droppedBytes, DroppedLines: h.droppedLines,
		LostBytes: h.lostBytes, LostLines: h.lostLines, Blocked: l.room != nil}
	for p := range l.pipes {
		s.LostBytes += p.lost.bytes
		s.LostLines += p.lost.lines
	}
	if l.file != nil {
		s.File = l.file.stats()
	}
	return s
}
