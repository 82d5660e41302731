package journal

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"syscall"
)

// window reads a file through a buffer.
type window struct {
	f     io.ReaderAt
	limit int64
	buf   []byte
	at    int64 // of buf[0] in the file
	have  int
}

// view returns n bytes at an offset, fewer before the limit. They are valid until the next call.
func (w *window) view(offset int64, n int) ([]byte, error) {
	n = int(max(0, min(int64(n), int64(len(w.buf)), w.limit-offset)))
	if offset < w.at || offset+int64(n) > w.at+int64(w.have) {
		m, err := w.f.ReadAt(w.buf[:min(int64(len(w.buf)), w.limit-offset)], offset)
		if err != nil && (err != io.EOF || m < n) {
			return nil, err
		}
		w.at, w.have = offset, m
	}
	return w.buf[offset-w.at:][:n], nil
}

// next finds the next header that begins a line behind an offset, or the limit. It reports whether all bytes up to there are zeros.
func (w *window) next(from int64) (at int64, zeros bool, err error) {
	zeros = true
	for at = from; at < w.limit; {
		b, err := w.view(at, len(w.buf))
		if err != nil {
			return 0, false, err
		}
		zeros = zeros && len(bytes.TrimLeft(b, "\x00")) == 0
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			at += int64(len(b))
			continue
		}
		at += int64(i) + 1
		if b, err = w.view(at, headerSize); err != nil {
			return 0, false, err
		}
		if _, ok := parseHeader(b); ok {
			return at, false, nil
		}
	}
	return w.limit, zeros, nil
}

// body reports whether the data of a record are intact, and otherwise whether their end was never written.
func (w *window) body(at int64, h header) (intact, cut bool, err error) {
	sum, last, end := uint32(0), byte(0), at+h.size+1
	if end > w.limit {
		return false, true, nil
	}
	for at < end {
		b, err := w.view(at, int(min(end-at, int64(len(w.buf)))))
		if err != nil {
			return false, false, err
		}
		sum, last = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), b), b[len(b)-1]
		at += int64(len(b))
	}
	return sum == h.sum, last == 0, nil
}

// scanner reads the segments when the journal is opened.
type scanner struct {
	j    *Journal
	buf  []byte
	late map[uint64]*entry // those with an ID below that of an earlier one
	hurt map[uint64]hurt   // records whose header is intact and whose data are not: the newest of each entry
	// lost is the last place where a record of any entry may be missing.
	lost    place
	lostWhy string
	torn    bool // the last segment ends in an incomplete record: another one follows, so that it stays a known damage
	copies  int  // files of damaged bytes
}

type hurt struct {
	number uint32
	why    string
}

// scan reads a segment. Only the last one may have a torn end, and zeros after it.
func (s *scanner) scan(f *os.File, seg *segment, sealed, last bool) error {
	w := &window{f: f, limit: seg.size, buf: s.buf}
	pos := int64(segmentSize)
	seg.size = pos
	for pos < w.limit {
		b, err := w.view(pos, headerSize)
		if err != nil {
			return err
		}
		if b[0] == '\n' {
			pos++
			continue
		}
		h, ok := parseHeader(b)
		if !ok {
			next, zeros, err := w.next(pos)
			switch {
			case err != nil:
				return err
			case zeros && next == w.limit && !sealed:
				return nil
			}
			s.report(seg, w.f, pos, next-pos, "the header of a record is damaged")
			s.torn = last && next == w.limit
			if next == w.limit || next-pos >= recordMin {
				s.lose(seg, pos)
			}
			pos, seg.size = next, next
			continue
		}
		p := place{seg.number, uint32(pos), uint32(headerSize + h.size + 1)}
		intact, cut, err := w.body(pos+headerSize, h)
		if err != nil {
			return err
		}
		if intact {
			s.record(h, p)
			pos += int64(p.size)
			seg.size = pos
			continue
		}
		if pos, err = s.damaged(w, seg, h, p, cut && last); err != nil {
			return err
		}
	}
	if sealed && seg.size < w.limit {
		s.report(seg, w.f, seg.size, w.limit-seg.size, "records are missing at the end")
		s.lose(seg, seg.size)
	}
	return nil
}

