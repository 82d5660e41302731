package fdstore

import (
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// fakeInit keeps items as the init does.
type fakeInit struct {
	t     *testing.T
	items map[string]*initproto.Msg
}

func (f *fakeInit) send(m *initproto.Msg) error {
	packet, err := initproto.Encode(m)
	if err != nil {
		return err
	}
	kept, err := initproto.Decode(packet)
	if err != nil {
		f.t.Fatal(err)
	}
	old := f.items[m.Name]
	for _, fd := range m.Fds {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			f.t.Fatal(err)
		}
		kept.Fds = append(kept.Fds, own)
	}
	switch {
	case m.Type == initproto.Del:
		delete(f.items, m.Name)
		return nil
	case old != nil && len(kept.Fds) == 0:
		kept.Fds = old.Fds
	}
	f.items[m.Name] = kept
	return nil
}

// restart returns the items of the next supervisor.
func (f *fakeInit) restart() (*Store, Items) {
	s, items := New(f.send), NewItems()
	for name, m := range f.items {
		s.Replayed(m)
		items.Add(name, m.Body, m.Fds)
	}
	return s, items
}

func newFakeInit(t *testing.T) (*fakeInit, *Store) {
	f := &fakeInit{t: t, items: map[string]*initproto.Msg{}}
	return f, New(f.send)
}

// A value of any size is returned, whatever was kept under its name before.
func TestPutJSON(t *testing.T) {
	f, s := newFakeInit(t)
	small, large := []string{"a"}, []string{strings.Repeat("b", initproto.MaxBlob)}
	for _, want := range [][]string{small, large, small, large, large} {
		if err := s.PutJSON("x", want); err != nil {
			t.Fatal(err)
		}
		var items Items
		s, items = f.restart()
		var got []string
		if found, err := items.TakeJSON("x", &got); !found || err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%d bytes: got %d (found %v, %v)", len(want[0]), len(got), found, err)
		}
		if found, _ := items.TakeJSON("x", &got); found {
			t.Error("an item was handed out twice")
		}
		f.items["x"].Fds = nil // TakeJSON has closed them
		s.Delete("x")
	}
	if err := s.PutJSON("x", large, 0); err == nil || len(f.items) != 0 {
		t.Errorf("a blob that is too large: %v, %d items", err, len(f.items))
	}
	if err := s.PutJSON("x", func() {}); err == nil {
		t.Error("a function was kept")
	}
}

func TestPutFile(t *testing.T) {
	f, s := newFakeInit(t)
	file, err := NewFile("x", []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutFile("x", []byte("beside"), file); err != nil {
		t.Fatal(err)
	}
	_, _ = file.Seek(0, io.SeekEnd)
	file.Close()
	s.Put("y", []byte("no file"))
	_, items := f.restart()
	got, blob, err := items.TakeFile("x")
	if err != nil || string(blob) != "beside" {
		t.Fatalf("%q, %v", blob, err)
	}
	defer got.Close()
	if data, err := ReadFile(got, 4); err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := ReadFile(got, 3); err == nil {
		t.Error("more than the limit was read")
	}
	if _, _, err := items.TakeFile("y"); err == nil {
		t.Error("a file came from an item without one")
	}
	if err := s.PutFile("z", nil, file); err == nil {
		t.Error("a closed file was kept")
	}
}

// The store counts descriptors across supervisors, and rejects what the init would reject.
func TestLimit(t *testing.T) {
	f, s := newFakeInit(t)
	s.SetLimit(3)
	put := func(name string, n int) error { return s.Put(name, nil, make([]int, n)...) }
	for _, step := range []struct {
		name string
		n    int
		full bool
	}{{"a", 2, false}, {"b", 2, true}, {"b", 1, false}, {"a", 0, false}, {"a", 1, false}, {"c", 1, false}, {"d", 1, true}} {
		if err := put(step.name, step.n); errors.Is(err, syscall.EMFILE) != step.full || step.full != (err != nil) {
			t.Errorf("%d descriptors for %s: %v", step.n, step.name, err)
		}
	}
	s, items := f.restart()
	s.SetLimit(3)
	if err := put("d", 1); err == nil {
		t.Error("the next supervisor does not know of what is kept")
	}
	s.Delete("c")
	if err := put("d", 1); err != nil {
		t.Error(err)
	}
	if got := items.Names(""); !reflect.DeepEqual(got, []string{"a", "b", "c"}) {
		t.Errorf("kept %v", got)
	}
}

func TestPutProcess(t *testing.T) {
	f, s := newFakeInit(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	err = s.PutProcess("p", map[string]int{"pid": 7}, Process{Pid: 7, Intent: true, Pipes: []int{0}}, int(r.Fd()))
	if m := f.items["p"]; err != nil || m.Pid != 7 || !m.Intent || len(m.Pipes) != 1 || string(m.Body) != `{"pid":7}` {
		t.Errorf("%+v, %v", m, err)
	}
}
