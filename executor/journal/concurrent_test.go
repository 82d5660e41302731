package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A record is appended while Expire waits for the disk.
func TestAppendDuringExpire(t *testing.T) {
	o := fast(8192)
	var slow atomic.Bool
	waits, goOn := make(chan string), make(chan struct{})
	sync := o.files.sync
	o.files.sync = func(f *os.File) error {
		if slow.Load() {
			waits <- f.Name()
			<-goOn
		}
		return sync(f)
	}
	j, _ := mustOpen(t, t.TempDir(), o)
	mustAppend(t, j, 1, "", Accepted, "never ends")
	id := uint64(2)
	for ; len(j.segments) < 4 || j.end > 1000; id++ { // so that what follows begins no segment
		mustAppend(t, j, id, "", Accepted, strings.Repeat("x", 100))
		mustAppend(t, j, id, "", Ended, "e")
	}
	slow.Store(true)
	done := make(chan error)
	go func() { // ends with Expire
		_, err := j.Expire(Limits{Entries: 1})
		slow.Store(false)
		done <- err
	}()
	syncs := 0
	for ; ; id++ {
		select {
		case name := <-waits:
			syncs++
			appended := make(chan struct{})
			go func() { // ends with Append
				j.Append(Record{ID: id, Kind: Accepted, Data: []byte("meanwhile")})
				close(appended)
			}()
			select {
			case <-appended:
			case <-time.After(10 * time.Second):
				t.Fatalf("Append waits for the sync of %s", name)
			}
			goOn <- struct{}{}
			continue
		case err := <-done:
			if err != nil || syncs < 4 {
				t.Errorf("%d syncs: %v", syncs, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Expire does not return")
		}
		break
	}
	mustClose(t, j)
	j, u := mustOpen(t, j.dir, fast(2048))
	if len(u) != 1+syncs || len(j.Stats().Damage) > 0 {
		t.Errorf("%d unfinished after %d syncs: %v", len(u), syncs, j.Stats().Damage)
	}
}

// Whatever is appended while segments are moved is there after the next opening, in the right order.
func TestConcurrentExpire(t *testing.T) {
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, fast(2048))
	const writers, each = 4, 60
	var last atomic.Uint64
	var order sync.Mutex // of IDs
	var all, expire sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		expire.Go(func() { // ends with done
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := j.Expire(Limits{Entries: 3}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range writers {
		all.Go(func() { // ends with its entries
			for k := range each {
				order.Lock()
				id := last.Add(1)
				commit := j.Append(Record{ID: id, Kind: Accepted, Data: []byte("first")})
				order.Unlock()
				for n := range 3 {
					commit = j.Append(Record{ID: id, Kind: Begun, Data: fmt.Append(nil, n)})
				}
				if k%20 != 0 {
					commit = j.Append(Record{ID: id, Kind: Ended, Data: []byte("e")})
				}
				if err := commit.Wait(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	close(done)
	expire.Wait()
	if s := j.Stats(); s.Bytes > 40<<10 || s.Entries > writers*each/20+3+writers {
		t.Errorf("%+v", s)
	}
	mustClose(t, j)
	j, u := mustOpen(t, dir, fast(2048))
	if len(u) != writers*each/20 || len(j.Stats().Damage) > 0 {
		t.Errorf("%d unfinished: %v", len(u), j.Stats().Damage)
	}
	for _, x := range u {
		if got := summary([]Unfinished{x}); !strings.HasSuffix(got, "A:first B:0 B:1 B:2") {
			t.Error(got)
		}
	}
}

// Close waits for a segment that is being removed, and no other is removed behind it: the folder may be another Journal's.
func TestCloseDuringExpire(t *testing.T) {
	o := fast(1024)
	inLock, goOn := make(chan struct{}), make(chan struct{})
	var slow atomic.Bool
	o.files.sync = func(f *os.File) error {
		if slow.Load() && filepath.Base(f.Name()) == "lock" {
			slow.Store(false)
			inLock <- struct{}{}
			<-goOn
		}
		return nil
	}
	j, _ := mustOpen(t, t.TempDir(), o)
	for id := uint64(1); id < 60; id++ {
		mustAppend(t, j, id, "", Accepted, strings.Repeat("x", 100))
		mustAppend(t, j, id, "", Ended, "e")
	}
	slow.Store(true)
	expired, closed := make(chan error), make(chan error)
	go func() { // ends with Expire
		_, err := j.Expire(Limits{Entries: 1})
		expired <- err
	}()
	<-inLock
	go func() { closed <- j.Close() }() // ends with Close
	select {
	case err := <-closed:
		t.Fatalf("it is closed while a segment is removed: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	goOn <- struct{}{}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	<-expired // it may have ended before

	j, _ = mustOpen(t, j.dir, o)
	for id := uint64(100); len(j.segments) < 2; id++ {
		mustAppend(t, j, id, "", Accepted, strings.Repeat("x", 100))
	}
	first := j.segments[0].number
	j.mu.Lock()
	j.broken = ErrClosed
	j.mu.Unlock()
	if err := j.removeOldest(nil); !errors.Is(err, ErrClosed) || j.segments[0].number != first {
		t.Errorf("removed after Close: %v", err)
	}
}
