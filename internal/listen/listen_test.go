package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/fdstore"
	"github.com/stoker-init/stoker/internal/freeport"
	"github.com/stoker-init/stoker/internal/initproto"
	"golang.org/x/sys/unix"
)

// store keeps items as the init does.
type store struct {
	t     *testing.T
	items map[string]*initproto.Msg
	full  bool
}

func newStore(t *testing.T) *store {
	s := &store{t: t, items: map[string]*initproto.Msg{}}
	t.Cleanup(func() { // as the end of the container
		for name := range s.items {
			s.drop(name)
		}
	})
	return s
}

func (s *store) drop(name string) {
	if m := s.items[name]; m != nil {
		initproto.CloseAll(m.Fds)
	}
	delete(s.items, name)
}

func (s *store) send(m *initproto.Msg) error {
	if m.Type == initproto.Del {
		s.drop(m.Name)
		return nil
	}
	if s.full {
		return unix.EMFILE
	}
	kept := &initproto.Msg{Name: m.Name, Body: slices.Clone(m.Body)}
	for _, fd := range m.Fds {
		own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			s.t.Fatal(err)
		}
		kept.Fds = append(kept.Fds, own)
	}
	s.drop(m.Name)
	s.items[m.Name] = kept
	return nil
}

// set is that of the next supervisor.
func (s *store) set() *Set {
	items := fdstore.NewItems()
	for name, m := range s.items {
		var fds []int
		for _, fd := range m.Fds {
			own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				s.t.Fatal(err)
			}
			fds = append(fds, own)
		}
		items.Add(name, m.Body, fds)
	}
	return New(fdstore.New(s.send), items, func(c Config) string { return "is held by a test (" + c.Address() + ")" })
}

