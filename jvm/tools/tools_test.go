package tools

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/jvm/hotspot"
	"github.com/stoker-init/stoker/jvm/launch"
	"github.com/stoker-init/stoker/supervisor"
)

// noProcess holds the methods of a process that the tools do not call.
type noProcess struct{ supervisor.Process }

// playedJVM is this process as a JVM: it has a libjvm.so mapped and listens for commands.
type playedJVM struct {
	noProcess
	pid    int // 0: ours
	exited chan struct{}
	state  supervisor.State
	gone   bool // it has no process
	answer func(command []string) string

	mu    sync.Mutex // guards asked
	asked []string
}

func (p *playedJVM) Pid() int                { return cmp.Or(p.pid, os.Getpid()) }
func (p *playedJVM) Exited() <-chan struct{} { return p.exited }
func (p *playedJVM) Signal(syscall.Signal) error {
	return errors.New("it listens, and needs no signal")
}

// playedServices has a playedJVM as its only service.
type playedServices struct{ *playedJVM }

func (p playedServices) Service(name string) (supervisor.Snapshot, bool) {
	return supervisor.Snapshot{Name: name, State: p.state}, true
}
func (p playedServices) Process(string) (supervisor.Process, bool) { return p.playedJVM, !p.gone }

// commands returns the requested commands.
func (p *playedJVM) commands() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

// flood is an answer without end.
const flood = "(flood)"

// breaksOff is the answer of a JVM that exits during it.
const breaksOff = "(breaks off)"

