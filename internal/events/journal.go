package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
)

// What is kept at most. When there is more the older half goes.
const (
	maxEvents = 2000
	maxBytes  = 1 << 20
)

// maxID is beyond every number that is given, in integers of JavaScript too.
const maxID = 1<<53 - 1

// Journal keeps the last events. Several goroutines may use it; readers never wait for the
// fd store.
type Journal struct {
	fds  FDStore
	warn func(string)

	writing sync.Mutex // one Append at a time; only it changes what follows
	mu      sync.Mutex // guards what follows; held for a moment only
	store   *store     // nil: there is no memory for it, and nothing is kept
	next    uint64
	entries []entry
	once    map[moment]uint64 // what happens once -> its event
	wake    chan struct{}     // closed when another one comes
}

// entry is where an event is in the store.
type entry struct {
	id   uint64
	off  int64
	size int // with its newline
}

// Resume takes the journal of the previous supervisor out of its items. Events that cannot
// be read are dropped with a warning. first: there was no previous supervisor.
func Resume(fds FDStore, items fdstore.Items, first bool, warn func(string)) *Journal {
	j := newJournal(fds, warn)
	if first && !items.Has(Item) {
		j.renew(0)
		return j
	}
	if err := j.resume(items); err != nil {
		warn(fmt.Sprintf("cannot read the kept events, they are dropped: %v", err))
		j = newJournal(fds, warn)
		// The last number is unknown. There were never as many events as microseconds.
		j.next = uint64(time.Now().UnixMicro())
		j.renew(0)
	}
	return j
}

func newJournal(fds FDStore, warn func(string)) *Journal {
	return &Journal{fds: fds, warn: warn, next: 1, once: map[moment]uint64{}, wake: make(chan struct{})}
}

// resume reads the kept events.
func (j *Journal) resume(items fdstore.Items) error {
	f, _, err := items.TakeFile(Item)
	if err != nil {
		return err
	}
	j.store = &store{File: f}
	return j.store.each(func(line []byte, off int64) error {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("the event at byte %d: %w", off, err)
		}
		if e.ID < j.next || e.ID > maxID {
			return fmt.Errorf("the event at byte %d has number %d behind %d", off, e.ID, j.next-1)
		}
		j.note(&e, off, len(line)+1)
		return nil
	})
}

// note indexes an event that is in the store.
func (j *Journal) note(e *Event, off int64, size int) {
	j.entries = append(j.entries, entry{e.ID, off, size})
	j.next = e.ID + 1
	if m, ok := e.key(); ok {
		j.once[m] = e.ID
	}
}

// renew moves the entries from k on to another memfd. The fd store has the old one until it
// has the new one. If there is no memory for another one the old one is emptied. j.writing is
// held, or j is new.
func (j *Journal) renew(k int) {
	s, err := newStore()
	if err != nil {
		j.warn(fmt.Sprintf("cannot keep more events: %v", err))
		if s = j.store; s != nil {
			s.empty()
		}
		j.replace(s, nil)
		return
	}
	var moved []entry
	for _, x := range j.entries[k:] {
		line, err := j.store.read(x.off, x.size)
		var off int64
		if err == nil {
			off, err = s.append(line)
		}
		if err != nil {
			j.warn(fmt.Sprintf("cannot keep event %d any longer: %v", x.id, err))
			break
		}
		moved = append(moved, entry{x.id, off, x.size})
	}
	if err := j.fds.PutFile(Item, nil, s); err != nil { // the next supervisor finds what is in the old one
		j.warn(fmt.Sprintf("cannot keep the events for the next supervisor: %v", err))
	}
	j.replace(s, moved)
}

// replace makes another store and its entries the present ones.
func (j *Journal) replace(s *store, entries []entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.store != nil && j.store != s {
		j.store.Close()
	}
	j.store, j.entries = s, entries
	for m, id := range j.once {
		if len(entries) == 0 || id < entries[0].id {
			delete(j.once, m)
		}
	}
}

