package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"golang.org/x/sys/unix"
)

const (
	folderMode = 0o700
	fileMode   = 0o600
)

// Unfinished is an entry that has not ended.
type Unfinished struct {
	ID      uint64
	Records []Record // all that are valid, in order
	// Uncertain is why a record that followed them may be missing; empty: none is. It stays until a record is appended.
	Uncertain string
}

// Open opens the journal in a folder, which is made if there is none. It returns the entries that have not ended, in order of ID.
func Open(dir string, o Options) (*Journal, []Unfinished, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegment
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.files.write == nil {
		o.files = realFiles()
	}
	j := &Journal{dir: dir, o: o, unfinished: map[uint64]*open{}, keys: map[uint64]uint64{}, older: map[uint64]uint64{}}
	j.idle.L = &j.syncing
	unfinished, err := j.open()
	if err != nil {
		for _, f := range []*os.File{j.file, j.folder, j.lock} {
			_ = f.Close() // of nil it is an error
		}
		return nil, nil, fmt.Errorf("cannot open the journal %s: %w", dir, noSpace(err))
	}
	return j, unfinished, nil
}

func realFiles() fileOps {
	return fileOps{
		write:    func(f *os.File, b []byte, offset int64) error { _, err := f.WriteAt(b, offset); return err },
		sync:     func(f *os.File) error { return retry(func() error { return unix.Fdatasync(int(f.Fd())) }) },
		folder:   (*os.File).Sync,
		truncate: func(f *os.File, size int64) error { return f.Truncate(size) },
		allocate: func(f *os.File, offset, size int64) error {
			if err := reserveSpace(f, offset, size); err != nil {
				return err
			}
			// Without zeros the sync of a record would have to write that its block is used, too.
			_, err := f.WriteAt(make([]byte, size), offset)
			return err
		},
	}
}

func reserveSpace(f *os.File, offset, size int64) error {
	return retry(func() error { return unix.Fallocate(int(f.Fd()), 0, offset, size) })
}

// retry repeats what a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func (j *Journal) open() ([]Unfinished, error) {
	if err := j.openFolder(); err != nil {
		return nil, err
	}
	first, last, err := j.readRange()
	if err != nil {
		return nil, err
	}
	if j.segments, err = j.list(first); err != nil {
		return nil, err
	}
	s := &scanner{j: j, buf: make([]byte, 256<<10), late: map[uint64]*entry{}, hurt: map[uint64]hurt{}}
	if copies, err := filepath.Glob(filepath.Join(j.dir, "*.damaged")); err == nil {
		s.copies = len(copies)
	}
	if err := s.scanAll(first, last); err != nil {
		return nil, err
	}
	s.finish()
	doubts := s.doubts()
	if err := j.resume(last, s.torn); err != nil {
		return nil, err
	}
	for id, why := range doubts {
		e := j.find(id)
		h := header{id: id, kind: doubtful, number: e.last + 1, hash: e.hash, milli: j.o.Now().UnixMilli()}
		if err := j.put(h, []byte(strings.ReplaceAll(why, "\n", " ")), true); err != nil {
			return nil, err
		}
	}
	if err := j.flush(j.appended); err != nil {
		return nil, err
	}
	return j.readUnfinished()
}