// playJVM starts a playedJVM; answer returns status and text for a command.
func playJVM(t *testing.T, answer func(command []string) string) (*playedJVM, *Tools) {
	t.Helper()
	lib := filepath.Join(t.TempDir(), "libjvm.so")
	if err := os.WriteFile(lib, make([]byte, os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(lib)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mem, err := syscall.Mmap(int(f.Fd()), 0, os.Getpagesize(), syscall.PROT_READ, syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	socket := fmt.Sprintf("/tmp/.java_pid%d", os.Getpid())
	_ = os.Remove(socket) // that of a killed JVM that had this pid
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &playedJVM{exited: make(chan struct{}), state: supervisor.Running, answer: answer}
	go func() { // ends when l is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(conn)
		}
	}()
	j := New(playedServices{p}, launch.NewAttacher(), hclog.NewNullLogger(), "")
	j.folder = filepath.Join(t.TempDir(), "state", "heapdumps")
	return p, j
}

// serve answers one request: the version, the command and three arguments.
func (p *playedJVM) serve(conn net.Conn) {
	defer conn.Close()
	var words []string
	for r := bufio.NewReader(conn); len(words) < 5; {
		word, err := r.ReadString(0)
		if err != nil {
			return // somebody looked whether we listen
		}
		words = append(words, strings.TrimRight(word, "\x00"))
	}
	p.mu.Lock()
	p.asked = append(p.asked, strings.TrimSpace(strings.Join(words[1:], " ")))
	p.mu.Unlock()
	switch text := p.answer(words[1:]); text {
	case breaksOff:
	case flood:
		_, err := io.WriteString(conn, "0\n")
		for line := strings.Repeat("x", 1<<16); err == nil; {
			_, err = io.WriteString(conn, line)
		}
	default:
		_, _ = io.WriteString(conn, text)
	}
}

// use runs a tool and returns its text or the error of the API.
func use(t *testing.T, j *Tools, tool api.JVMTool) (text string, refused api.StatusError) {
	t.Helper()
	if tool.Timeout == 0 {
		tool.Timeout = 20 * time.Second
	}
	r, err := j.JVMTool(t.Context(), "app", tool, "test")
	if err != nil {
		got := new(api.StatusError)
		if !errors.As(err, &got) {
			t.Fatal(err)
		}
		return "", *got
	}
	defer r.Close()
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(all), refused
}

// The commands of the tools, also for Java 8, which has fewer.
func TestToolCommands(t *testing.T) {
	p, j := playJVM(t, func(command []string) string {
		if command[1] == "Thread.print -l -e" {
			return "1\njava.lang.IllegalArgumentException: Unknown argument '-e' in diagnostic command.\n"
		}
		return "0\nsize_t A = 1 {product} {command line}\nbool B = false {product} {default}\n"
	})
	const changed = "size_t A = 1 {product} {command line}\n"
	const both = changed + "bool B = false {product} {default}\n"
	for _, c := range []struct {
		tool        api.JVMTool
		asked, text string
	}{
		{api.JVMTool{Tool: api.ToolThreads}, "jcmd Thread.print -l -e|jcmd Thread.print -l", both},
		{api.JVMTool{Tool: api.ToolHisto}, "jcmd GC.class_histogram", both},
		{api.JVMTool{Tool: api.ToolHisto, All: true}, "jcmd GC.class_histogram -all", both},
		{api.JVMTool{Tool: api.ToolFlags}, "jcmd VM.flags -all", changed},
		{api.JVMTool{Tool: api.ToolFlags, All: true}, "jcmd VM.flags -all", both},
		{api.JVMTool{Tool: api.ToolNMT}, "jcmd VM.native_memory summary", both},
	} {
		before := len(p.commands())
		text, refused := use(t, j, c.tool)
		if asked := strings.Join(p.commands()[before:], "|"); text != c.text || asked != c.asked || refused.Code != "" {
			t.Errorf("%+v: %q, asked %q, %+v", c.tool, text, asked, refused)
		}
	}
	if dump, err := j.attacher.ThreadDump(contextFor(t), p); err != nil || string(dump) != both {
		t.Errorf("for an incident: %q, %v", dump, err)
	}
}

func contextFor(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestToolRefusals(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	for _, c := range []struct {
		name   string
		set    func(*playedJVM)
		tool   api.JVMTool
		answer string
		code   string
		says   string
	}{
		{"no process", func(p *playedJVM) { p.gone, p.state = true, supervisor.Backoff }, api.JVMTool{Tool: api.ToolThreads}, "", api.CodeNotNow,
			"app is BACKOFF and has no process"},
		{"stopping", func(p *playedJVM) { p.state = supervisor.Stopping }, api.JVMTool{Tool: api.ToolHisto}, "", api.CodeNotNow, "STOPPING"},
		{"ends meanwhile", func(p *playedJVM) { close(p.exited) }, api.JVMTool{Tool: api.ToolHisto}, breaksOff, api.CodeNotNow, "has ended"},
		{"does not let us", nil, api.JVMTool{Tool: api.ToolHisto}, breaksOff, "forbidden", "stoker may not act as"},
		{"does not answer", nil, api.JVMTool{Tool: api.ToolHisto, Timeout: 50 * time.Millisecond}, "hang", api.CodeTimeout,
			"did not answer within 50ms"},
		{"does not want to", nil, api.JVMTool{Tool: api.ToolHisto}, "1\njava.lang.X: no\n", "failed", "refuses: java.lang.X: no"},
		{"speaks another language", nil, api.JVMTool{Tool: api.ToolHisto}, "hello", "failed", `it answered "hello"`},
		{"does not track", nil, api.JVMTool{Tool: api.ToolNMT}, "0\nNative memory tracking is not enabled\n", "refused", "does not track"},
		{"unknown tool", nil, api.JVMTool{Tool: "frobnicate"}, "0\n", "not-found", "frobnicate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, j := playJVM(t, func([]string) string {
				if c.answer == "hang" {
					<-hang
				}
				return c.answer
			})
			if c.set != nil {
				c.set(p)
			}
			_, got := use(t, j, c.tool)
			if got.Code != c.code || !strings.Contains(got.Message, c.says) {
				t.Errorf("%+v; want %s and %q", got, c.code, c.says)
			}
		})
	}
	t.Run("threads of one that stops", func(t *testing.T) {
		p, j := playJVM(t, func([]string) string { return "0\nthreads\n" })
		p.state = supervisor.Stopping
		if text, got := use(t, j, api.JVMTool{Tool: api.ToolThreads}); text != "threads\n" {
			t.Errorf("%q, %+v", text, got)
		}
	})
}

