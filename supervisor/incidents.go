package supervisor

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

	"github.com/stoker-init/stoker/internal/headroom"
	"golang.org/x/sys/unix"
)

// maxIncidents is how many incidents are kept.
const maxIncidents = 10

// maxKept bounds one incident, unpacked, in bytes: what cut lets through, with
// every byte written in six.
const maxKept = 4 << 20

// incidentPrefix begins the name of an incident's bag item.
const incidentPrefix = "incident/"

// Bag keeps items for the next supervisor; *proc.Manager is one.
type Bag interface {
	Put(name string, body []byte, fds ...int) error
	Del(name string)
}

// Incidents keeps the last incidents. Each is gzipped JSON in a memfd that is in
// the bag before Add returns. It may be used by several goroutines; who reads
// never waits for who writes.
type Incidents struct {
	bag  Bag
	warn func(string)

	writing sync.Mutex // one Add or Amend at a time
	mu      sync.Mutex // guards what follows; held for a moment only
	next    uint64
	kept    map[uint64]*keptIncident
}

// keptIncident is one of them.
type keptIncident struct {
	summary Summary
	file    *os.File // the memfd
}

// ResumeIncidents takes the incidents of an earlier supervisor out of what the
// bag held; blobs and files are without them afterwards. What cannot be read is
// forgotten, and warn is told.
func ResumeIncidents(bag Bag, blobs map[string][]byte, files map[string][]int, warn func(string)) *Incidents {
	s := &Incidents{bag: bag, warn: warn, next: 1, kept: map[uint64]*keptIncident{}}
	for _, name := range slices.Collect(maps.Keys(blobs)) {
		text, ours := strings.CutPrefix(name, incidentPrefix)
		if !ours {
			continue
		}
		number, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			number = 0 // which none has
		}
		s.next = max(s.next, number+1)
		err = s.resume(number, files[name])
		if err != nil {
			warn(fmt.Sprintf("cannot read the kept %s, it is forgotten: %v", name, err))
			bag.Del(name)
		}
		delete(blobs, name)
		delete(files, name)
	}
	s.makeRoom() // we may have been killed between the last Add and its end
	return s
}

// resume takes one back. The descriptors are its own from now on.
func (s *Incidents) resume(number uint64, fds []int) error {
	if len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return fmt.Errorf("it has %d descriptors", len(fds))
	}
	f := os.NewFile(uintptr(fds[0]), incidentPrefix)
	i, err := readIncident(f)
	if err == nil && i.Number != number {
		err = fmt.Errorf("it has number %d", i.Number)
	}
	if err != nil {
		f.Close()
		return err
	}
	s.kept[number] = &keptIncident{i.Summary(), f}
	return nil
}

// Add keeps an incident and gives its number. Beyond the limit another one goes:
// the oldest of the service that has the most, so that one that fails again and
// again does not take the place of all others. Only memory and the bag are
// written to; where there is none left, warn is told.
func (s *Incidents) Add(i Incident) uint64 {
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

// Amend changes an incident that is still kept; false: it is not. f must neither
// keep what it gets nor use s.
func (s *Incidents) Amend(number uint64, f func(*Incident)) bool {
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

// store writes an incident anew; writing is held.
func (s *Incidents) store(i *Incident) {
	i.cut()
	name := incidentPrefix + strconv.FormatUint(i.Number, 10)
	f, err := writeIncident(name, i)
	if err != nil {
		s.warn(fmt.Sprintf("cannot keep incident %d of %s (%s: %s): %v", i.Number, i.Service, i.Cause, i.Reason, err))
		return
	}
	raw, err := f.SyscallConn()
	if err == nil {
		var putErr error
		err = raw.Control(func(fd uintptr) { putErr = s.bag.Put(name, nil, int(fd)) })
		err = errors.Join(err, putErr)
	}
	if err != nil { // the next supervisor will not know of it, but this one does
		s.warn(fmt.Sprintf("cannot keep incident %d for the next supervisor: %v", i.Number, err))
	}
	s.mu.Lock()
	old := s.kept[i.Number]
	s.kept[i.Number] = &keptIncident{i.Summary(), f}
	s.mu.Unlock()
	if old != nil {
		old.file.Close()
	}
}

// makeRoom forgets what is beyond the limit.
func (s *Incidents) makeRoom() {
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
		s.bag.Del(incidentPrefix + strconv.FormatUint(number, 10))
	}
}

// excess picks the one that goes, if there are too many.
func (s *Incidents) excess() (number uint64, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) <= maxIncidents {
		return 0, false
	}
	counts, oldest := map[string]int{}, map[string]uint64{}
	for n, k := range s.kept {
		name := k.summary.Service
		counts[name]++
		if old, ok := oldest[name]; !ok || n < old {
			oldest[name] = n
		}
	}
	most := slices.MaxFunc(slices.Collect(maps.Keys(counts)), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[a], counts[b]), cmp.Compare(oldest[b], oldest[a]))
	})
	return oldest[most], true
}

// List gives the summaries, the newest first; never nil.
func (s *Incidents) List() []Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Summary, 0, len(s.kept))
	for _, k := range s.kept {
		out = append(out, k.summary)
	}
	slices.SortFunc(out, func(a, b Summary) int { return cmp.Compare(b.Number, a.Number) })
	return out
}

// Get gives an incident; false: it is not kept (any more).
func (s *Incidents) Get(number uint64) (Incident, bool) {
	s.mu.Lock()
	k := s.kept[number]
	var own int
	var err error
	if k != nil { // a descriptor of our own: the other may be closed meanwhile
		own, err = duplicate(k.file)
	}
	s.mu.Unlock()
	if k == nil || err != nil {
		return Incident{}, false
	}
	f := os.NewFile(uintptr(own), incidentPrefix)
	defer f.Close()
	i, err := readIncident(f)
	if err != nil {
		s.warn(fmt.Sprintf("cannot read incident %d: %v", number, err))
		return Incident{}, false
	}
	return *i, true
}

func duplicate(f *os.File) (own int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	var dupErr error
	err = raw.Control(func(fd uintptr) { own, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return own, errors.Join(err, dupErr)
}

// writeIncident packs an incident into a memfd.
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
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(packed.Bytes()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readIncident is the way back. The position of the descriptor, which others
// share, is not used.
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
