package incident

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/fdstore"
	"golang.org/x/sys/unix"
)

// fullIncident is one with everything.
func fullIncident() Incident {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return Incident{Summary: Summary{Service: "tomcat", Kind: "tomcat", At: at, Cause: CauseJVMCrash,
		Reason: "SIGSEGV <in> libc", Start: 7, Pid: 42, Ran: 3 * time.Second},
		Exit:            &Exit{Code: -1, Signal: 6, Core: true, At: at},
		StopRequestedBy: "uid 0",
		Notes:           []string{"a note"},
		Output:          []byte("out \x1b[1m\xff\x00"),
		ThreadDump:      []byte("Full thread dump"),
		Files: []File{{Kind: FileHsErr, Path: "/x", Size: 5, ModTime: at, Excerpt: []byte("# é")},
			{Kind: FileCore, Path: "/core", ModTime: at}},
		Options: []string{"java", "-Xmx1g"},
		Limits:  json.RawMessage(`{"cpus":2}`)}
}

func TestIncidentsSurvive(t *testing.T) {
	mem, warned := newMemoryStore(t), &warnings{}
	runtime.GC() // closes what tests before this one have left open
	runtime.GC()
	files := openFiles()
	s := mem.resume(warned)
	want := fullIncident()
	if n := s.Add(want); n != 1 {
		t.Errorf("the first has number %d", n)
	}
	if !s.Amend(1, func(i *Incident) { i.Cause, i.Number = CauseOOMKill, 99 }) {
		t.Error("it cannot be amended")
	}
	s.Add(Incident{Summary: Summary{Service: "other"}})
	want.Number, want.Cause = 1, CauseOOMKill
	for _, s := range []*Store{s, mem.resume(warned), mem.resume(warned)} {
		got, ok := s.Get(1)
		if !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		if list := s.List(); len(list) != 2 || list[1] != want.Summary || list[0].Service != "other" {
			t.Errorf("%+v", list)
		}
	}
	last := mem.resume(warned)
	if n := last.Add(Incident{}); n != 3 {
		t.Errorf("the next has number %d", n)
	}
	if _, ok := last.Get(4); ok || last.Amend(4, func(*Incident) { t.Error("called") }) {
		t.Error("there is a number 4")
	}
	if len(warned.all) > 0 {
		t.Errorf("%q", warned.all)
	}
	if got := openFiles() - files; got != 2+2+2+3+3 { // of s, three times resumed, and the fd store
		t.Errorf("%d descriptors more", got)
	}
}

