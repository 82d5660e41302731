package journal

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Errors.
var (
	// ErrDamaged means that no record of the entry can be read, so its key cannot be compared.
	ErrDamaged = errors.New("its records are damaged")
	// ErrClosed means that the journal is closed.
	ErrClosed = errors.New("the journal is closed")
)

// Options are those of Open. The zero value has the defaults.
type Options struct {
	SegmentBytes int64            // after which a segment is followed by another; 0: 8 MiB
	Now          func() time.Time // nil: time.Now
	files        fileOps
}

// fileOps are the operations that fail in tests.
type fileOps struct {
	write    func(f *os.File, b []byte, offset int64) error
	sync     func(f *os.File) error // its data
	folder   func(f *os.File) error // syncs a folder
	truncate func(f *os.File, size int64) error
	allocate func(f *os.File, offset, size int64) error
}

const (
	defaultSegment = 8 << 20
	chunk          = 512 << 10 // that is allocated ahead
	reserve        = 256 << 10 // of it that Accepted records leave to the others
)

// place is where a record is.
type place struct {
	segment, offset uint32
	size            uint32 // of the whole record; 0: there is none
}

func (p place) before(q place) bool {
	return cmp.Or(cmp.Compare(p.segment, q.segment), cmp.Compare(p.offset, q.offset)) < 0
}

// entry is what is kept in memory of each.
type entry struct {
	id, hash      uint64
	first, newest place  // of record 0, and of the newest that is not doubtful
	last, number  uint32 // of the newest record, damaged or not, and of the one at newest
	seconds       uint32 // time of newest
	kind          Kind   // of newest; 0: all records are damaged
}

// open is more about an entry that is unfinished.
type open struct {
	records []numbered // all that are valid
	doubt   numbered   // the newest doubtful record
}

type numbered struct {
	number uint32
	place
}

// segment is one file.
type segment struct {
	number   uint32
	size     int64
	known    bool   // its first line is valid, so the following are known
	after    uint64 // the highest ID before it
	previous int64  // the end of the segment before it
}

// Journal is an open journal. Any goroutine may call its methods.
type Journal struct {
	dir    string
	folder *os.File
	lock   *os.File
	o      Options

	expiring sync.Mutex // one Expire at a time; it is taken first, then writing, ranging, syncing, mu
	ranging  sync.Mutex // guards the text in lock: the segments that there are

	writing   sync.Mutex // guards these:
	number    uint32     // of the last segment
	end       int64      // of its records
	allocated int64      // to where it has space

	syncing sync.Mutex // guards these:
	synced  uint64     // number of appended records that are on disk
	busy    bool       // a sync is going on
	idle    sync.Cond  // when busy has ended
	syncErr error      // a failed sync cannot be repeated: the kernel may have dropped the data

	mu         sync.Mutex // guards the rest, for a short time each
	file       *os.File   // of the last segment
	segments   []segment
	entries    []entry // in order of ID
	unfinished map[uint64]*open
	keys       map[uint64]uint64 // the newest ID of each hash
	older      map[uint64]uint64 // the next older ID with the same hash
	lastID     uint64
	appended   uint64
	damage     []Damage
	broken     error // nothing can be appended until the journal is opened again
}

// Commit is a record on its way to the disk.
type Commit struct {
	j      *Journal
	number uint64
	err    error
}

// Wait returns when the record is on disk. One sync serves all that wait.
func (c *Commit) Wait() error {
	if c.err != nil {
		return c.err
	}
	return c.j.flush(c.number)
}

// flush returns when so many records are on disk. One caller at a time syncs, for all that have been appended until then.
func (j *Journal) flush(number uint64) error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	for j.synced < number && j.syncErr == nil {
		if j.busy {
			j.idle.Wait()
			continue
		}
		j.busy = true
		j.syncing.Unlock()
		j.mu.Lock()
		target, file := j.appended, j.file
		j.mu.Unlock()
		err := j.o.files.sync(file)
		if err != nil {
			err = fmt.Errorf("cannot sync %s: %w; the journal has to be opened again", file.Name(), noSpace(err))
			j.fail(err)
		}
		j.syncing.Lock()
		if j.syncErr = err; err == nil {
			j.synced = target
		}
		j.busy = false
		j.idle.Broadcast()
	}
	if j.synced >= number {
		return nil
	}
	return j.syncErr
}

// fail refuses records from now on.
func (j *Journal) fail(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = cmp.Or(j.broken, err)
}