func (s *store) names() string {
	var names []string
	for name := range s.items {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func open(t *testing.T, s *Set, configs ...Config) []Socket {
	t.Helper()
	sockets, err := s.Open("web", configs, os.Getuid(), os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	return sockets
}

func inode(t *testing.T, f *os.File) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func dial(t *testing.T, network, address string) error {
	conn, err := net.Dial(network, address)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return err
}

// A socket is the same over restarts of the service and of the supervisor, with the clients in its queue, until it is closed.
func TestSocketsOutliveSupervisors(t *testing.T) {
	init := newStore(t)
	tcp, path := fmt.Sprintf("127.0.0.1:%d", freeport.For(t)), filepath.Join(t.TempDir(), "app.sock")
	configs := []Config{{Name: "http", TCP: tcp}, {Name: "app", Unix: path}}
	set := init.set()
	first := open(t, set, configs...)
	if again := open(t, set, configs...); inode(t, again[0].File) != inode(t, first[0].File) || again[1].Name != "app" {
		t.Error("another socket at the second start")
	}
	for range 2 {
		if err := errors.Join(dial(t, "tcp", tcp), dial(t, "unix", path)); err != nil {
			t.Fatal(err)
		}
	}

	next := init.set()
	if got := next.Services(); !slices.Equal(got, []string{"web"}) {
		t.Errorf("the next supervisor has sockets of %v", got)
	}
	link := fmt.Sprintf("socket:[%d]", inode(t, first[0].File))
	if next.HeldFor(link) != "web" || next.HeldFor("socket:[0]") != "" {
		t.Error("the next supervisor does not know which service a socket is for")
	}
	if restored := open(t, next, configs...); inode(t, restored[1].File) != inode(t, first[1].File) {
		t.Error("another socket after a takeover")
	}
	queues, err := next.Status("web")
	if err != nil || len(queues) != 2 || queues[1] != (Queue{"http", tcp, 2, 1024}) || queues[0] != (Queue{"app", path, 2, 1024}) {
		t.Errorf("queues %+v, %v", queues, err)
	}

	next.Close("other")
	if got := init.names(); got != "listen/web/app listen/web/http" {
		t.Errorf("kept: %s", got)
	}
	next.Close("web")
	if err := dial(t, "tcp", tcp); !errors.Is(err, unix.ECONNREFUSED) { // the first set still has it open
		t.Errorf("after the close: %v", err)
	}
	if err := dial(t, "unix", path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the close: %v", err)
	}
	if init.names() != "" || len(next.Services()) != 0 {
		t.Errorf("kept after the close: %q", init.names())
	}
}

func TestFamilies(t *testing.T) {
	port := ":" + strconv.Itoa(freeport.For(t))
	six := dialable(t)
	for _, tc := range []struct {
		config   string
		v4, v6   bool
		together string // another address that can be bound at the same time
	}{
		{port, true, true, ""},
		{"0.0.0.0" + port, true, false, "[::]" + port},
		{"127.0.0.1" + port, true, false, "[::1]" + port},
		{"[::]" + port, false, true, "0.0.0.0" + port},
	} {
		if strings.HasPrefix(tc.config, "[") && !six {
			continue
		}
		set := newStore(t).set()
		open(t, set, Config{Name: "a", TCP: tc.config})
		if err := dial(t, "tcp4", "127.0.0.1"+port); tc.v4 != (err == nil) {
			t.Errorf("%s over IPv4: %v", tc.config, err)
		}
		if err := dial(t, "tcp6", "[::1]"+port); six && tc.v6 != (err == nil) {
			t.Errorf("%s over IPv6: %v", tc.config, err)
		}
		if tc.together != "" && six {
			open(t, set, Config{Name: "a", TCP: tc.config}, Config{Name: "b", TCP: tc.together})
		}
		set.Close("web")
	}
}

// dialable says whether there is IPv6 here.
func dialable(t *testing.T) bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Logf("no IPv6: %v", err)
		return false
	}
	defer l.Close()
	return true
}

func TestQueueThatFills(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	set := newStore(t).set()
	tcp := fmt.Sprintf("127.0.0.1:%d", freeport.For(t))
	open(t, set, Config{Name: "a", Unix: path, Backlog: 1}, Config{Name: "b", TCP: tcp, Backlog: 1})
	defer set.Close("web")
	for n := range 3 {
		queues, err := set.Status("web")
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range queues {
			if q.Waiting != n || q.Backlog != 1 || q.Full() != (n == 2) {
				t.Errorf("%d connections: %+v, full: %v", n, q, q.Full())
			}
		}
		if n == 2 {
			break
		}
		if err := errors.Join(dial(t, "unix", path), dial(t, "tcp", tcp)); err != nil {
			t.Fatal(err)
		}
	}
	if err := removeStale(path); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a full socket is not stale: %v", err)
	}
}

// What changes is applied to the socket that is there, except for its address.
func TestChanges(t *testing.T) {
	init := newStore(t)
	set := init.set()
	path, port := filepath.Join(t.TempDir(), "app.sock"), freeport.For(t)
	one, other := fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.2:%d", port)
	before := open(t, set, Config{Name: "a", TCP: one, Backlog: 5}, Config{Name: "b", Unix: path, Mode: "0600"})
	if err := unix.SetNonblock(int(before[0].File.Fd()), true); err != nil { // as a service may do
		t.Fatal(err)
	}
	ino := inode(t, before[0].File)
	after := open(t, set, Config{Name: "a", TCP: one, Backlog: 7}, Config{Name: "b", Unix: path, Mode: "0644"})
	queues, _ := set.Status("web")
	if inode(t, after[0].File) != ino || queues[0].Backlog != 7 {
		t.Errorf("another backlog: %+v", queues)
	}
	if flags, err := unix.FcntlInt(after[0].File.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("passed on with flags %o, %v", flags, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("another mode: %v, %v", info.Mode(), err)
	}
	if !strings.Contains(string(init.items["listen/web/b"].Body), "0644") {
		t.Errorf("kept: %s", init.items["listen/web/b"].Body)
	}

	open(t, set, Config{Name: "a", TCP: other})
	if err := dial(t, "tcp", one); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("at the old address: %v", err)
	}
	if err := dial(t, "tcp", other); err != nil {
		t.Error(err)
	}
	if got := init.names(); got != "listen/web/a" {
		t.Errorf("kept: %s", got)
	}
	set.Close("web")
}

func TestRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	used, err := net.Listen("unix", dir+"/used")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	datagram, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/datagram", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagram.Close()
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	refused := []struct {
		config Config
		want   string
	}{
		{Config{TCP: address}, "cannot listen on " + address + ": address already in use: it is held by a test (" + address + ")"},
		{Config{TCP: "192.0.2.1:80"}, "cannot listen on 192.0.2.1:80: cannot assign requested address"},
		{Config{Unix: dir + "/used"}, "/used: address already in use: it is held by a test (" + dir + "/used)"},
		{Config{Unix: dir + "/datagram"}, "a socket is there: protocol wrong type for socket"},
		{Config{Unix: dir + "/file"}, "it is there, and no socket; remove it, or choose another path"},
		{Config{Unix: dir + "/none/x"}, "no such file or directory (the folder must exist)"},
		{Config{Unix: dir + "/x", Owner: "nobody-at-all"}, "nobody-at-all"},
		{Config{Unix: dir + "/x", Owner: "0:0"}, "cannot give it to user 0, group 0: operation not permitted (needs CAP_CHOWN)"},
	}
	if os.Getuid() == 0 {
		refused = refused[:len(refused)-1]
	}
	init := newStore(t)
	for _, tc := range refused {
		tc.config.Name = "a"
		if _, err := init.set().Open("web", []Config{tc.config}, os.Getuid(), os.Getgid()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %s", tc.config.Address(), err, tc.want)
		}
	}
	init.full = true
	if _, err := init.set().Open("web", []Config{{Name: "a", Unix: dir + "/x"}}, os.Getuid(), os.Getgid()); !errors.Is(err, unix.EMFILE) {
		t.Errorf("a full store: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 3 {
		t.Errorf("left: %v, %v", left, err)
	}
	if init.names() != "" {
		t.Errorf("kept: %s", init.names())
	}
}

// The socket of an earlier run is replaced, and so is one whose file is gone. What others put in its place stays.
func TestFilesOfUnixSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()

	set := newStore(t).set()
	config := Config{Name: "a", Unix: path}
	ino := inode(t, open(t, set, config)[0].File)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if inode(t, open(t, set, config)[0].File) == ino {
		t.Error("a socket whose file is gone was handed out")
	}
	if err := dial(t, "unix", path); err != nil {
		t.Error(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	set.Close("web")
	if _, err := os.Stat(path); err != nil {
		t.Errorf("another file was removed: %v", err)
	}
}

func TestOwnerOfUnixSockets(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	path := filepath.Join(t.TempDir(), "app.sock")
	for _, tc := range []struct {
		config   Config
		mode     uint32
		uid, gid uint32
	}{
		{Config{Mode: "0600"}, 0o600, 65533, 65534},
		{Config{Owner: "65532:65531"}, 0o666, 65532, 65531},
		{Config{Owner: "root", Mode: "0o640"}, 0o640, 0, 0},
	} {
		set := newStore(t).set()
		tc.config.Name, tc.config.Unix = "a", path
		if _, err := set.Open("web", []Config{tc.config}, 65533, 65534); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil || st.Mode&0o7777 != tc.mode || st.Uid != tc.uid || st.Gid != tc.gid {
			t.Errorf("%+v: %o %d:%d, %v", tc.config, st.Mode, st.Uid, st.Gid, err)
		}
		set.Close("web")
	}
}

func TestParseMode(t *testing.T) {
	for text, want := range map[string]int{"0666": 0o666, "600": 0o600, "0o750": 0o750, "0": 0, "": -1, "01000": -1, "rw": -1, "0x1": -1, "-1": -1} {
		if n, err := ParseMode(text); err == nil && int(n) != want || err != nil && want != -1 {
			t.Errorf("%q: %o, %v", text, n, err)
		}
	}
}
