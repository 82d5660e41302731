package output

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary plays the supervisor as well, with the read end as descriptor 3.
func TestMain(m *testing.M) {
	if os.Args[0] != "test-capture" {
		os.Exit(m.Run())
	}
	limit, _ := strconv.ParseInt(os.Args[2], 10, 64)
	s, err := Adopt(os.Args[1], limit, 3)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s.Run()
	json.NewEncoder(os.Stdout).Encode(s.Info())
}

const mebi = 1 << 20

// begin makes a stream that is captured.
func begin(t testing.TB, limit int64, change func(*Stream)) (s *Stream, w *os.File) {
	t.Helper()
	s, w, err := New(filepath.Join(t.TempDir(), "stdout"), limit)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(s)
	}
	go s.Run() // ends with Close
	t.Cleanup(func() {
		w.Close()
		s.Close()
	})
	return s, w
}

// job runs a shell command that writes to w, and closes w.
func job(t testing.TB, w *os.File, script string, args ...string) {
	t.Helper()
	fedJob(t, nil, w, script, args...)
}

// fedJob is job with a stdin; nil: /dev/null.
func fedJob(t testing.TB, stdin io.Reader, w *os.File, script string, args ...string) {
	t.Helper()
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Stdin, cmd.Stdout = stdin, w
	err := cmd.Run()
	w.Close()
	if err != nil {
		t.Error(err)
	}
}

// end waits for the end of a stream.
func end(t testing.TB, s *Stream) Info {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := s.Wait(ctx, 1<<62); err != io.EOF {
		t.Fatalf("it has not ended: %v", err)
	}
	return s.Info()
}

// readAll reads what is kept from an offset on, and calls f with each part.
func readAll(t testing.TB, path string, info Info, offset int64, size int, f func(at int64, p []byte)) {
	t.Helper()
	p := make([]byte, size)
	for {
		n, at, err := Read(path, info, offset, p)
		if err == io.EOF && n == 0 && at == info.Bytes {
			return
		}
		if err != nil || n == 0 || at < offset {
			t.Fatalf("read at %d: %d bytes at %d, %v", offset, n, at, err)
		}
		f(at, p[:n])
		offset = at + int64(n)
	}
}

// kept is what is kept, and the number of bytes that are missing.
func kept(t testing.TB, path string, info Info) (out []byte, missing int64) {
	t.Helper()
	missing = info.Bytes
	readAll(t, path, info, 0, 10_000, func(_ int64, p []byte) {
		out = append(out, p...)
		missing -= int64(len(p))
	})
	return out, missing
}