// Append writes a record; Wait of the Commit waits for the disk. The first record of an entry is Accepted and has an ID higher than
// any before. After Ended follow only Ended records. An error for want of space is syscall.ENOSPC; of that record nothing is left.
func (j *Journal) Append(r Record) *Commit {
	j.writing.Lock()
	defer j.writing.Unlock()
	if err := j.append(r); err != nil {
		return &Commit{err: fmt.Errorf("cannot append a record of %x: %w", r.ID, err)}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return &Commit{j: j, number: j.appended}
}

func (j *Journal) append(r Record) error {
	h := header{id: r.ID, kind: r.Kind, hash: hashKey(r.Key), milli: j.o.Now().UnixMilli()}
	j.mu.Lock()
	broken, lastID := j.broken, j.lastID
	e := j.find(r.ID)
	if e != nil {
		h.number, h.hash = e.last+1, e.hash
	}
	j.mu.Unlock()
	switch {
	case broken != nil:
		return broken
	case r.Kind != Accepted && r.Kind != Begun && r.Kind != Ended:
		return fmt.Errorf("it has no kind %q", byte(r.Kind))
	case bytes.IndexByte(r.Data, '\n') >= 0:
		return errors.New("its data are more than one line")
	case len(r.Data) > MaxData:
		return fmt.Errorf("its data have %d bytes, more than %d", len(r.Data), MaxData)
	case e == nil && (r.Kind != Accepted || r.ID <= lastID):
		return fmt.Errorf("the entry is unknown, and a new one begins as accepted with an ID above %x", lastID)
	case e != nil && e.kind == Ended && r.Kind != Ended:
		return errors.New("the entry has ended")
	}
	return j.put(h, r.Data, r.Kind != Accepted)
}

// put writes a record behind the others.
func (j *Journal) put(h header, data []byte, important bool) error {
	b, padding := h.encode(data, j.end)
	if j.end+int64(len(b)) > j.o.SegmentBytes && j.end > int64(segmentSize) {
		switch err := j.rotate(); {
		case err == nil:
			b, padding = h.encode(data, j.end)
		case !important || !errors.Is(err, syscall.ENOSPC):
			return err
		}
	}
	if err := j.allocate(j.end+int64(len(b)), important); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.o.files.write(j.file, b, j.end); err != nil {
		err = fmt.Errorf("cannot write: %w", noSpace(err))
		j.allocated = j.end
		if undo := j.o.files.truncate(j.file, j.end); undo != nil {
			j.broken = fmt.Errorf("%w; and cannot truncate: %w; the journal has to be opened again", err, undo)
			return j.broken
		}
		return err
	}
	p := place{j.number, uint32(j.end) + uint32(padding), uint32(len(b) - padding)}
	j.end += int64(len(b))
	j.segments[len(j.segments)-1].size = j.end
	j.appended++
	if e := j.find(h.id); e == nil {
		j.entries = append(j.entries, entry{id: h.id, hash: h.hash})
		j.addKey(h.id, h.hash)
		j.lastID = h.id
	}
	j.apply(j.find(h.id), h, p)
	return nil
}

// allocate makes sure that there is space up to an offset, and the reserve behind it. Important records may use the reserve.
func (j *Journal) allocate(to int64, important bool) error {
	if to+reserve <= j.allocated {
		return nil
	}
	from := max(j.allocated, j.end)
	size := to + chunk - from
	switch err := j.o.files.allocate(j.file, from, size); {
	case err == nil:
		j.allocated = from + size
	case errors.Is(err, errors.ErrUnsupported), important:
	default:
		return fmt.Errorf("cannot allocate space: %w", noSpace(err))
	}
	return nil
}

// apply notes a valid record of an entry. A copy has the number of its original.
func (j *Journal) apply(e *entry, h header, p place) {
	e.last = max(e.last, h.number)
	if h.number == 0 {
		e.first = p
	}
	if h.kind != doubtful && (e.kind == 0 || h.number >= e.number) {
		e.newest, e.number, e.kind, e.seconds = p, h.number, h.kind, uint32(h.milli/1000)
	}
	if e.kind == Ended {
		delete(j.unfinished, e.id)
		return
	}
	u := j.unfinished[e.id]
	if u == nil {
		u = &open{}
		j.unfinished[e.id] = u
	}
	n := numbered{h.number, p}
	if h.kind == doubtful && h.number >= u.doubt.number {
		u.doubt = n
	}
	at, found := slices.BinarySearchFunc(u.records, n, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	if !found {
		u.records = slices.Insert(u.records, at, n)
	}
	u.records[at] = n
}

// Close waits for the disk and releases the folder.
func (j *Journal) Close() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	number, closed := j.appended, errors.Is(j.broken, ErrClosed)
	j.mu.Unlock()
	if closed {
		return nil
	}
	err := j.flush(number)
	j.ranging.Lock() // Expire may be removing a segment
	defer j.ranging.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.broken = ErrClosed
	return errors.Join(err, j.file.Close(), j.folder.Close(), j.lock.Close())
}

func (j *Journal) path(number uint32) string {
	return filepath.Join(j.dir, fmt.Sprintf("%08d.journal", number))
}

// noSpace makes an exceeded quota syscall.ENOSPC.
func noSpace(err error) error {
	if errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", syscall.ENOSPC, err)
	}
	return err
}