// heapOf is a JVM with used bytes in its heap, which it dumps by write.
func heapOf(used, version string, write func(file string) string) func([]string) string {
	return func(command []string) string {
		switch {
		case command[0] == "dumpheap":
			return write(command[1])
		case command[1] == "VM.version":
			return "0\nOpenJDK 64-Bit Server VM version 17\nJDK " + version + "\n"
		case command[1] == "GC.heap_info" && used == "":
			return "1\njava.lang.IllegalArgumentException: Unknown diagnostic command\n"
		case command[1] == "GC.heap_info":
			return "0\n garbage-first heap   total 65536K, used " + used + " [0x1, 0x2)\n"
		}
		return "0\n   size_t MaxHeapSize = 1152921504606846976 {product} {command line}\n"
	}
}

// dumps writes a dump.
func dumps(file string) string {
	if err := os.WriteFile(file, []byte("a dump"), 0o600); err != nil {
		return "0\nDumping heap to " + file + " ...\nUnable to create " + file + ": " + err.Error() + "\n"
	}
	return "0\nDumping heap to " + file + " ...\nHeap dump file created [6 bytes in 0.001 secs]\n"
}

// breaks writes a part of a dump and then answers text.
func breaks(answer string) func(string) string {
	return func(file string) string {
		_ = dumps(file)
		return answer
	}
}

func TestHeapDump(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		tool  api.JVMTool
		jvm   func([]string) string
		asked string // the last command
		code  string // of the refusal; empty: none
		says  string
	}{
		{"to a path", api.JVMTool{File: dir + "/a b"}, heapOf("6K", "17.0.15", dumps), "dumpheap " + dir + "/a b -live", "",
			dir + "/a b: 6 bytes"},
		{"all, compressed", api.JVMTool{File: dir + "/c", All: true, GZ: true}, heapOf("6K", "17.0.15", dumps), "dumpheap " + dir + "/c -all 1",
			"", dir + "/c: 6 bytes"},
		{"too old to compress", api.JVMTool{File: dir + "/d", GZ: true}, heapOf("6K", "11.0.20", dumps), "jcmd VM.version", "not-supported",
			"Java 11"},
		{"no overwriting", api.JVMTool{File: taken}, heapOf("6K", "17", dumps), "", api.CodeFileExists, "not overwritten"},
		{"nor what a link is for", api.JVMTool{File: dir + "/link"}, heapOf("6K", "17", dumps), "", api.CodeFileExists, "not overwritten"},
		{"a folder", api.JVMTool{File: dir}, heapOf("6K", "17", dumps), "", api.CodeFileExists, "is a folder"},
		{"no such folder", api.JVMTool{File: dir + "/no/x"}, heapOf("6K", "17", dumps), "", api.CodeNoRoom, "cannot write"},
		{"below a file", api.JVMTool{File: taken + "/x"}, heapOf("6K", "17", dumps), "", api.CodeNoRoom, "cannot write"},
		{"no room", api.JVMTool{File: dir + "/e"}, heapOf("1000000G", "17", dumps), "jcmd GC.heap_info", api.CodeNoRoom, "MiB free"},
		{"no room for all that may be", api.JVMTool{File: dir + "/e"}, heapOf("", "8.0_412", dumps), "jcmd VM.flags -all", api.CodeNoRoom,
			"MiB free"},
		{"all the same", api.JVMTool{File: dir + "/e", Force: true}, heapOf("1000000G", "17", dumps), "dumpheap " + dir + "/e -live", "",
			"6 bytes"},
		{"in memory", api.JVMTool{File: "/dev/shm/stoker-test.hprof"}, heapOf("6K", "17", dumps), "jcmd GC.heap_info", api.CodeNoRoom, "tmpfs"},
		{"disk full", api.JVMTool{File: dir + "/f"}, heapOf("6K", "17", breaks("0\nDump file is incomplete: No space left on device\n")),
			"dumpheap " + dir + "/f -live", api.CodeNoRoom, "No space left on device; the part that was written is removed"},
		{"killed", api.JVMTool{File: dir + "/g"}, heapOf("6K", "17", breaks(breaksOff)), "dumpheap " + dir + "/g -live", "failed",
			"did not end the heap dump"},
		{"another was quicker", api.JVMTool{File: dir + "/h"}, heapOf("6K", "17", breaks("0\nUnable to create "+dir+"/h: File exists\n")),
			"dumpheap " + dir + "/h -live", api.CodeNoRoom, "File exists"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, j := playJVM(t, c.jvm)
			c.tool.Tool = api.ToolHeapDump
			text, got := use(t, j, c.tool)
			if got.Code != c.code || !strings.Contains(text+got.Message, c.says) {
				t.Errorf("%q, %+v; want %q and %q", text, got, c.says, c.code)
			}
			asked := p.commands()
			if last := strings.Join(asked[max(len(asked)-1, 0):], ""); last != c.asked {
				t.Errorf("asked %q last, want %q", last, c.asked)
			}
			if _, busy := j.dumps.Load(os.Getpid()); busy {
				t.Error("the dump is still recorded as running")
			}
		})
	}
	for name, there := range map[string]bool{"f": false, "g": false, "h": true, "taken": true, "e": true} {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != there {
			t.Errorf("%s is there: %v, want %v", name, err == nil, there)
		}
	}
}