func diskUse(t testing.TB, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

func noSplice(s *Stream) { s.noSplice = true }
func noHoles(s *Stream)  { s.slack = 0 }

func TestEveryByte(t *testing.T) {
	for _, c := range []struct {
		name   string
		size   int
		change func(*Stream)
	}{{"a byte", 1, nil}, {"odd", 4097, nil}, {"large", 5_000_001, nil}, {"without splice", 3_000_001, noSplice}, {"without holes", 3_000_001, noHoles}} {
		t.Run(c.name, func(t *testing.T) {
			s, w := begin(t, 16*mebi, c.change)
			copied := s.path + ".copy"
			job(t, w, `head -c "$1" /dev/urandom | tee "$2"`, fmt.Sprint(c.size), copied)
			info := end(t, s)
			got, _ := kept(t, s.path, info)
			want, _ := os.ReadFile(copied)
			if (info != Info{Bytes: int64(c.size)}) || info.Truncated() || sha256.Sum256(got) != sha256.Sum256(want) {
				t.Errorf("%+v, %d bytes, want %d", info, len(got), len(want))
			}
			st, err := os.Stat(s.path)
			if err != nil || st.Mode() != 0o600 || st.Size() != int64(c.size) {
				t.Errorf("%v, %v", st.Mode(), err)
			}
		})
	}
}

func TestSilent(t *testing.T) {
	s, w := begin(t, mebi, nil)
	job(t, w, "exit 0")
	if info := end(t, s); (info != Info{}) || s.FD() != -1 {
		t.Errorf("%+v, %d", info, s.FD())
	}
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
	if n, at, err := Read(s.path, s.Info(), 0, make([]byte, 1)); n != 0 || at != 0 || err != io.EOF {
		t.Errorf("read %d at %d: %v", n, at, err)
	}
}

// TestMiddleIsFreed writes 200 MB: the space on disk stays below the limit and a little, the
// memory is constant, and the offsets and totals are exact.
func TestMiddleIsFreed(t *testing.T) {
	const limit, total = mebi, 200_000_000
	for _, c := range []struct {
		name   string
		change func(*Stream)
	}{{"splice", nil}, {"without splice", noSplice}} {
		t.Run(c.name, func(t *testing.T) {
			s, w := begin(t, limit, c.change)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			done := make(chan struct{})
			go func() { // ends with the job
				defer close(done)
				job(t, w, fmt.Sprintf("yes 1234567 | head -c %d", total))
			}()
			largest := int64(0)
			for at := int64(0); s.Wait(context.Background(), at) == nil; at = s.Info().Bytes {
				largest = max(largest, diskUse(t, s.path))
			}
			<-done
			runtime.ReadMemStats(&after)
			if after.Sys > before.Sys+8*mebi {
				t.Errorf("%d bytes of memory were taken", after.Sys-before.Sys)
			}
			// Tail is the block before the last half of the limit.
			info, tail := end(t, s), int64(total-limit/2)/blockSize*blockSize
			if (info != Info{Bytes: total, Head: limit / 2, Tail: tail}) || !info.Truncated() {
				t.Errorf("%+v", info)
			}
			if last := diskUse(t, s.path); largest > limit+slackSize+2*chunkSize || last > limit+2*blockSize {
				t.Errorf("%d bytes on disk, and %d at the end", largest, last)
			}
			got := int64(0)
			readAll(t, s.path, info, 0, 100_000, func(at int64, p []byte) {
				got += int64(len(p))
				checkPattern(t, at, p)
			})
			if got != info.Head+info.Bytes-info.Tail {
				t.Errorf("%d bytes are kept", got)
			}
			found, err := Adopt(s.path, limit, -1)
			if err != nil || found.Info() != info {
				t.Errorf("a later supervisor finds %+v, %v", found.Info(), err)
			}
		})
	}
}

// checkPattern wants the output of yes 1234567 at an offset.
func checkPattern(t testing.TB, at int64, p []byte) {
	t.Helper()
	pattern := []byte("1234567\n")
	want := bytes.Repeat(pattern, len(p)/len(pattern)+2)[at%8:][:len(p)]
	if !bytes.Equal(p, want) {
		t.Fatalf("other bytes at %d", at)
	}
}

func TestWithoutHoles(t *testing.T) {
	const limit, total = 64 << 10, 1_000_003
	s, w := begin(t, limit, noHoles)
	job(t, w, fmt.Sprintf("yes 1234567 | head -c %d", total))
	info := end(t, s)
	if (info != Info{Bytes: total, Head: limit, Tail: total, Lost: total - limit}) || diskUse(t, s.path) > limit {
		t.Errorf("%+v", info)
	}
	got, missing := kept(t, s.path, info)
	checkPattern(t, 0, got)
	if missing != info.Lost {
		t.Errorf("%d bytes are missing", missing)
	}
	later := newStream(s.path, limit)
	later.slack = 0
	if err := later.open(0); err != nil || later.info != info {
		t.Errorf("a later supervisor finds %+v, %v", later.info, err)
	}
}

// write writes to a stream and flushes it.
func write(t testing.TB, s *Stream, w *os.File, text string) {
	t.Helper()
	for len(text) > 0 {
		n, err := w.WriteString(text[:min(len(text), 32<<10)])
		if err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	s.Flush()
}

func TestNoSpace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, c := range []struct {
		name   string
		change func(*Stream)
	}{{"splice", nil}, {"without splice", noSplice}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("none", dir, "tmpfs", 0, "size=512k"); err != nil {
				t.Skip(err)
			}
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			if err := os.WriteFile(dir+"/filler", make([]byte, 256<<10), 0o600); err != nil {
				t.Fatal(err)
			}
			s, w, err := New(dir+"/stdout", 16*mebi)
			if err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(s)
			}
			ended := make(chan struct{})
			go func() { // ends with the writer
				s.Run()
				close(ended)
			}()
			write(t, s, w, strings.Repeat("before\n", 100_000)) // more than there is space for
			info := s.Info()
			if info.Bytes != 700_000 || info.Lost < 400_000 || info.Lost > 500_000 {
				t.Fatalf("%+v", info)
			}
			os.Remove(dir + "/filler")
			write(t, s, w, "later\n")
			w.Close()
			<-ended
			again := s.Info()
			if again.Bytes != 700_006 || again.Lost != info.Lost || !again.Truncated() {
				t.Errorf("%+v", again)
			}
			p := make([]byte, 100)
			if n, at, err := Read(s.path, again, info.Bytes, p); string(p[:n]) != "later\n" || at != info.Bytes || err != nil {
				t.Errorf("%q at %d, %v", p[:n], at, err)
			}
			got, missing := kept(t, s.path, again)
			if text, ok := strings.CutSuffix(string(got), "later\n"); !ok || !strings.HasPrefix(strings.Repeat("before\n", 100_000), text) ||
				missing != again.Lost {
				t.Errorf("%d of %d bytes are missing", missing, again.Lost)
			}
			found, err := Adopt(s.path, 16*mebi, -1)
			if err != nil || found.Info().Bytes != again.Bytes || again.Lost-found.Info().Lost > blockSize || found.Info().Lost > again.Lost {
				t.Errorf("a later supervisor finds %+v, %v", found.Info(), err)
			}
		})
	}
}

