package events

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"syscall"
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

// FDStore keeps the file of the journal for the next supervisor.
type FDStore interface {
	PutFile(name string, blob []byte, f syscall.Conn) error
}

// Item is the name of the journal in the fd store: a memfd with one event a line. Text behind
// the last newline was being written when its writer was killed.
const Item = "events"

// Journal keeps the last events. It is safe for concurrent use; readers never wait for the fd store.
type Journal struct {
	fds  FDStore
	warn func(string)

	writing sync.Mutex // held by one Append; only it changes the following
	mu      sync.Mutex // guards the following
	file    *os.File   // for the next supervisor; nil: there is no memory for it
	size    int64      // of the file
	next    uint64
	events  []Event
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
	j.file = f
	data, err := fdstore.ReadFile(f, maxBytes+maxEvent)
	for err == nil {
		line, _, whole := bytes.Cut(data[j.size:], []byte{'\n'})
		if !whole {
			return f.Truncate(j.size)
		}
		var e Event
		switch err = json.Unmarshal(line, &e); {
		case err != nil:
			err = fmt.Errorf("the event at byte %d: %w", j.size, err)
		case e.ID < j.next || e.ID > maxID:
			err = fmt.Errorf("the event at byte %d has number %d behind %d", j.size, e.ID, j.next-1)
		}
		j.add(e)
		j.size += int64(len(line)) + 1
	}
	f.Close()
	return err
}

// add adds an event that is in the file.
func (j *Journal) add(e Event) {
	j.events = append(j.events, e)
	j.next = e.ID + 1
	if k, ok := e.key(); ok {
		j.once[k] = e.ID
	}
}

// renew writes the events from the k-th on to a new file. The fd store has the old one until it has
// the new one. If there is no memory for a new file, the old one is overwritten. j.writing is held.
func (j *Journal) renew(k int) {
	kept := slices.Clone(j.events[k:])
	var data []byte
	for _, e := range kept {
		line, _ := e.encode() // it was encoded before
		data = append(data, line...)
	}
	f, err := fdstore.NewFile(Item, data)
	if err == nil {
		err = j.fds.PutFile(Item, nil, f)
	} else if f = j.file; f != nil {
		_, writeErr := f.WriteAt(data, 0)
		err = errors.Join(err, writeErr, f.Truncate(int64(len(data))))
	}
	if err != nil {
		j.warn(fmt.Sprintf("cannot keep the events for the next supervisor: %v", err))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil && j.file != f {
		j.file.Close()
	}
	j.file, j.size, j.events = f, int64(len(data)), kept
	maps.DeleteFunc(j.once, func(_ key, id uint64) bool { return len(kept) == 0 || id < kept[0].ID })
}

// Append records an event and returns its ID. Time defaults to now. An event that happens once and is
// recorded already is not recorded again.
func (j *Journal) Append(e Event) uint64 {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Round(0)
	e.limit()
	j.writing.Lock()
	defer j.writing.Unlock()
	k, single := e.key()
	if id, known := j.once[k]; single && known {
		return id
	}
	e.ID = j.next
	n, err := j.write(&e)
	if err != nil {
		j.warn(fmt.Sprintf("cannot keep event %d (%s) for the next supervisor: %v", e.ID, e.Kind, err))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.size += n
	j.add(e)
	close(j.wake)
	j.wake = make(chan struct{})
	return e.ID
}

// write writes an event to the file, and drops others if there is no room. It returns the size.
func (j *Journal) write(e *Event) (int64, error) {
	line, err := e.encode()
	switch {
	case err != nil:
		return 0, err
	case j.file == nil:
		j.renew(len(j.events) / 2)
	case len(j.events) >= maxEvents || j.size+int64(len(line)) > maxBytes:
		j.renew(len(j.events) - len(j.events)/2)
	}
	if j.file == nil {
		return 0, errors.New("there is no memory for events")
	}
	if _, err := j.file.WriteAt(line, j.size); err != nil { // half a line must not stay
		return 0, errors.Join(err, j.file.Truncate(j.size))
	}
	return int64(len(line)), nil
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
	for _, e := range slices.Backward(j.events) {
		if len(out) >= n {
			break
		}
		if want.matches(&e) {
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
		if len(j.events) > 0 { // the dropped events were not this follower's
			id = j.events[0].ID - 1
		}
	}
	k, _ := slices.BinarySearchFunc(j.events, id+1, func(e Event, id uint64) int { return cmp.Compare(e.ID, id) })
	switch {
	case k == len(j.events):
		return e, false, j.wake
	case j.events[k].ID > id+1:
		return missed(id, j.events[k].ID), true, nil
	}
	return j.events[k], true, nil
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