// Every user can write into the default folder.
func TestHeapDumpFolder(t *testing.T) {
	_, j := playJVM(t, heapOf("6K", "17", dumps))
	for _, gz := range []bool{false, true} {
		text, refused := use(t, j, api.JVMTool{Tool: api.ToolHeapDump, GZ: gz})
		if !strings.HasPrefix(text, j.folder+"/app-2") || strings.HasSuffix(text, ".hprof.gz: 6 bytes\n") != gz {
			t.Errorf("%q, %+v", text, refused)
		}
	}
	if os.Geteuid() == 0 {
		if info, err := os.Stat(j.folder); err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if info, err := os.Stat(filepath.Dir(j.folder)); err != nil || info.Mode() != os.ModeDir|0o711 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	if err := os.RemoveAll(j.folder); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), j.folder); err != nil {
		t.Fatal(err)
	}
	if text, refused := use(t, j, api.JVMTool{Tool: api.ToolHeapDump}); os.Geteuid() == 0 && refused.Code != api.CodeNoRoom {
		t.Errorf("through a link: %q, %+v", text, refused)
	}
	j.folder = ""
	if _, refused := use(t, j, api.JVMTool{Tool: api.ToolHeapDump}); refused.Code != "not-supported" {
		t.Errorf("without a state folder: %+v", refused)
	}
}

// During a dump other tools of that JVM are rejected, also after the timeout of its caller.
func TestOneHeapDumpAtATime(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	var count atomic.Int32
	p, j := playJVM(t, heapOf("6K", "17", func(file string) string {
		if count.Add(1) == 1 {
			close(begun)
			<-goOn
		}
		return dumps(file)
	}))
	dir := t.TempDir()
	first := make(chan api.StatusError)
	go func() { // ends with its time limit
		_, err := j.JVMTool(context.Background(), "app", api.JVMTool{Tool: api.ToolHeapDump, File: dir + "/1", Timeout: 2 * time.Second}, "test")
		got := new(api.StatusError)
		errors.As(err, &got)
		first <- *got
	}()
	<-begun
	for _, tool := range []string{api.ToolHeapDump, api.ToolThreads} {
		if _, got := use(t, j, api.JVMTool{Tool: tool, File: dir + "/2"}); got.Code != api.CodeNotNow ||
			!strings.Contains(got.Message, dir+"/1") {
			t.Errorf("%s: %+v", tool, got)
		}
	}
	if got := <-first; got.Code != api.CodeTimeout || !strings.Contains(got.Message, "goes on") {
		t.Errorf("%+v", got)
	}
	if _, got := use(t, j, api.JVMTool{Tool: api.ToolHeapDump, File: dir + "/2"}); got.Code != api.CodeNotNow {
		t.Errorf("after the timeout of the first: %+v", got)
	}
	close(goOn)
	limit := time.Now().Add(20 * time.Second)
	for busy := true; busy; _, busy = j.dumps.Load(p.Pid()) {
		if time.Now().After(limit) {
			t.Fatal("the first heap dump has not ended")
		}
		<-time.After(time.Millisecond)
	}
	if text, got := use(t, j, api.JVMTool{Tool: api.ToolHeapDump, File: dir + "/2"}); text != dir+"/2: 6 bytes\n" {
		t.Errorf("%q, %+v", text, got)
	}
	if _, err := os.Stat(dir + "/1"); err != nil {
		t.Error(err)
	}
}