// supervisor is one that captures from r.
func supervisor(t testing.TB, path string, limit int64, r *os.File, prefix ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{"test-capture", path, fmt.Sprint(limit)}
	if len(prefix) > 0 {
		cmd = exec.Command(prefix[0], append(prefix[1:], "bash", "-c", `exec -a test-capture "$0" "$@"`, exe, path, fmt.Sprint(limit))...)
	}
	cmd.ExtraFiles, cmd.Stderr = []*os.File{r}, os.Stderr
	return cmd
}

// result is what it says at its end.
func result(t testing.TB, cmd *exec.Cmd) (info Info) {
	t.Helper()
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &info)
	}
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestLimitOfFiles(t *testing.T) {
	const most, total = 65_000, 1_000_000
	path := filepath.Join(t.TempDir(), "stdout")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := supervisor(t, path, 16*mebi, r, "prlimit", fmt.Sprint("--fsize=", most))
	go job(t, w, fmt.Sprintf("yes 1234567 | head -c %d", total)) // ends with the supervisor, which reads all
	info := result(t, cmd)
	if (info != Info{Bytes: total, Lost: total - most}) {
		t.Errorf("%+v", info)
	}
	got, missing := kept(t, path, info)
	checkPattern(t, 0, got)
	if missing != info.Lost {
		t.Errorf("%d bytes are missing", missing)
	}
}

