package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
)

// Limits of the journal. Above them the older half of the events is dropped.
const (
	maxEvents = 2000
	maxBytes  = 1 << 20
)

// maxID is above every ID, and an integer of JavaScript.
const maxID = 1<<53 - 1

// Journal keeps the last events. It is safe for concurrent use; readers never wait for the fd store.
type Journal struct {
	fds  FDStore
	warn func(string)

	writing sync.Mutex // held by one Append; only it changes what follows
	mu      sync.Mutex // guards what follows
	store   *store     // nil: there is no memory, and nothing is kept
	next    uint64
	entries []entry
	once    map[key]uint64 // events that happen once
	wake    chan struct{}  // closed by the next event
}

// Resume takes the journal of the previous supervisor out of its items. If it cannot be read, its
// events are dropped with a warning. first: there was no previous supervisor.
func Resume(fds FDStore, items fdstore.Items, first bool, warn func(string)) *Journal {
	j := newJournal(fds, warn)
	if first && !items.Has(Item) {
		j.renew(0)
		return j
	}
	if err := j.restore(items); err != nil {
		warn(fmt.Sprintf("cannot read the kept events, they are dropped: %v", err))
		j = newJournal(fds, warn)
		// The last ID is unknown. There were never as many events as microseconds.
		j.next = uint64(time.Now().UnixMicro())
		j.renew(0)
	}
	return j
}

func newJournal(fds FDStore, warn func(string)) *Journal {
	return &Journal{fds: fds, warn: warn, next: 1, once: map[key]uint64{}, wake: make(chan struct{})}
}

// restore reads the kept events.
func (j *Journal) restore(items fdstore.Items) error {
	f, _, err := items.TakeFile(Item)
	if err != nil {
		return err
	}
	j.store = &store{File: f}
	err = j.store.each(func(line []byte, off int64) error {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("the event at byte %d: %w", off, err)
		}
		if e.ID < j.next || e.ID > maxID {
			return fmt.Errorf("the event at byte %d has number %d behind %d", off, e.ID, j.next-1)
		}
		j.add(&e, entry{e.ID, off, len(line) + 1})
		return nil
	})
	if err != nil {
		f.Close()
	}
	return err
}

// add adds an event that is in the store.
func (j *Journal) add(e *Event, x entry) {
	j.entries = append(j.entries, x)
	j.next = e.ID + 1
	if k, ok := e.key(); ok {
		j.once[k] = e.ID
	}
}

