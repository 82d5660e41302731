package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"
)

// find returns the entry, or nil. It stays valid until entries change.
func (j *Journal) find(id uint64) *entry {
	if i, found := j.search(id); found {
		return &j.entries[i]
	}
	return nil
}

func (j *Journal) search(id uint64) (int, bool) {
	if n := len(j.entries); n == 0 || j.entries[n-1].id < id {
		return n, false
	}
	return slices.BinarySearchFunc(j.entries, id, func(e entry, id uint64) int { return cmp.Compare(e.id, id) })
}

func (j *Journal) addKey(id, hash uint64) {
	if hash == 0 {
		return
	}
	if other, found := j.keys[hash]; found {
		j.older[id] = other
	}
	j.keys[hash] = id
}

// Find returns the IDs of the entries that may have the key, newest first: those with the same hash of the key. Only the data of the
// first record can tell which of them have it.
func (j *Journal) Find(key string) (ids []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, found := j.keys[hashKey(key)]; found; id, found = j.older[id] {
		ids = append(ids, id)
	}
	return ids
}

// Before returns up to n IDs below id, newest first; id 0: from the newest.
func (j *Journal) Before(id uint64, n int) (ids []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := len(j.entries)
	if id != 0 {
		i, _ = j.search(id)
	}
	for i--; i >= 0 && len(ids) < n; i-- {
		ids = append(ids, j.entries[i].id)
	}
	return ids
}

// Read returns the first and the newest record of an entry from disk. The Kind of one that is damaged is 0; ErrDamaged: both are.
// fs.ErrNotExist: there is no such entry.
func (j *Journal) Read(id uint64) (first, newest Record, err error) {
	for {
		j.mu.Lock()
		e := j.find(id)
		if e == nil {
			j.mu.Unlock()
			return first, newest, fmt.Errorf("cannot read %x: %w", id, fs.ErrNotExist)
		}
		from, to := e.first, e.newest
		j.mu.Unlock()
		first, err1 := j.read(from)
		newest, err2 := first, err1
		if to != from {
			newest, err2 = j.read(to)
		}
		if (err1 != nil || err2 != nil) && j.moved(id, from, to) {
			continue // by Expire
		}
		for _, err := range []error{err1, err2} {
			if err != nil && (!errors.Is(err, ErrDamaged) || err1 != nil && err2 != nil) {
				return first, newest, fmt.Errorf("cannot read %x: %w", id, err)
			}
		}
		return first, newest, nil
	}
}

func (j *Journal) moved(id uint64, from, to place) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	e := j.find(id)
	return e == nil || e.first != from || e.newest != to
}

// read returns the record at a place.
func (j *Journal) read(p place) (Record, error) {
	_, r, err := j.readRaw(p)
	return r, err
}

func (j *Journal) readRaw(p place) (header, Record, error) {
	if p.size == 0 {
		return header{}, Record{}, ErrDamaged
	}
	f, err := os.OpenFile(j.path(p.segment), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return header{}, Record{}, fmt.Errorf("%w: %v", ErrDamaged, err) //nolint:errorlint // it is not the entry that does not exist
	case err != nil:
		return header{}, Record{}, err
	}
	defer f.Close()
	b := make([]byte, p.size)
	if _, err := f.ReadAt(b, int64(p.offset)); err != nil {
		return header{}, Record{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	h, ok := parseHeader(b)
	if data := b[headerSize:]; !ok || int64(len(data)) != h.size+1 || checksum(data) != h.sum {
		return header{}, Record{}, fmt.Errorf("%w: at %d of %s", ErrDamaged, p.offset, f.Name())
	}
	return h, Record{ID: h.id, Kind: h.kind, Data: b[headerSize : len(b)-1 : len(b)-1], Time: time.UnixMilli(h.milli)}, nil
}

// Damage is a part of the journal that cannot be read.
type Damage struct {
	File   string
	Offset int64
	Bytes  int64 // 0: unknown
	Why    string
}

// Stats describe the journal.
type Stats struct {
	Entries    int
	Unfinished int
	LastID     uint64 // the highest ever seen; 0: there was none
	Bytes      int64  // of the segments, without space that is allocated ahead
	Damage     []Damage
	Broken     error // why nothing can be appended; nil: it can
}

// Stats returns the present state.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	return Stats{Entries: len(j.entries), Unfinished: len(j.unfinished), LastID: j.lastID, Bytes: j.bytes(),
		Damage: slices.Clone(j.damage), Broken: j.broken}
}

func (j *Journal) bytes() (sum int64) {
	for _, s := range j.segments {
		sum += s.size
	}
	return sum
}