// Twenty requests at once are answered one after another, and no lock is left.
func TestTwentyTools(t *testing.T) {
	_, j := playJVM(t, func([]string) string { return "0\nanswer\n" })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if text, got := use(t, j, api.JVMTool{Tool: api.ToolHisto}); text != "answer\n" {
				t.Errorf("%q, %+v", text, got)
			}
		})
	}
	all.Wait()
	if len(j.attacher.Busy) != 0 {
		t.Errorf("left: %v", j.attacher.Busy)
	}
}

// hostileJVM starts a process of another user that has a libjvm.so mapped. Its variables select its answers.
func hostileJVM(t *testing.T, env ...string) *Tools {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root acts as another user")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(env, "STOKER_TEST_JVM=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: hostileUser, Gid: hostileUser}}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	socket := fmt.Sprintf("/tmp/.java_pid%d", cmd.Process.Pid)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(socket)
	})
	_ = os.Remove(socket) // that of a killed JVM that had this pid
	_ = in.Close()        // now it listens
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("%q, %v", line, err)
	}
	p := &playedJVM{pid: cmd.Process.Pid, exited: make(chan struct{}), state: supervisor.Running}
	return New(playedServices{p}, launch.NewAttacher(), hclog.NewNullLogger(), "")
}

const hostileUser = 65534

// TestMain is also the main function of a hostileJVM.
func TestMain(m *testing.M) {
	if os.Getenv("STOKER_TEST_JVM") != "" {
		actHostileJVM()
	}
	os.Exit(m.Run())
}

// actHostileJVM is the program of a hostileJVM; it does not return.
func actHostileJVM() {
	dir, err := os.MkdirTemp("", "jvm")
	if err != nil {
		panic(err)
	}
	lib := filepath.Join(dir, "libjvm.so")
	f, err := os.Create(lib)
	if err == nil {
		err = f.Truncate(int64(os.Getpagesize()))
	}
	if err == nil {
		_, err = syscall.Mmap(int(f.Fd()), 0, os.Getpagesize(), syscall.PROT_READ, syscall.MAP_PRIVATE)
	}
	_ = os.RemoveAll(dir)
	_, _ = io.Copy(io.Discard, os.Stdin) // until its socket may be made
	l, listenErr := net.Listen("unix", fmt.Sprintf("/tmp/.java_pid%d", os.Getpid()))
	if err = errors.Join(err, listenErr); err != nil {
		panic(err)
	}
	fmt.Println("up")
	p := &playedJVM{answer: func(command []string) string {
		if os.Getenv("FLOOD") != "" {
			return flood
		}
		if move := os.Getenv("MOVE"); command[0] == "dumpheap" && move != "" {
			from := filepath.Dir(command[1])
			if err := errors.Join(os.Rename(from, from+"-"), os.Symlink(move, from)); err != nil {
				return "0\n" + err.Error() + "\n"
			}
			return "0\nDump file is incomplete: No space left on device\n"
		}
		return "0\n"
	}}
	for {
		conn, err := l.Accept()
		if err != nil {
			panic(err)
		}
		p.serve(conn)
	}
}