// renew copies the entries from the k-th on to a new store. The fd store has the old one until it has
// the new one. If there is no memory for a new store, the old one is emptied. j.writing is held.
func (j *Journal) renew(k int) {
	f, err := fdstore.NewFile(Item, nil)
	s := &store{File: f}
	var moved []entry
	if err != nil {
		j.warn(fmt.Sprintf("cannot keep more events: %v", err))
		if s = j.store; s != nil {
			s.end = 0
			_ = s.Truncate(0) // else the rest is overwritten
		}
	} else {
		moved = j.copyTo(s, j.entries[k:])
		if err := j.fds.PutFile(Item, nil, s); err != nil { // the next supervisor gets the old one
			j.warn(fmt.Sprintf("cannot keep the events for the next supervisor: %v", err))
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.store != nil && j.store != s {
		j.store.Close()
	}
	j.store, j.entries = s, moved
	for key, id := range j.once {
		if len(moved) == 0 || id < moved[0].id {
			delete(j.once, key)
		}
	}
}

// copyTo copies events to another store.
func (j *Journal) copyTo(s *store, entries []entry) (moved []entry) {
	for _, x := range entries {
		line, err := j.store.read(x)
		var to entry
		if err == nil {
			to, err = s.append(x.id, line)
		}
		if err != nil {
			j.warn(fmt.Sprintf("cannot keep event %d any longer: %v", x.id, err))
			break
		}
		moved = append(moved, to)
	}
	return moved
}

// Append records an event and returns its ID. Time defaults to now. An event that happens once and is
// recorded already is not recorded again.
func (j *Journal) Append(e Event) uint64 {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	e.limit()
	j.writing.Lock()
	defer j.writing.Unlock()
	k, single := e.key()
	if id, known := j.once[k]; single && known {
		return id
	}
	e.ID = j.next
	x, err := j.write(&e)
	if err != nil {
		j.warn(fmt.Sprintf("cannot keep event %d (%s): %v", e.ID, e.Kind, err))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next = e.ID + 1
	if err == nil {
		j.add(&e, x)
	}
	close(j.wake)
	j.wake = make(chan struct{})
	return e.ID
}

// write writes an event to the store, and makes room where there is none.
func (j *Journal) write(e *Event) (entry, error) {
	line, err := json.Marshal(e)
	if err == nil && len(line) > maxEvent {
		e.Changes = nil
		if e.Hook != nil {
			e.Hook.Annotations, e.Hook.Output = nil, ""
		}
		line, err = json.Marshal(e)
	}
	if err != nil {
		return entry{}, err
	}
	line = append(line, '\n')
	switch {
	case j.store == nil:
		j.renew(0)
	case len(j.entries) >= maxEvents || j.store.end+int64(len(line)) > maxBytes:
		j.renew(len(j.entries) - len(j.entries)/2)
	}
	if j.store == nil {
		return entry{}, errors.New("there is no memory for events")
	}
	return j.store.append(e.ID, line)
}

// Last is the ID of the latest event; 0: there is none.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.next - 1
}

// Since returns the kept events after an ID that the filter selects; all if the ID is of another
// container. The first says how many are missing, if some are not kept any more.
func (j *Journal) Since(id uint64, want Filter) []Event {
	var out []Event
	for {
		e, ok, _ := j.after(id)
		if !ok {
			return out
		}
		if id = e.ID; want.matches(&e) {
			out = append(out, e)
		}
	}
}

// Tail returns the last n events that the filter selects, and the ID of the latest event.
func (j *Journal) Tail(n int, want Filter) (out []Event, last uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, x := range slices.Backward(j.entries) {
		if len(out) >= n {
			break
		}
		if e, err := j.store.event(x); err == nil && want.matches(&e) {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out, j.next - 1
}

// Follow calls f for the events that Since returns and for later ones, until f fails or ctx is done.
// Nothing waits for f: it gets the number of the events that are lost meanwhile.
func (j *Journal) Follow(ctx context.Context, id uint64, want Filter, f func(Event) error) error {
	for ctx.Err() == nil {
		e, ok, wake := j.after(id)
		if !ok {
			select {
			case <-wake:
			case <-ctx.Done():
			}
			continue
		}
		id = e.ID
		if want.matches(&e) {
			if err := f(e); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// after returns the first event after an ID, or that some are missing there; false: there is none yet,
// and wake is closed when there is.
func (j *Journal) after(id uint64) (e Event, ok bool, wake <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if id >= j.next {
		id = 0
		if len(j.entries) > 0 { // what is gone was not this follower's
			id = j.entries[0].id - 1
		}
	}
	k, _ := slices.BinarySearchFunc(j.entries, id+1, func(x entry, id uint64) int { return cmp.Compare(x.id, id) })
	for _, x := range j.entries[k:] {
		if x.id > id+1 {
			return missed(id, x.id), true, nil
		}
		if e, err := j.store.event(x); err == nil {
			return e, true, nil
		}
		id = x.id // it cannot be read any more
	}
	return e, false, j.wake
}

// missed says that the events between two IDs are lost.
func missed(from, to uint64) Event {
	e := Event{ID: to - 1, Time: time.Now().UTC(), Kind: KindMissed, Missed: to - 1 - from,
		Reason: "events are missing here: they are not kept any more"}
	if e.Missed > 1<<40 { // see Resume
		e.Missed, e.Reason = 0, "events are missing here: they were lost, their number is unknown"
	}
	return e
}