// TestKills kills the supervisor in the middle of captures: nothing is lost or doubled. The job has a portion to write for each kill, as
// on a loaded machine a kill can come so late that the supervisor would have read everything.
func TestKills(t *testing.T) {
	const kills, portion = 50, mebi + mebi/4
	const total = kills * portion
	for _, limit := range []int64{100 * mebi, mebi} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			dir := t.TempDir()
			path := dir + "/stdout"
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			portions := make(chan int64, kills+1)
			defer close(portions)
			done := make(chan struct{})
			go func() { // ends with the last supervisor, which reads all
				defer close(done)
				fedJob(t, &random{portions: portions}, w, `tee "$1"`, dir+"/copy")
			}()
			for range kills {
				was := fileSize(path)
				portions <- portion
				cmd := supervisor(t, path, limit, r)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				next := was + 1 + rand.Int64N(mebi) // the portion has more
				for until := time.Now().Add(time.Minute); fileSize(path) < next && time.Now().Before(until); {
					runtime.Gosched()
				}
				cmd.Process.Kill()
				cmd.Wait()
				if cmd.ProcessState.Exited() || fileSize(path) < next {
					t.Fatalf("%v with %d bytes, from %d", cmd.ProcessState, fileSize(path), was)
				}
			}
			portions <- 0
			info := result(t, supervisor(t, path, limit, r))
			<-done
			want, err := os.ReadFile(dir + "/copy")
			if err != nil || info.Bytes != total || len(want) != total || info.Lost != 0 || info.Truncated() != (limit < total) {
				t.Fatalf("%+v of %d bytes, %v", info, len(want), err)
			}
			got := int64(0)
			readAll(t, path, info, 0, mebi, func(at int64, p []byte) {
				got += int64(len(p))
				if !bytes.Equal(p, want[at:][:len(p)]) {
					t.Fatalf("other bytes at %d", at)
				}
			})
			if got < min(limit, total) {
				t.Errorf("%d bytes are kept", got)
			}
		})
	}
}

// random reads portions of random bytes, each when its size has come; 0, and the end of the channel, are the end.
type random struct {
	portions <-chan int64
	left     int64
}

func (r *random) Read(p []byte) (n int, err error) {
	if r.left == 0 {
		r.left = <-r.portions
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n = int(min(int64(len(p)), r.left))
	r.left -= int64(n)
	return cryptorand.Read(p[:n])
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// TestFollow has followers that connect again for each read: one that reads all, and slow
// ones, behind which the middle is freed. None of them delays the job.
func TestFollow(t *testing.T) {
	const total = 20_000_000
	for _, limit := range []int64{100 * mebi, 256 << 10} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			s, w := begin(t, limit, nil)
			ended := make(chan struct{})
			go func() { // ends with the job
				defer close(ended)
				job(t, w, fmt.Sprintf("yes 1234567 | head -c %d", total))
			}()
			for _, size := range []int{100_000, 5000} {
				offset, got, p := int64(0), int64(0), make([]byte, size)
				for s.Wait(context.Background(), offset) == nil {
					n, at, err := Read(s.path, s.Info(), offset, p)
					if err != nil && err != io.EOF || at < offset || at > offset && limit > total {
						t.Fatalf("%d bytes at %d instead of %d, %v", n, at, offset, err)
					}
					checkPattern(t, at, p[:n])
					got += int64(n)
					offset = at + int64(n)
				}
				if offset != total || limit > total && got != total || got < min(limit, total) {
					t.Errorf("it has got %d bytes, and is at %d", got, offset)
				}
			}
			<-ended
		})
	}
}

// TestReadOldInfo reads with what was known before the middle was freed.
func TestReadOldInfo(t *testing.T) {
	s, w := begin(t, 64<<10, nil)
	defer w.Close()
	write(t, s, w, strings.Repeat("1234567\n", 16<<10)) // as much as is not freed yet
	old := s.Info()
	if old.Truncated() {
		t.Fatalf("%+v", old)
	}
	write(t, s, w, strings.Repeat("1234567\n", 64<<10))
	missing := old.Bytes
	readAll(t, s.path, old, 0, 3000, func(at int64, p []byte) {
		checkPattern(t, at, p)
		missing -= int64(len(p))
	})
	if missing == 0 {
		t.Error("nothing was freed")
	}
}

