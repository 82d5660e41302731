package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// FuzzOpen opens what is not a journal. It never panics, and what is appended then is there.
func FuzzOpen(f *testing.F) {
	dir := small(f)
	for _, name := range []string{"00000001.journal", "00000002.journal"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)-30])
		f.Add(bytes.Replace(b, []byte("runs"), []byte("r\nns"), 1))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "00000001.journal"), content, 0o600); err != nil {
			t.Fatal(err)
		}
		j, _, err := Open(dir, fast(4096))
		if err != nil {
			t.Skip(err)
		}
		id := j.Stats().LastID + 1
		if id == 0 {
			t.Skip("there is no higher ID")
		}
		mustAppend(t, j, id, "new", Accepted, "new")
		mustClose(t, j)
		j, u := mustOpen(t, dir, fast(4096))
		if len(u) == 0 || u[len(u)-1].ID != id || u[len(u)-1].Uncertain != "" || j.Find("new")[0] != id {
			t.Errorf("the new entry: %s", summary(u))
		}
	})
}

// payload is like the record of a job.
func payload() []byte { return bytes.Repeat([]byte("x"), 400) }

// BenchmarkRaw is a write and a sync of as many bytes.
func BenchmarkRaw(b *testing.B) {
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	files, data, offset := realFiles(), append(payload(), make([]byte, headerSize+1)...), int64(0)
	for b.Loop() {
		if err := errors.Join(files.write(f, data, offset), files.sync(f)); err != nil {
			b.Fatal(err)
		}
		offset += int64(len(data))
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			j, _ := mustOpen(b, b.TempDir(), Options{})
			var appending sync.Mutex
			id, data := uint64(0), payload()
			var workers sync.WaitGroup
			for range n {
				// It ends when the benchmark's number of records is reached.
				workers.Go(func() {
					for {
						appending.Lock()
						if id == uint64(b.N) {
							appending.Unlock()
							return
						}
						id++
						c := j.Append(Record{ID: id, Key: "k", Kind: Accepted, Data: data})
						appending.Unlock()
						if err := c.Wait(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			workers.Wait()
		})
	}
}

const manyEntries = 100_000

// many makes a journal with many entries that have ended.
func many(t testing.TB) string {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, fast(0))
	for id := uint64(1); id <= manyEntries; id++ {
		for _, kind := range []Kind{Accepted, Begun, Ended} {
			if c := j.Append(Record{ID: id, Key: fmt.Sprint("key-", id), Kind: kind, Data: payload()}); c.err != nil {
				t.Fatal(c.err)
			}
		}
	}
	mustClose(t, j)
	return dir
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkOpen(b *testing.B) {
	dir := many(b)
	before, used := heap(), uint64(0)
	for b.Loop() {
		j, _, err := Open(dir, Options{})
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		used = heap() - before
		mustClose(b, j)
		b.StartTimer()
	}
	b.ReportMetric(float64(used)/(1<<20), "MiB")
}

func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes 150 MB")
	}
	dir := many(t)
	before := heap()
	j, _ := mustOpen(t, dir, Options{})
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if used := heap() - before; used > 12<<20 || m.HeapAlloc > before+30<<20 {
		t.Errorf("%d bytes for %d entries, %d before garbage is collected", used, j.Stats().Entries, m.HeapAlloc-before)
	}
	// Another entry makes the index grow.
	mustAppend(t, j, manyEntries+1, "", Accepted, "")
	if used := heap() - before; used > 15<<20 {
		t.Errorf("%d bytes when the index has grown", used)
	}
}
