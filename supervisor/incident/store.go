package incident

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/headroom"
)

const maxIncidents = 10

// maxKept bounds one incident, unpacked, in bytes: what cut lets through, with every byte written in six.
const maxKept = 4 << 20

// itemPrefix begins the name of an incident's item in the fd store.
const itemPrefix = "incident/"

// FDStore keeps items for the next supervisor; *fdstore.Store is one.
type FDStore interface {
	PutFile(name string, blob []byte, f syscall.Conn) error
	Delete(name string)
}

// Store keeps the last incidents, each as gzipped JSON in a memfd that is in the fd store before Add returns. It is
// safe for concurrent use; readers never wait for a writer.
type Store struct {
	fds  FDStore
	warn func(string)

	writing sync.Mutex // one Add or Amend at a time
	mu      sync.Mutex // guards what follows; held for a moment only
	next    uint64
	kept    map[uint64]*keptIncident
}

type keptIncident struct {
	summary Summary
	file    *os.File // the memfd
}

// Restore takes the incidents of an earlier supervisor out of items. Unreadable ones are deleted with a warning.
func Restore(fds FDStore, items fdstore.Items, warn func(string)) *Store {
	s := &Store{fds: fds, warn: warn, next: 1, kept: map[uint64]*keptIncident{}}
	for _, name := range items.Names(itemPrefix) {
		number, err := strconv.ParseUint(strings.TrimPrefix(name, itemPrefix), 10, 63)
		if err != nil {
			number = 0 // which none has
		}
		s.next = max(s.next, number+1)
		if err := s.restore(number, name, items); err != nil {
			warn(fmt.Sprintf("cannot read the kept %s, it is deleted: %v", name, err))
			fds.Delete(name)
		}
	}
	s.makeRoom() // the earlier supervisor may have been killed in Add
	return s
}

func (s *Store) restore(number uint64, name string, items fdstore.Items) error {
	f, _, err := items.TakeFile(name)
	if err != nil {
		return err
	}
	i, err := readIncident(f)
	if err == nil && i.Number != number {
		err = fmt.Errorf("it has number %d", i.Number)
	}
	if err != nil {
		f.Close()
		return err
	}
	s.kept[number] = &keptIncident{i.Summary, f}
	return nil
}

// Add keeps an incident and returns its number. Beyond the limit the oldest incident of the service that has the most
// is dropped: a crash loop does not displace all others. If there is no memory left, Add warns.
func (s *Store) Add(i Incident) uint64 {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	i.Number = s.next
	s.next++
	s.mu.Unlock()
	s.store(&i)
	s.makeRoom()
	return i.Number
}

// Amend changes an incident; false: it is not kept. f must neither keep its argument nor use s.
func (s *Store) Amend(number uint64, f func(*Incident)) bool {
	s.writing.Lock()
	defer s.writing.Unlock()
	i, ok := s.Get(number)
	if !ok {
		return false
	}
	f(&i)
	i.Number = number
	s.store(&i)
	return true
}

// store writes an incident; writing is held.
func (s *Store) store(i *Incident) {
	i.cut()
	name := itemPrefix + strconv.FormatUint(i.Number, 10)
	f, err := writeIncident(name, i)
	if err != nil {
		s.warn(fmt.Sprintf("cannot keep incident %d of %s (%s: %s): %v", i.Number, i.Service, i.Cause, i.Reason, err))
		return
	}
	if err := s.fds.PutFile(name, nil, f); err != nil { // this supervisor still has it
		s.warn(fmt.Sprintf("cannot keep incident %d for the next supervisor: %v", i.Number, err))
	}
	s.mu.Lock()
	old := s.kept[i.Number]
	s.kept[i.Number] = &keptIncident{i.Summary, f}
	s.mu.Unlock()
	if old != nil {
		old.file.Close()
	}
}

func (s *Store) makeRoom() {
	for {
		number, over := s.excess()
		if !over {
			return
		}
		s.mu.Lock()
		old := s.kept[number]
		delete(s.kept, number)
		s.mu.Unlock()
		old.file.Close()
		s.fds.Delete(itemPrefix + strconv.FormatUint(number, 10))
	}
}

func (s *Store) excess() (number uint64, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) <= maxIncidents {
		return 0, false
	}
	counts := map[string]int{}
	for _, k := range s.kept {
		counts[k.summary.Service]++
	}
	most := slices.Max(slices.Collect(maps.Values(counts)))
	for _, n := range slices.Sorted(maps.Keys(s.kept)) {
		if counts[s.kept[n].summary.Service] == most {
			return n, true
		}
	}
	return 0, false
}

// List returns the summaries, the newest first; never nil.
func (s *Store) List() []Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Summary, 0, len(s.kept))
	for _, k := range s.kept {
		out = append(out, k.summary)
	}
	slices.SortFunc(out, func(a, b Summary) int { return cmp.Compare(b.Number, a.Number) })
	return out
}

// Get returns an incident; false: it is not kept.
func (s *Store) Get(number uint64) (Incident, bool) {
	for {
		s.mu.Lock()
		k := s.kept[number]
		s.mu.Unlock()
		if k == nil {
			return Incident{}, false
		}
		i, err := readIncident(k.file)
		if errors.Is(err, os.ErrClosed) {
			continue // it was amended or dropped meanwhile
		}
		if err != nil {
			s.warn(fmt.Sprintf("cannot read incident %d: %v", number, err))
			return Incident{}, false
		}
		return *i, true
	}
}

func writeIncident(name string, i *Incident) (*os.File, error) {
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	enc := json.NewEncoder(z)
	enc.SetEscapeHTML(false)
	if err := errors.Join(enc.Encode(i), z.Close()); err != nil {
		return nil, err
	}
	if err := headroom.DescriptorsFor(1); err != nil {
		return nil, err
	}
	return fdstore.NewFile(name, packed.Bytes())
}

// readIncident reads what writeIncident wrote.
func readIncident(f *os.File) (*Incident, error) {
	z, err := gzip.NewReader(io.NewSectionReader(f, 0, maxKept))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, maxKept))
	if err != nil {
		return nil, err
	}
	i := new(Incident)
	if err := json.Unmarshal(data, i); err != nil {
		return nil, err
	}
	i.cut()
	return i, nil
}