// A JVM replaces the folder of its dump by one of another user and reports a failure: the file of that name there is not removed.
func TestFailedHeapDumpRemovesNothingElse(t *testing.T) {
	dir, err := os.MkdirTemp("", "dumps")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	theirs, others := filepath.Join(dir, "theirs"), filepath.Join(dir, "others")
	err = errors.Join(os.Mkdir(theirs, 0o755), os.Mkdir(others, 0o755), os.WriteFile(filepath.Join(others, "x.hprof"), []byte("kept"), 0o644),
		os.Chown(dir, hostileUser, hostileUser), os.Chown(theirs, hostileUser, hostileUser))
	if err != nil {
		t.Fatal(err)
	}
	j := hostileJVM(t, "MOVE="+others)
	text, got := use(t, j, api.JVMTool{Tool: api.ToolHeapDump, File: filepath.Join(theirs, "x.hprof"), Force: true})
	if got.Code != api.CodeNoRoom || strings.Contains(got.Message, "is removed") {
		t.Errorf("%q, %+v", text, got)
	}
	if _, err := os.Readlink(theirs); err != nil {
		t.Errorf("the folder was not moved: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(others, "x.hprof")); string(text) != "kept" {
		t.Errorf("%q, %v", text, err)
	}
}

// Root creates no folder where other users could redirect the path.
func TestHeapDumpFolderOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	app, victim := t.TempDir(), t.TempDir()
	if err := errors.Join(os.Chown(app, hostileUser, hostileUser), os.Symlink(victim, filepath.Join(app, "link")),
		os.Symlink(victim, filepath.Join(app, "stoker"))); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{filepath.Join(app, "link/stoker"), filepath.Join(app, "stoker"), filepath.Join(app, "new/stoker")} {
		if err := makeDumpFolder(filepath.Join(state, "heapdumps")); err == nil {
			t.Errorf("%s was created", state)
		}
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if info, err := os.Stat(victim); err != nil || info.Mode() != os.ModeDir|0o755 && info.Mode() != os.ModeDir|0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	roomy := filepath.Join(t.TempDir(), "stoker") // as an emptyDir of Kubernetes is
	if err := errors.Join(os.Mkdir(roomy, 0o777), os.Chmod(roomy, 0o777)); err != nil {
		t.Fatal(err)
	}
	if err := makeDumpFolder(filepath.Join(roomy, "heapdumps")); err != nil {
		t.Error(err)
	}
}

// An answer without end takes bounded memory, and is reported as truncated.
func TestFloodingJVM(t *testing.T) {
	j := hostileJVM(t, "FLOOD=1")
	for _, c := range []struct {
		tool api.JVMTool
		most int
	}{
		{api.JVMTool{Tool: api.ToolFlags, All: true}, 1 << 20},
		{api.JVMTool{Tool: api.ToolFlags}, 1 << 20},
		{api.JVMTool{Tool: api.ToolNMT}, 1 << 20},
		{api.JVMTool{Tool: api.ToolHisto}, maxHistogram},
		{api.JVMTool{Tool: api.ToolThreads}, hotspot.MaxReply},
	} {
		c.tool.Timeout = time.Minute
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := j.JVMTool(t.Context(), "app", c.tool, "test")
		if err != nil {
			t.Errorf("%+v: %v", c.tool, err)
			continue
		}
		n, err := io.Copy(io.Discard, r)
		_ = r.Close()
		runtime.ReadMemStats(&after)
		if n > int64(c.most) || !errors.Is(err, hotspot.ErrLongReply) {
			t.Errorf("%+v: %d bytes, %v", c.tool, n, err)
		}
		if taken := after.TotalAlloc - before.TotalAlloc; taken > 32<<20 { // the sum of all, also of what is given back
			t.Errorf("%+v: %d MiB of memory", c.tool, taken>>20)
		}
	}
}