// Append keeps an event and gives its number. Its time is now where it has none.
// One that tells of a moment that an event tells of already is not kept again, and
// the number is that one's.
func (j *Journal) Append(e Event) uint64 {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	e.cut()
	j.writing.Lock()
	defer j.writing.Unlock()
	m, single := e.key()
	if id, told := j.once[m]; single && told {
		return id
	}
	e.ID = j.next
	line, off, err := j.write(&e)
	if err != nil {
		j.warn(fmt.Sprintf("cannot keep event %d (%s): %v", e.ID, e.Kind, err))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next = e.ID + 1
	if err == nil {
		j.note(&e, off, len(line))
	}
	close(j.wake)
	j.wake = make(chan struct{})
	return e.ID
}

// write puts an event into the store, making room where there is none.
func (j *Journal) write(e *Event) (line []byte, off int64, err error) {
	if line, err = json.Marshal(e); err == nil && len(line) > maxEvent {
		e.shrink()
		line, err = json.Marshal(e)
	}
	if err != nil {
		return nil, 0, err
	}
	line = append(line, '\n')
	switch {
	case j.store == nil:
		j.renew(0)
	case len(j.entries) >= maxEvents || j.store.end+int64(len(line)) > maxBytes:
		j.renew(len(j.entries) - len(j.entries)/2)
	}
	if j.store == nil {
		return nil, 0, errors.New("there is no memory for events")
	}
	off, err = j.store.append(line)
	return line, off, err
}

// Seen says whether an event of that kind is kept for a service's start. Of the
// container the service is empty and the start 0.
func (j *Journal) Seen(service string, start uint64, kind string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.once[moment{service: service, start: start, kind: kind}]
	return ok
}

// Last is the number of the latest event; 0: there was none.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.next - 1
}

// Since gives the kept events behind a number. A number that was never given is
// another container's: then it is all of them. The first one says how many
// are missing where some are not kept any more.
func (j *Journal) Since(id uint64, want Filter) []Event {
	var out []Event
	for {
		e, ok, _ := j.after(id)
		if !ok {
			return out
		}
		if id = e.ID; want.wants(&e) {
			out = append(out, e)
		}
	}
}

// Tail gives the last n kept events that are wanted, and the number of the latest
// event that was looked at.
func (j *Journal) Tail(n int, want Filter) (out []Event, last uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, x := range slices.Backward(j.entries) {
		if len(out) >= n {
			break
		}
		if e, err := j.read(x); err == nil && want.wants(&e) {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out, j.next - 1
}

// Follow calls f for the kept events behind a number, and for those that come, as
// Since does, until ctx is done. Nobody waits for f: what is not kept any more when
// it comes back is missed, and it is told how many. The result is f's error or
// ctx's.
func (j *Journal) Follow(ctx context.Context, id uint64, want Filter, f func(Event) error) error {
	for {
		e, ok, wake := j.after(id)
		if !ok {
			select {
			case <-wake:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		id = e.ID
		if want.wants(&e) {
			if err := f(e); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// after gives the first event behind a number, or that some are missing there;
// false: there is none yet, and wake is closed when there is.
func (j *Journal) after(id uint64) (e Event, ok bool, wake <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if id >= j.next {
		id = 0
		if len(j.entries) > 0 { // what is gone was not this follower's
			id = j.entries[0].id - 1
		}
	}
	k, _ := slices.BinarySearchFunc(j.entries, id+1, func(x entry, id uint64) int {
		switch {
		case x.id < id:
			return -1
		case x.id > id:
			return 1
		}
		return 0
	})
	for ; k < len(j.entries); k++ {
		x := j.entries[k]
		if x.id > id+1 {
			return missed(id, x.id), true, nil
		}
		if e, err := j.read(x); err == nil {
			return e, true, nil
		}
		id = x.id // nobody can have this one any more
	}
	return e, false, j.wake
}

// missed says that nothing is kept between two numbers.
func missed(from, to uint64) Event {
	e := Event{ID: to - 1, Time: time.Now().UTC(), Kind: KindMissed, Missed: to - 1 - from,
		Reason: "events are missing here: they are not kept any more"}
	if e.Missed > 1<<40 { // see Resume
		e.Missed, e.Reason = 0, "events are missing here: they were lost, nobody knows how many"
	}
	return e
}

// read reads an event again; j.mu is held.
func (j *Journal) read(x entry) (e Event, err error) {
	line, err := j.store.read(x.off, x.size)
	if err == nil {
		err = json.Unmarshal(line, &e)
	}
	return e, err
}