// A crash loop does not take the place of the only incident of another service.
func TestIncidentsKeepTen(t *testing.T) {
	mem, warned := newMemoryStore(t), &warnings{}
	s := mem.resume(warned)
	s.Add(Incident{Summary: Summary{Service: "db"}})
	for range 30 {
		s.Add(Incident{Summary: Summary{Service: "app"}})
	}
	s.Add(Incident{Summary: Summary{Service: "web"}})
	want := []uint64{32, 31, 30, 29, 28, 27, 26, 25, 24, 1}
	for _, s := range []*Store{s, mem.resume(warned)} {
		if got := numbers(s.List()); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if len(mem.blobs) != maxIncidents || mem.most != maxIncidents+1 {
		t.Errorf("the fd store has %d, had %d", len(mem.blobs), mem.most)
	}
	for k := range 20 { // each its own: then the oldest goes
		s.Add(Incident{Summary: Summary{Service: fmt.Sprint("s", k)}})
	}
	if got := numbers(s.List()); got[0] != 52 || got[9] != 43 {
		t.Errorf("%v", got)
	}
}

// A supervisor that was killed between Put and Del leaves one too many.
func TestIncidentsOneTooMany(t *testing.T) {
	mem, warned := newMemoryStore(t), &warnings{}
	s := mem.resume(warned)
	for range maxIncidents {
		s.Add(Incident{Summary: Summary{Service: "app"}})
	}
	i := Incident{Summary: Summary{Number: 11, Service: "app"}}
	f, err := writeIncident("incident/11", &i)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := mem.Put("incident/11", nil, int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	if got := numbers(mem.resume(warned).List()); len(got) != maxIncidents || got[0] != 11 || got[9] != 2 || len(mem.blobs) != maxIncidents {
		t.Errorf("%v, %d in the fd store", got, len(mem.blobs))
	}
}

func TestIncidentsCorrupt(t *testing.T) {
	mem, warned := newMemoryStore(t), &warnings{}
	s := mem.resume(warned)
	s.Add(Incident{Summary: Summary{Service: "app"}})
	memfd := func(data []byte) int {
		fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
		if err == nil {
			_, err = unix.Write(fd, data)
		}
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	var good bytes.Buffer
	f, err := writeIncident("x", &Incident{Summary: Summary{Number: 5}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := good.ReadFrom(f); err != nil {
		t.Fatal(err)
	}
	bomb := gz(t, bytes.Repeat([]byte(" "), 8<<20))
	for k, c := range []struct {
		name string
		fds  []int
	}{
		{"incident/20", nil}, {"incident/21", []int{memfd(nil)}}, {"incident/22", []int{memfd([]byte("{}"))}},
		{"incident/23", []int{memfd(good.Bytes()[:20])}}, {"incident/24", []int{memfd(good.Bytes())}}, // number 5
		{"incident/25", []int{memfd(good.Bytes()), memfd(nil)}}, {"incident/x", []int{memfd(nil)}}, {"incident/-1", nil},
		{"incident/26", []int{memfd(bomb)}}, {"incident/99999999999999999999", nil},
	} {
		if err := mem.Put(c.name, nil, c.fds...); err != nil {
			t.Fatal(k, err)
		}
		for _, fd := range c.fds {
			unix.Close(fd)
		}
	}
	files := openFiles()
	s = mem.resume(warned)
	if got := numbers(s.List()); !slices.Equal(got, []uint64{1}) {
		t.Errorf("%v", got)
	}
	if len(warned.all) != 10 || len(mem.blobs) != 1 {
		t.Errorf("%d warnings, %d in the fd store: %q", len(warned.all), len(mem.blobs), warned.all)
	}
	if n := s.Add(Incident{}); n != 27 {
		t.Errorf("the next has number %d: one was used before", n)
	}
	if got := openFiles(); got != files-8+1+2 { // those of the fd store are closed; ours of 1 and 27, the fd store's of 27
		t.Errorf("%d descriptors, there were %d", got, files)
	}
}

func gz(t *testing.T, data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Where nothing can be kept for the next supervisor, this one still knows.
func TestIncidentsWithoutFDStore(t *testing.T) {
	mem, warned := newMemoryStore(t), &warnings{}
	s := mem.resume(warned)
	mem.refuse = errors.New("the init is gone")
	n := s.Add(Incident{Summary: Summary{Service: "app"}})
	if got, ok := s.Get(n); !ok || got.Service != "app" || len(warned.all) != 1 || !strings.Contains(warned.all[0], "the init is gone") {
		t.Errorf("%+v %v %q", got, ok, warned.all)
	}
}

// Without a descriptor to be had an incident is lost, and said.
func TestIncidentsWithoutDescriptors(t *testing.T) {
	mem, warned := newMemoryStore(t), &warnings{}
	s := mem.resume(warned)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	n := s.Add(Incident{Summary: Summary{Service: "app", Cause: CauseSignal, Reason: "killed"}})
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if n != 1 || len(s.List()) != 0 || len(warned.all) != 1 || !strings.Contains(warned.all[0],
		"app (signal: killed): the last descriptors are kept for operators: too many open files") {
		t.Errorf("%d %v %q", n, s.List(), warned.all)
	}
}

// TestIncidentsAreBounded gives what cannot be packed.
func TestIncidentsAreBounded(t *testing.T) {
	noise := make([]byte, 4<<20)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(noise)
	mem, warned := newMemoryStore(t), &warnings{}
	s := mem.resume(warned)
	in := Incident{Summary: Summary{Reason: string(noise)},
		Output:     noise,
		ThreadDump: noise,
		Limits:     json.RawMessage(`{`)}
	for range 100 {
		in.Files = append(in.Files, File{Excerpt: noise, Path: string(noise[:8<<10])})
		in.Options = append(in.Options, string(noise[:8<<10]))
		in.Notes = append(in.Notes, string(noise[:8<<10]))
	}
	n := s.Add(in)
	if len(in.Files[0].Excerpt) != len(noise) {
		t.Error("the caller's own was cut")
	}
	got, ok := s.Get(n)
	if !ok || len(got.Output) != MaxOutput || !bytes.Equal(got.Output, noise[len(noise)-MaxOutput:]) ||
		len(got.ThreadDump) != MaxThreadDump || len(got.Files) != maxFiles || len(got.Files[0].Excerpt) != MaxExcerpt ||
		len(got.Files[1].Excerpt) != 0 || got.Limits != nil || len(got.Options) > 10 || got.Options[len(got.Options)-1] != "..." {
		t.Errorf("kept: %v %d %d %d %d", ok, len(got.Output), len(got.ThreadDump), len(got.Files), len(got.Options))
	}
	s.mu.Lock()
	info, err := s.kept[n].file.Stat()
	s.mu.Unlock()
	if err != nil || info.Size() > 2<<20 {
		t.Errorf("%d bytes are kept, %v", info.Size(), err)
	}
	if len(warned.all) > 0 {
		t.Errorf("%q", warned.all)
	}
}

// TestIncidentsTogether: under -race, and no reader waits for a writer.
func TestIncidentsTogether(t *testing.T) {
	mem, warned := newMemoryStore(t), &warnings{}
	s := mem.resume(warned)
	files := openFiles()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() { // ends by itself
			for k := range 50 {
				n := s.Add(Incident{Summary: Summary{Service: fmt.Sprint("s", w)},
					Output: bytes.Repeat([]byte("x"), 1000)})
				s.Amend(n, func(i *Incident) { i.Cause, i.Start = CauseExit, uint64(k) })
			}
		})
		wg.Go(func() { // ends by itself
			for range 100 {
				for _, l := range s.List() {
					if i, ok := s.Get(l.Number); ok && (i.Number != l.Number || len(i.Output) != 1000) {
						t.Errorf("%d is %+v", l.Number, i.Summary)
					}
				}
			}
		})
	}
	wg.Wait()
	if got := numbers(s.List()); len(got) != maxIncidents || got[0] != 200 {
		t.Errorf("%v", got)
	}
	if got := openFiles() - files; got != 2*maxIncidents {
		t.Errorf("%d descriptors more, want %d", got, 2*maxIncidents)
	}
	stuck := &stuckStore{enter: make(chan struct{}), leave: make(chan struct{})}
	s = Restore(stuck, fdstore.NewItems(), warned.add)
	added := make(chan uint64, 1)
	go func() { added <- s.Add(Incident{}) }() // ends when the fd store lets go
	<-stuck.enter
	s.List()
	s.Get(1)
	close(stuck.leave)
	<-added
}

// stuckStore is an init that does not read.
type stuckStore struct{ enter, leave chan struct{} }

func (b *stuckStore) PutFile(string, []byte, syscall.Conn) error {
	b.enter <- struct{}{}
	<-b.leave
	return nil
}
func (b *stuckStore) Delete(string) {}

func TestTextInJSON(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", `""`}, {"a<b>&\n\x1b é", `"a<b>&\n\u001b é"`}, {"\xff\x00", `{"base64":"/wA="}`},
	} {
		got, err := json.Marshal(struct{ T Text }{Text(c.in)})
		var back struct{ T Text }
		if err2 := json.Unmarshal(got, &back); err != nil || err2 != nil || string(back.T) != c.in {
			t.Errorf("%q: %s %v %v, back %q", c.in, got, err, err2, back.T)
		}
		if raw, err := Text(c.in).MarshalJSON(); err != nil || strings.TrimSpace(string(raw)) != c.want {
			t.Errorf("%q: %s, want %s", c.in, raw, c.want)
		}
	}
	if json.Unmarshal([]byte(`{"T":5}`), &struct{ T Text }{}) == nil {
		t.Error("a number is a text")
	}
}

func BenchmarkIncidentsAdd(b *testing.B) {
	line := []byte("01-Mar-2026 12:00:00.000 INFO [main] org.apache.catalina.startup.Catalina.start Server startup in [1234] milliseconds\n")
	s := Restore(&nullStore{}, fdstore.NewItems(), func(w string) { b.Error(w) })
	i := Incident{Summary: Summary{Service: "app"},
		Output: bytes.Repeat(line, MaxOutput/len(line))}
	for b.Loop() {
		s.Add(i)
	}
}

type nullStore struct{}

func (*nullStore) PutFile(string, []byte, syscall.Conn) error { return nil }
func (*nullStore) Delete(string)                              {}

// openFiles is how many descriptors this process has.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}
