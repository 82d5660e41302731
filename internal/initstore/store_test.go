package initstore

import (
	"testing"

	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// The counts are correct after puts and deletes in any order.
func TestStoreLimits(t *testing.T) {
	b := New()
	b.maxFds = 3
	pipe := func(n int) []int {
		var out []int
		for range n {
			var fds [2]int
			if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			unix.Close(fds[1])
			out = append(out, fds[0])
		}
		return out
	}
	put := func(ok bool, m *initproto.Msg, size int) {
		t.Helper()
		if err := b.Put(m, make([]byte, size)); (err == nil) != ok {
			t.Errorf("put %s: %v", m.Name, err)
		}
	}
	put(true, &initproto.Msg{Name: "a", Fds: pipe(2), Pipes: []int{0, 1}}, 100)
	put(false, &initproto.Msg{Name: "b", Fds: pipe(2)}, 100)
	put(true, &initproto.Msg{Name: "b", Fds: pipe(1)}, 100)
	put(true, &initproto.Msg{Name: "a"}, 50) // keeps its descriptors
	if b.fds != 3 || b.pipes != 2 || b.bytes != 150 {
		t.Errorf("%d descriptors, %d pipes, %d bytes", b.fds, b.pipes, b.bytes)
	}
	put(true, &initproto.Msg{Name: "a", Fds: pipe(1)}, 50) // has new ones
	put(true, &initproto.Msg{Name: "c", Fds: pipe(1)}, maxBytes-150)
	put(false, &initproto.Msg{Name: "d"}, 100)
	put(true, &initproto.Msg{Name: initproto.StopPlan}, 100)
	put(false, &initproto.Msg{Name: "e", FdsCut: true}, 1)
	put(false, &initproto.Msg{Name: "a"}, 500)
	for _, name := range []string{"c", "a", "b", initproto.StopPlan, "none"} {
		b.Delete(name)
	}
	if b.fds != 0 || b.pipes != 0 || b.bytes != 0 || len(b.order) != 0 || len(b.items) != 0 {
		t.Errorf("an empty store has %+v", b)
	}
}

// Without room for its descriptors the record of a process is kept without them; without
// room for the record, the exit of every child is reported.
func TestExitsAreReportedWithoutRoom(t *testing.T) {
	b := New()
	b.maxFds = 1
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if b.Put(&initproto.Msg{Name: "intent", Intent: true, Fds: fds[:], Pipes: []int{0, 1}}, nil) == nil {
		t.Error("two descriptors are said to be kept where one is the most")
	}
	if !b.MayFollow() || b.fds != 0 || b.pipes != 0 {
		t.Errorf("an intent without room: %+v", b)
	}
	if _, err := unix.FcntlInt(uintptr(fds[0]), unix.F_GETFD, 0); err == nil {
		t.Error("its descriptor is still open")
	}
	if b.Put(&initproto.Msg{Name: "intent", Pid: 7, FdsCut: true}, nil) == nil || !b.Follows(7) || b.MayFollow() {
		t.Errorf("a record whose descriptors were cut: %+v", b)
	}
	b.bytes = maxBytes
	if b.Put(&initproto.Msg{Name: "other", Pid: 8}, []byte("x")) == nil || !b.MayFollow() {
		t.Errorf("a record without room: %+v", b)
	}
}

func TestStoreCounts(t *testing.T) {
	b := New()
	b.Put(&initproto.Msg{Name: "a", Intent: true}, []byte("1"))
	b.Put(&initproto.Msg{Name: "a", Pid: 7}, []byte("2"))
	b.Put(&initproto.Msg{Name: "b", Pid: 7}, []byte("3"))
	if b.intents != 0 || !b.Follows(7) {
		t.Errorf("after the pid is known: open %d follows %v", b.intents, b.Follows(7))
	}
	b.Delete("a")
	if !b.Follows(7) {
		t.Error("the other item still follows the child")
	}
	b.Delete("b")
	b.Delete("none")
	if b.Follows(7) || len(b.items) != 0 || len(b.order) != 0 {
		t.Errorf("after all is deleted: %+v", b)
	}
}