func TestWait(t *testing.T) {
	s, w := begin(t, mebi, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Wait(ctx, 0); err != context.Canceled {
		t.Error(err)
	}
	waited := make(chan error)
	go func() { waited <- s.Wait(context.Background(), 0) }() // ends with the write
	write(t, s, w, "abc")
	if err := <-waited; err != nil {
		t.Error(err)
	}
	go func() { waited <- s.Wait(context.Background(), 3) }() // ends with the stream
	s.Close()
	if err := <-waited; err != io.EOF {
		t.Error(err)
	}
	if err := s.Wait(context.Background(), 2); err != nil {
		t.Errorf("there is a byte: %v", err)
	}
}

// TestLeftovers has a child that goes on to write after the job has ended, as fast as it can.
func TestLeftovers(t *testing.T) {
	alive, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s, w := begin(t, 1024*mebi, nil)
	cmd := exec.Command("/bin/sh", "-c", "yes left & echo the last; exit 3")
	cmd.Stdout, cmd.ExtraFiles = w, []*os.File{held}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	held.Close()
	w.Close()
	cmd.Wait()
	for range 100 {
		s.Flush()
	}
	s.Close()
	text, _ := kept(t, s.path, s.Info())
	if code := cmd.ProcessState.ExitCode(); code != 3 || !bytes.Contains(text, []byte("the last\n")) {
		t.Errorf("code %d, %.100q", code, text)
	}
	alive.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := alive.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the child was not ended by SIGPIPE: %v", err)
	}
	s.Flush() // of one that has ended
	s.Close()
}

// TestFlushAtOnce has the last bytes before the end, whoever reads them.
func TestFlushAtOnce(t *testing.T) {
	for k := range 100 {
		s, w := begin(t, mebi, nil)
		if k%2 == 0 {
			w.WriteString("before, ")
		}
		write(t, s, w, "no newline")
		if info := s.Info(); info.Bytes != map[int]int64{0: 18, 1: 10}[k%2] {
			t.Fatalf("%+v", info)
		}
		s.Close()
		if _, err := w.WriteString("x"); !errors.Is(err, unix.EPIPE) {
			t.Fatal(err)
		}
	}
}

// TestForeignFiles has a link, a file and a folder where the file should be made.
func TestForeignFiles(t *testing.T) {
	for name, put := range map[string]func(path string) error{
		"link":   func(path string) error { return os.Symlink(filepath.Dir(path)+"/victim", path) },
		"file":   func(path string) error { return os.WriteFile(path, []byte("old"), 0o600) },
		"folder": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			s, w := begin(t, mebi, nil)
			if err := put(s.path); err != nil {
				t.Fatal(err)
			}
			write(t, s, w, strings.Repeat("text\n", 1000))
			if info := s.Info(); (info != Info{Bytes: 5000, Lost: 5000}) {
				t.Errorf("%+v", info)
			}
			if _, err := os.Lstat(filepath.Dir(s.path) + "/victim"); err == nil {
				t.Error("the link was followed")
			}
			if text, err := os.ReadFile(s.path); name == "file" && (string(text) != "old" || err != nil) {
				t.Errorf("%q, %v", text, err)
			}
			if _, err := Adopt(s.path, mebi, -1); (err == nil) != (name == "file") {
				t.Errorf("adopted: %v", err)
			}
			os.RemoveAll(s.path)
			if n, at, err := Read(s.path, s.Info(), 0, make([]byte, 9)); n != 0 || at != 5000 || err != io.EOF {
				t.Errorf("read %d at %d, %v", n, at, err)
			}
			write(t, s, w, "more") // it can be made by now
			if text, missing := kept(t, s.path, s.Info()); string(text) != "more" || missing != 5000 {
				t.Errorf("%q, %d missing", text, missing)
			}
		})
	}
}