// damaged handles a record whose data are damaged, and returns where the next one begins. Cut: the end was not written.
func (s *scanner) damaged(w *window, seg *segment, h header, p place, cut bool) (int64, error) {
	pos, end := int64(p.offset), min(w.limit, int64(p.offset)+int64(p.size))
	next, _, err := w.next(pos)
	if err != nil {
		return 0, err
	}
	b, err := w.view(end, headerSize)
	if err != nil {
		return 0, err
	}
	if _, ok := parseHeader(b); ok {
		next = min(next, end) // the newline is what is damaged
	}
	s.torn = cut && next == w.limit
	s.report(seg, w.f, pos, next-pos, fmt.Sprintf("the data of record %d of %x (%s) are damaged", h.number, h.id, h.kind))
	missing := next < end || next-end >= recordMin
	if next == w.limit {
		_, zeros, err := w.next(end)
		if err != nil {
			return 0, err
		}
		missing = end < w.limit && !zeros
	}
	if missing {
		s.lose(seg, pos)
	}
	if s.torn && h.number == 0 {
		// The entry was not acknowledged, so there is none. Without a reason to keep the bytes they are cut off.
		if s.j.lastID = max(s.j.lastID, h.id); missing {
			seg.size = next
		}
		return next, nil
	}
	s.hurtRecord(h, fmt.Sprintf("record %d of it (%s) is damaged", h.number, h.kind))
	seg.size = next
	return next, nil
}

// entry returns that of a header.
func (s *scanner) entry(h header) *entry {
	j := s.j
	j.lastID = max(j.lastID, h.id)
	e := j.find(h.id)
	switch {
	case e != nil:
		return e
	case len(j.entries) == 0 || j.entries[len(j.entries)-1].id < h.id:
		j.entries = append(j.entries, entry{id: h.id, hash: h.hash})
		return &j.entries[len(j.entries)-1]
	case s.late[h.id] == nil:
		s.late[h.id] = &entry{id: h.id, hash: h.hash}
	}
	return s.late[h.id]
}

func (s *scanner) record(h header, p place) { s.j.apply(s.entry(h), h, p) }

func (s *scanner) hurtRecord(h header, why string) {
	e := s.entry(h)
	e.last = max(e.last, h.number)
	if e.kind != Ended && s.j.unfinished[h.id] == nil {
		s.j.unfinished[h.id] = &open{}
	}
	if x, found := s.hurt[h.id]; !found || x.number <= h.number {
		s.hurt[h.id] = hurt{h.number, why}
	}
}

// lose notes that records of any entry may be missing at an offset.
func (s *scanner) lose(seg *segment, offset int64) {
	s.lost = place{segment: seg.number, offset: uint32(offset)}
	s.lostWhy = fmt.Sprintf("a record of it may be missing at %d of %s", offset, s.j.path(seg.number))
}

// doubts returns why entries are uncertain, as far as that is not recorded yet.
func (s *scanner) doubts() map[uint64]string {
	out := map[uint64]string{}
	for id, u := range s.j.unfinished {
		var newest numbered
		if n := len(u.records); n > 0 {
			newest = u.records[n-1]
		}
		if newest.size > 0 && newest == u.doubt {
			continue
		}
		if x, found := s.hurt[id]; found && (newest.size == 0 || x.number > newest.number) {
			out[id] = x.why
		} else if newest.before(s.lost) {
			out[id] = s.lostWhy
		}
	}
	return out
}

// finish puts the entries into order.
func (s *scanner) finish() {
	j := s.j
	for _, e := range s.late {
		j.entries = append(j.entries, *e)
	}
	if len(s.late) > 0 {
		slices.SortFunc(j.entries, byID)
	}
	j.entries = slices.Clip(slices.Clone(j.entries))
	j.indexKeys()
}

const (
	maxDamage     = 100 // that is listed
	maxQuarantine = 16  // files
	maxCopy       = 64 << 10
)

// report lists damaged bytes, and keeps a copy of them beside the segments.
func (s *scanner) report(seg *segment, f io.ReaderAt, offset, size int64, why string) {
	path := s.j.path(seg.number)
	if len(s.j.damage) < maxDamage {
		s.j.damage = append(s.j.damage, Damage{path, offset, size, why})
	}
	if f == nil || s.copies >= maxQuarantine {
		return
	}
	out, err := os.OpenFile(fmt.Sprintf("%s.%d.damaged", path, offset), os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, fileMode)
	if err != nil {
		return // it is there, or the disk is full: the segment still has it
	}
	s.copies++
	_, _ = io.Copy(out, io.NewSectionReader(f, offset, min(size, maxCopy)))
	_ = out.Close()
}
