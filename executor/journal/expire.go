package journal

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"time"
)

// Limits bound the entries that have ended. Zero: no limit.
type Limits struct {
	Before  time.Time // of their end
	Entries int
	Bytes   int64 // of their first and newest records
}

// sparse is the part of the oldest segment that is copied without need: one of so many bytes.
const sparse = 8

// Expire drops the oldest entries that have ended, and returns their IDs. It removes the oldest segments: what is still needed of them
// is copied behind the others first. IDs that are dropped come back when the journal is opened before their segment is removed; the
// next call drops them again. On an error the IDs are valid, and what could not be removed is so later. Append goes on meanwhile: it waits
// for no sync.
func (j *Journal) Expire(limit Limits) ([]uint64, error) {
	j.expiring.Lock()
	defer j.expiring.Unlock()
	j.writing.Lock()
	j.mu.Lock()
	broken, rounds := j.broken, len(j.segments)-1
	j.mu.Unlock()
	if broken != nil {
		j.writing.Unlock()
		return nil, broken
	}
	ids := j.drop(limit)
	j.writing.Unlock()
	for range rounds {
		moving, worth := j.oldest()
		if !worth {
			break
		}
		if err := j.removeOldest(moving); err != nil {
			return ids, fmt.Errorf("cannot remove the oldest segment of the journal: %w", err)
		}
	}
	return ids, nil
}

// kept is the number of bytes that are needed of an entry.
func (e *entry) kept() int64 {
	if e.newest == e.first {
		return int64(e.first.size)
	}
	return int64(e.first.size) + int64(e.newest.size)
}

// drop removes entries from the index.
func (j *Journal) drop(limit Limits) (ids []uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	ended, bytes := 0, int64(0)
	for i := range j.entries {
		if e := &j.entries[i]; e.kind == Ended {
			ended++
			bytes += e.kept()
		}
	}
	j.entries = slices.DeleteFunc(j.entries, func(e entry) bool {
		old := !limit.Before.IsZero() && int64(e.seconds) < limit.Before.Unix()
		many := limit.Entries > 0 && ended > limit.Entries || limit.Bytes > 0 && bytes > limit.Bytes
		if e.kind != Ended || !old && !many {
			return false
		}
		ended--
		bytes -= e.kept()
		ids = append(ids, e.id)
		if len(j.older) == 0 {
			delete(j.keys, e.hash)
		}
		return true
	})
	if len(ids) > 0 && len(j.older) > 0 {
		j.indexKeys()
	}
	return ids
}

// indexKeys makes the index of the keys again.
func (j *Journal) indexKeys() {
	j.keys, j.older = make(map[uint64]uint64, len(j.entries)), map[uint64]uint64{}
	for _, e := range j.entries {
		j.addKey(e.id, e.hash)
	}
}

// needed are the places of the records that are needed of an entry. mu is held.
func (j *Journal) needed(e *entry) (records []place) {
	records = []place{e.first, e.newest}
	if u := j.unfinished[e.id]; u != nil {
		records = nil
		for _, n := range u.records {
			records = append(records, n.place)
		}
	}
	return slices.DeleteFunc(slices.Compact(records), func(p place) bool { return p.size == 0 })
}

// oldest returns the entries that have to be copied before the oldest segment can be removed, and whether that is worth it: they are
// few, or the journal is much larger than what is needed of it.
func (j *Journal) oldest() (moving []uint64, worth bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	seg := j.segments[0]
	live, kept := int64(0), int64(0)
	for i := range j.entries {
		inside := false
		for _, p := range j.needed(&j.entries[i]) {
			kept += int64(p.size)
			if p.segment == seg.number {
				live += int64(p.size)
				inside = true
			}
		}
		if inside {
			moving = append(moving, j.entries[i].id)
		}
	}
	return moving, live <= seg.size/sparse || j.bytes() > 2*kept+2*j.o.SegmentBytes
}

// removeOldest copies entries of the oldest segment and removes it.
func (j *Journal) removeOldest(moving []uint64) error {
	for _, id := range moving {
		if err := j.move(id); err != nil {
			return err
		}
	}
	j.mu.Lock()
	appended := j.appended
	j.mu.Unlock()
	if err := j.flush(appended); err != nil {
		return err
	}
	j.ranging.Lock()
	defer j.ranging.Unlock()
	j.mu.Lock()
	broken, oldest, next, last := j.broken, j.segments[0].number, j.segments[1].number, j.segments[len(j.segments)-1].number
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	if err := j.writeRange(next, last); err != nil {
		return err
	}
	if err := os.Remove(j.path(oldest)); err != nil {
		return err
	}
	j.mu.Lock()
	j.segments = slices.Delete(j.segments, 0, 1)
	j.mu.Unlock()
	return j.o.files.folder(j.folder)
}

// move copies all that is needed of an entry behind the other records: its newest one has to be behind its others.
func (j *Journal) move(id uint64) error {
	j.writing.Lock()
	defer j.writing.Unlock()
	j.mu.Lock()
	broken, places := j.broken, j.needed(j.find(id)) // only drop removes it
	j.mu.Unlock()
	if broken != nil {
		return broken
	}
	for _, p := range places {
		h, r, err := j.readRaw(p)
		if err != nil {
			return err
		}
		if err := j.put(h, r.Data, true); err != nil {
			return err
		}
	}
	return nil
}

func byID(a, b entry) int { return cmp.Compare(a.id, b.id) }