// openFolder makes and locks the folder.
func (j *Journal) openFolder() error {
	if err := os.MkdirAll(j.dir, folderMode); err != nil {
		return err
	}
	if err := os.Chmod(j.dir, folderMode); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(j.dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := j.o.files.folder(parent); err != nil {
		return err
	}
	if j.folder, err = os.Open(j.dir); err != nil {
		return err
	}
	if j.lock, err = os.OpenFile(filepath.Join(j.dir, "lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, fileMode); err != nil {
		return err
	}
	lock := func() error {
		return retry(func() error { return unix.Flock(int(j.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	}
	// A process that a supervisor was starting when it died shares its lock until it executes its program.
	err = lock()
	for over := time.Now().Add(lockTime); errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(over); err = lock() {
		_, _ = unix.Poll(nil, 1)
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errors.New("another process uses it, perhaps in another container on the same volume: give each its own folder")
	}
	return err
}

// lockTime is how long the lock of another process is waited for.
const lockTime = 500 * time.Millisecond

// readRange reads which segments there should be from the lock file; zeros: it does not say.
func (j *Journal) readRange() (first, last uint32, err error) {
	b := make([]byte, lineMax)
	n, err := j.lock.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return 0, 0, err
	}
	ok, err := parseLine(b[:n], rangeFormat, &first, &last)
	if !ok || err != nil {
		if n > 0 && err == nil {
			j.damage = append(j.damage, Damage{j.lock.Name(), 0, int64(n), "it is damaged; it is made again"})
		}
		return 0, 0, err
	}
	return first, last, nil
}

// writeRange writes them.
func (j *Journal) writeRange(first, last uint32) error {
	if err := j.o.files.write(j.lock, line(rangeFormat, version, first, last), 0); err != nil {
		return err
	}
	return j.o.files.sync(j.lock)
}

var segmentName = lazyregexp.New(`^[0-9]{8}\.journal$`)

// list returns the segments in order. It removes those whose records Expire has moved, and one whose creation was interrupted.
func (j *Journal) list(first uint32) (out []segment, err error) {
	names, err := j.folder.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !segmentName().MatchString(name.Name()) {
			continue
		}
		number, err := strconv.ParseUint(name.Name()[:8], 10, 32)
		if err != nil {
			return nil, err
		}
		s := segment{number: uint32(number)}
		if s.number < first {
			if err := os.Remove(j.path(s.number)); err != nil {
				return nil, err
			}
			continue
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b segment) int { return int(a.number) - int(b.number) })
	for i := range out {
		started, err := j.readSegmentLine(&out[i])
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", j.path(out[i].number), err)
		}
		if !started && i == len(out)-1 {
			return out[:i], os.Remove(j.path(out[i].number))
		}
	}
	return out, nil
}

// readSegmentLine reads the first line. It reports false if that was not written, nor a record behind it.
func (j *Journal) readSegmentLine(s *segment) (written bool, err error) {
	f, err := j.openSegment(s.number, os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	s.size = info.Size()
	b := make([]byte, min(s.size, lineMax))
	if _, err := f.ReadAt(b, 0); err != nil {
		return false, err
	}
	var number uint32
	ok, err := parseLine(b, segmentFormat, &number, &s.after, &s.previous)
	s.known = ok && number == s.number
	begun := len(b) >= segmentSize && !slices.Contains(b[:segmentSize], 0)
	return begun || len(bytes.Trim(b[min(len(b), segmentSize):], "\x00")) > 0, err
}

func (j *Journal) openSegment(number uint32, flags int) (*os.File, error) {
	return os.OpenFile(j.path(number), flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, fileMode)
}

// scanAll reads all segments, and notes those that are missing.
func (s *scanner) scanAll(first, last uint32) error {
	expected := first
	for i := range s.j.segments {
		seg := &s.j.segments[i]
		if expected != 0 && seg.number > expected {
			s.missing(expected)
		}
		expected = seg.number + 1
		if seg.known {
			s.j.lastID = max(s.j.lastID, seg.after)
		}
		f, err := s.j.openSegment(seg.number, os.O_RDONLY)
		if err != nil {
			return err
		}
		if !seg.known {
			s.report(seg, f, 0, min(seg.size, int64(segmentSize)), "its first line is damaged")
		}
		isLast, sealed := i == len(s.j.segments)-1 && seg.number >= last, false
		if !isLast && i+1 < len(s.j.segments) {
			if next := s.j.segments[i+1]; next.known && next.number == expected {
				sealed = true
				if seg.size < next.previous {
					s.report(seg, f, seg.size, next.previous-seg.size, "its end is missing")
					s.lose(seg, seg.size)
				}
				seg.size = min(seg.size, next.previous)
			}
		}
		err = s.scan(f, seg, sealed, isLast)
		_ = f.Close() // it was only read
		if err != nil {
			return fmt.Errorf("cannot read %s: %w; without this file the journal can be opened, with the loss of what it holds",
				s.j.path(seg.number), err)
		}
	}
	if last != 0 && expected <= last {
		s.missing(expected)
	}
	return nil
}

// missing notes that a segment, and perhaps others behind it, are not there.
func (s *scanner) missing(number uint32) {
	seg := &segment{number: number}
	s.report(seg, nil, 0, 0, "the file is missing")
	s.lose(seg, 1)
}

// resume opens the last segment to go on behind its records, or begins another one.
func (j *Journal) resume(last uint32, torn bool) (err error) {
	if n := len(j.segments); n > 0 {
		s := &j.segments[n-1]
		if j.file, err = j.openSegment(s.number, os.O_RDWR); err != nil {
			return err
		}
		info, err := j.file.Stat()
		if err != nil {
			return err
		}
		j.number, j.end, j.allocated = s.number, s.size, info.Size()
		if s.known && !torn && s.number >= last {
			return j.writeRange(j.segments[0].number, s.number)
		}
	}
	j.number = max(j.number, last) // a number that is missing is not used again, so that this stays known
	return j.rotate()
}

// rotate begins the next segment.
func (j *Journal) rotate() error {
	j.mu.Lock()
	number, lastID, appended := j.number+1, j.lastID, j.appended
	j.mu.Unlock()
	if err := j.flush(appended); err != nil {
		return err
	}
	j.ranging.Lock()
	defer j.ranging.Unlock()
	j.mu.Lock()
	first := number
	if len(j.segments) > 0 {
		first = j.segments[0].number
	}
	j.mu.Unlock()
	f, err := j.create(first, number, lastID)
	if err != nil {
		return fmt.Errorf("cannot begin the segment %s: %w", j.path(number), noSpace(err))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		// All is on disk, so no sync of the old file is going on.
		// Bytes behind its end are not read any more: the next segment says where that is.
		_ = j.o.files.truncate(j.file, j.end)
		_ = j.file.Close()
	}
	j.number, j.file, j.end, j.allocated = number, f, int64(segmentSize), int64(segmentSize)+chunk
	j.segments = append(j.segments, segment{number: number, size: j.end, known: true, after: lastID, previous: j.end})
	return nil
}

// create makes the file of a segment. Of a failed attempt nothing is left.
func (j *Journal) create(first, number uint32, lastID uint64) (f *os.File, err error) {
	if f, err = j.openSegment(number, os.O_RDWR|os.O_CREATE|os.O_EXCL); err != nil {
		return nil, err
	}
	err = j.o.files.write(f, line(segmentFormat, version, number, lastID, j.end), 0)
	if err == nil {
		err = j.o.files.allocate(f, int64(segmentSize), chunk)
	}
	if err == nil || errors.Is(err, errors.ErrUnsupported) {
		err = j.o.files.sync(f)
	}
	if err == nil {
		err = j.o.files.folder(j.folder)
	}
	if err == nil {
		err = j.writeRange(first, number)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f, nil
}

// readUnfinished reads the entries that have not ended.
func (j *Journal) readUnfinished() (out []Unfinished, err error) {
	for id, u := range j.unfinished {
		x := Unfinished{ID: id}
		for _, n := range u.records {
			r, err := j.read(n.place)
			switch {
			case err != nil:
				return nil, err
			case r.Kind != doubtful:
				x.Records = append(x.Records, r)
				x.Uncertain = ""
			default:
				x.Uncertain = string(r.Data)
			}
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b Unfinished) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}
