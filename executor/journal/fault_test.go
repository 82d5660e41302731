package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// edit changes a file of a journal.
func edit(t *testing.T, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamage(t *testing.T) {
	replace := func(old, with string) func([]byte) []byte {
		return func(b []byte) []byte { return []byte(strings.Replace(string(b), old, with, 1)) }
	}
	tests := []struct {
		name   string
		file   string
		change func([]byte) []byte // nil: the file is removed
		want   string
	}{
		{"nothing", "00000001.journal", replace("", ""), `1 A:{"waits":1}; 2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5} B:{"last":true}`},
		{"zeros behind the end", "00000002.journal", func(b []byte) []byte { return append(b, make([]byte, 9999)...) },
			`1 A:{"waits":1}; 2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5} B:{"last":true}`},
		{"data of the first record", "00000001.journal", replace(`"waits":1`, `"waits":0`),
			`1?; 2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5} B:{"last":true}`},
		{"data of a record that others follow", "00000001.journal", replace(`"runs":2`, `"runs":0`),
			`1 A:{"waits":1}; 2 B:{}; 4 A:{"waits":4}; 5 A:{"runs":5} B:{"last":true}`},
		{"header of a record", "00000001.journal", replace(" A 00000000 ", " B 00000000 "),
			`2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5} B:{"last":true}`},
		{"header of the last record", "00000002.journal", replace(" B 00000001 ", " A 00000001 "),
			`1 A:{"waits":1}?; 2 A:{"runs":2} B:{}?; 4 A:{"waits":4}?; 5 A:{"runs":5}?`},
		{"data of the last record", "00000002.journal", replace(`"last"`, `"lust"`),
			`1 A:{"waits":1}; 2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5}?`},
		{"last record incomplete", "00000002.journal", func(b []byte) []byte { return b[:len(b)-5] },
			`1 A:{"waits":1}; 2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5}?`},
		{"first record of an entry incomplete", "00000002.journal", func(b []byte) []byte {
			r, _ := header{id: 6, kind: Accepted, milli: 1}.encode([]byte("six"), int64(len(b)))
			return append(b, r[:len(r)-2]...)
		}, `1 A:{"waits":1}; 2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5} B:{"last":true}`},
		{"garbage behind the end", "00000002.journal", func(b []byte) []byte { return append(b, "garbage"...) },
			`1 A:{"waits":1}?; 2 A:{"runs":2} B:{}?; 4 A:{"waits":4}?; 5 A:{"runs":5} B:{"last":true}?`},
		{"bytes removed", "00000001.journal", replace(`{"waits":1}`, ``),
			`1?; 2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5} B:{"last":true}`},
		{"first segment missing", "00000001.journal", nil, `5 A:{"runs":5} B:{"last":true}`},
		{"last segment missing", "00000002.journal", nil, `1 A:{"waits":1}?; 2 A:{"runs":2} B:{}?; 4 A:{"waits":4}?`},
		{"lock file missing", "lock", nil, `1 A:{"waits":1}; 2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5} B:{"last":true}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := small(t)
			path := filepath.Join(dir, test.file)
			if test.change == nil {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			} else {
				edit(t, path, test.change)
			}
			for round := range 3 {
				j, u := mustOpen(t, dir, Options{SegmentBytes: 800})
				if got := strings.ReplaceAll(summary(u), " E:ended", ""); !sameEntries(got, test.want) {
					t.Errorf("round %d:\n%s, want\n%s", round, got, test.want)
				}
				harmless := test.name == "nothing" || strings.HasPrefix(test.name, "zeros") || test.file == "lock"
				if d := j.Stats().Damage; round == 0 && !harmless && (len(d) == 0 || d[0].File != path) {
					t.Errorf("damage: %v", d)
				}
				mustClose(t, j)
			}
		})
	}
}

// sameEntries compares summaries; entry 3 has ended, and is one more only when its end is missing.
func sameEntries(got, want string) bool {
	parts := slices.DeleteFunc(strings.Split(got, "; "), func(s string) bool {
		return strings.HasPrefix(s, "3 ") && strings.HasSuffix(s, "?")
	})
	return strings.Join(parts, "; ") == want
}

func TestDoubtEndsWithTheNextRecord(t *testing.T) {
	dir := small(t)
	edit(t, filepath.Join(dir, "00000002.journal"), func(b []byte) []byte { return b[:len(b)-5] })
	j, u := mustOpen(t, dir, Options{})
	if len(u) != 4 || !strings.Contains(u[3].Uncertain, "record 1 of it (begun) is damaged") {
		t.Fatalf("%+v", u)
	}
	mustAppend(t, j, 5, "", Accepted, "again")
	mustClose(t, j)
	_, u = mustOpen(t, dir, Options{})
	if got := summary(u[3:]); got != `5 A:{"runs":5} A:again` {
		t.Error(got)
	}
}

func TestQuarantine(t *testing.T) {
	dir := small(t)
	edit(t, filepath.Join(dir, "00000001.journal"), func(b []byte) []byte {
		return []byte(strings.Replace(string(b), `"runs":2`, `"runs":0`, 1))
	})
	for range 2 {
		j, _ := mustOpen(t, dir, Options{})
		mustClose(t, j)
	}
	copies, err := filepath.Glob(filepath.Join(dir, "*.damaged"))
	if err != nil || len(copies) != 1 {
		t.Fatal(copies, err)
	}
	if b, err := os.ReadFile(copies[0]); err != nil || !strings.Contains(string(b), `"runs":0`) {
		t.Errorf("%q %v", b, err)
	}
}

func TestDamagedEntryIsFound(t *testing.T) {
	dir := small(t)
	edit(t, filepath.Join(dir, "00000001.journal"), func(b []byte) []byte {
		return []byte(strings.NewReplacer(`"waits":1`, `"waits":0`, `"runs":2`, `"runs":0`).Replace(string(b)))
	})
	j, _ := mustOpen(t, dir, Options{})
	if ids := j.Find("k1"); !slices.Equal(ids, []uint64{1}) {
		t.Error(ids)
	}
	if _, _, err := j.Read(1); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if first, newest, err := j.Read(2); err != nil || first.Kind != 0 || newest.Kind != Begun {
		t.Error(first, newest, err)
	}
}

func TestNewerVersion(t *testing.T) {
	for _, file := range []string{"00000002.journal", "lock"} {
		dir := small(t)
		edit(t, filepath.Join(dir, file), func(b []byte) []byte {
			return append(line("stoker-journal %d of another kind", 2), b[segmentSize%len(b):]...)
		})
		if _, _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "version 2; this stoker knows version 1") {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, Options{})
	if _, _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Error(err)
	}
	// A child of a supervisor that was killed may have the lock for a moment.
	time.AfterFunc(lockTime/10, func() { mustClose(t, j) })
	mustOpen(t, dir, Options{})
}

// faulty are operations that fail on demand.
type faulty struct {
	mu                                sync.Mutex
	write, sync_, truncate, allocated error
	partial                           int // bytes that a failing write writes
}

func (f *faulty) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *faulty) options() Options {
	files := realFiles()
	onDisk := files
	get := func(err *error) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		return *err
	}
	files.write = func(file *os.File, b []byte, offset int64) error {
		if err := get(&f.write); err != nil {
			return errors.Join(err, onDisk.write(file, b[:min(len(b), f.partial)], offset))
		}
		return onDisk.write(file, b, offset)
	}
	files.sync = func(file *os.File) error { return errors.Join(get(&f.sync_), onDisk.sync(file)) }
	files.truncate = func(file *os.File, size int64) error {
		if err := get(&f.truncate); err != nil {
			return err
		}
		return onDisk.truncate(file, size)
	}
	files.allocate = func(file *os.File, offset, size int64) error {
		if err := get(&f.allocated); err != nil {
			return err
		}
		return onDisk.allocate(file, offset, size)
	}
	return Options{SegmentBytes: 1 << 20, files: files}
}

func TestFailedWrite(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO} {
		dir, f := t.TempDir(), &faulty{partial: 120}
		j, _ := mustOpen(t, dir, f.options())
		mustAppend(t, j, 1, "", Accepted, "one")
		f.set(func() { f.write = errno })
		err := j.Append(Record{ID: 2, Kind: Accepted, Data: make([]byte, 500)}).Wait()
		if !errors.Is(err, errno) || errors.Is(err, syscall.ENOSPC) != (errno != syscall.EIO) {
			t.Errorf("%v: %v", errno, err)
		}
		f.set(func() { f.write = nil })
		mustAppend(t, j, 1, "", Begun, "begun")
		mustClose(t, j)
		j, u := mustOpen(t, dir, Options{})
		if got := summary(u); got != "1 A:one B:begun" || len(j.Stats().Damage) > 0 {
			t.Errorf("%v: %s %v", errno, got, j.Stats().Damage)
		}
	}
}

func TestFailedWriteThatStays(t *testing.T) {
	dir, f := t.TempDir(), &faulty{partial: 120}
	j, _ := mustOpen(t, dir, f.options())
	c := j.Append(Record{ID: 1, Kind: Accepted, Data: []byte("one")})
	f.set(func() { f.write, f.truncate = syscall.EIO, syscall.EROFS })
	first := j.Append(Record{ID: 2, Kind: Accepted, Data: make([]byte, 500)}).Wait()
	f.set(func() { f.write, f.truncate = nil, nil })
	if err := j.Append(Record{ID: 3, Kind: Accepted}).Wait(); !errors.Is(first, syscall.EIO) || !errors.Is(err, syscall.EROFS) {
		t.Errorf("%v, then %v", first, err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("the record before: %v", err)
	}
	if _, err := j.Expire(Limits{Entries: 1}); !errors.Is(err, syscall.EROFS) {
		t.Error(err)
	}
	mustClose(t, j)
	_, u := mustOpen(t, dir, Options{})
	if got := summary(u); got != "1 A:one" {
		t.Error(got)
	}
}

func TestFailedSync(t *testing.T) {
	dir, f := t.TempDir(), &faulty{}
	j, _ := mustOpen(t, dir, f.options())
	f.set(func() { f.sync_ = syscall.EIO })
	a, b := j.Append(Record{ID: 1, Kind: Accepted}), j.Append(Record{ID: 2, Kind: Accepted})
	if err := a.Wait(); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	f.set(func() { f.sync_ = nil })
	if err := b.Wait(); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	if err := j.Append(Record{ID: 3, Kind: Accepted}).Wait(); !errors.Is(err, syscall.EIO) || j.Stats().Broken == nil {
		t.Error(err)
	}
}

// TestReserve fills the disk: what runs can still be recorded, also where a new segment is due, and over an opening.
func TestReserve(t *testing.T) {
	dir, f := t.TempDir(), &faulty{}
	j, _ := mustOpen(t, dir, f.options())
	id := uint64(0)
	data := make([]byte, 1000)
	for j.end < 1<<20-64<<10 {
		id++
		mustAppend(t, j, id, "", Accepted, string(data))
	}
	f.set(func() { f.allocated = syscall.ENOSPC })
	refused := func() {
		t.Helper()
		for n := id + 1; ; n++ {
			if err := j.Append(Record{ID: n, Kind: Accepted, Data: data}).Wait(); errors.Is(err, syscall.ENOSPC) {
				break
			} else if err != nil || n > id+1000 {
				t.Fatal(n, err)
			}
			id = n
		}
	}
	refused()
	for n := uint64(1); n <= 100; n++ {
		mustAppend(t, j, n, "", Begun, "begun")
	}
	mustClose(t, j)
	j, u := mustOpen(t, dir, f.options())
	if len(u) != int(id) {
		t.Errorf("%d unfinished, want %d", len(u), id)
	}
	refused()
	for n := uint64(1); n <= 100; n++ {
		mustAppend(t, j, n, "", Ended, "ended")
	}
	if allocated := j.allocated; j.end > allocated {
		t.Errorf("end %d is behind the allocated space, %d", j.end, allocated)
	}
	f.set(func() { f.allocated = nil })
	mustAppend(t, j, id+1, "", Accepted, "there is space")
}

// TestFullDisk fills a small file system.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skip("cannot mount a file system:", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	j, _ := mustOpen(t, dir, Options{SegmentBytes: 1 << 20})
	id := uint64(0)
	for {
		if err := j.Append(Record{ID: id + 1, Kind: Accepted, Data: make([]byte, 3000)}).Wait(); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil || id > 2000 {
			t.Fatal(id, err)
		}
		id++
	}
	for n := uint64(1); n <= 300; n++ {
		mustAppend(t, j, n, "", Begun, "begun")
		mustAppend(t, j, n, "", Ended, "ended")
	}
	mustClose(t, j)
	j, u := mustOpen(t, dir, Options{SegmentBytes: 1 << 20})
	if len(u) != int(id)-300 || len(j.Stats().Damage) > 0 {
		t.Errorf("%d unfinished of %d; %v", len(u), id, j.Stats().Damage)
	}
}

func TestExpire(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1700000000, 0)
	o := fast(4096)
	o.Now = func() time.Time { return now }
	j, _ := mustOpen(t, dir, o)
	mustAppend(t, j, 1, "never", Accepted, "never ends")
	mustAppend(t, j, 1, "", Begun, "runs")
	for id := uint64(2); id < 2000; id++ {
		now = now.Add(time.Second)
		mustAppend(t, j, id, fmt.Sprint(id), Accepted, strings.Repeat("x", 100))
		mustAppend(t, j, id, "", Begun, "b")
		mustAppend(t, j, id, "", Ended, "e")
		if id%10 != 0 {
			continue
		}
		ids, err := j.Expire(Limits{Entries: 50})
		if err != nil || id > 60 && (len(ids) != 10 || ids[0] != id-59) {
			t.Fatal(id, ids, err)
		}
		if s := j.Stats(); s.Bytes > 60<<10 || s.Entries > 51 {
			t.Fatalf("%+v", s)
		}
	}
	check := func(u []Unfinished) {
		t.Helper()
		if got := summary(u); got != "1 A:never ends B:runs" {
			t.Error(got)
		}
		if first, _, err := j.Read(1); err != nil || string(first.Data) != "never ends" || !slices.Equal(j.Find("never"), []uint64{1}) {
			t.Error(first, err)
		}
		if s := j.Stats(); s.LastID != 1999 || len(s.Damage) != 0 {
			t.Errorf("%+v", s)
		}
	}
	mustClose(t, j)
	j, u := mustOpen(t, dir, o)
	check(u)
	if ids, err := j.Expire(Limits{Before: now}); err != nil || len(ids) < 49 || slices.Contains(ids, 1999) || j.Find("1500") != nil {
		t.Error(ids, err)
	}
	mustAppend(t, j, 2000, "", Accepted, "")
	mustAppend(t, j, 2000, "", Ended, "")
	if ids, err := j.Expire(Limits{Bytes: 1}); err != nil || !slices.Equal(ids, []uint64{1999, 2000}) {
		t.Error(ids, err)
	}
	if s := j.Stats(); s.Entries != 1 || s.Bytes > 20<<10 {
		t.Errorf("%+v", s)
	}
	mustClose(t, j)
	j, u = mustOpen(t, dir, o)
	if got := summary(u); got != "1 A:never ends B:runs" || j.Stats().LastID < 1999 {
		t.Error(got, j.Stats().LastID)
	}
}

// TestExpireKeepsDoubt moves an uncertain entry, which stays that.
func TestExpireKeepsDoubt(t *testing.T) {
	dir := small(t)
	edit(t, filepath.Join(dir, "00000002.journal"), func(b []byte) []byte { return b[:len(b)-5] })
	j, _ := mustOpen(t, dir, fast(800))
	for id := uint64(10); id < 200; id++ {
		mustAppend(t, j, id, "", Accepted, strings.Repeat("x", 100))
		mustAppend(t, j, id, "", Ended, "e")
		if _, err := j.Expire(Limits{Entries: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if first := j.segments[0].number; first < 10 {
		t.Errorf("the oldest segment is %d", first)
	}
	mustClose(t, j)
	j, u := mustOpen(t, dir, fast(800))
	if got := summary(u); got != `1 A:{"waits":1}; 2 A:{"runs":2} B:{}; 4 A:{"waits":4}; 5 A:{"runs":5}?` || len(j.Stats().Damage) > 0 {
		t.Error(got, j.Stats().Damage)
	}
}

func TestConcurrentReaders(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir(), fast(2048))
	mustAppend(t, j, 1, "one", Accepted, "first")
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		// It ends when done is closed.
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if first, _, err := j.Read(1); err != nil || string(first.Data) != "first" {
					t.Errorf("%s %v", first.Data, err)
					return
				}
				_, _, _ = j.Find("one"), j.Before(0, 3), j.Stats()
			}
		})
	}
	var commits sync.WaitGroup
	for id := uint64(2); id < 600; id++ {
		a, b := j.Append(Record{ID: id, Kind: Accepted, Data: make([]byte, 99)}), j.Append(Record{ID: id, Kind: Ended})
		// It ends when both are on disk.
		commits.Go(func() {
			if err := errors.Join(a.Wait(), b.Wait()); err != nil {
				t.Error(err)
			}
		})
		if _, err := j.Expire(Limits{Entries: 3}); err != nil {
			t.Error(err)
		}
	}
	commits.Wait()
	close(done)
	readers.Wait()
}
