package console

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// another opens another session.
func (b *bubble) another(t *testing.T, id string, keep time.Duration) *bubble {
	t.Helper()
	c := *b
	c.serve(t, id, keep)
	return &c
}

func (b *bubble) ring() *ring {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	return b.s.ring
}

// TestLinksHoldNoEndedSession: links that read nothing hold the output of no more sessions that have ended than may run.
func TestLinksHoldNoEndedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Sessions, cfg.Keep = 2, time.Hour
		first := newBubble(t, cfg, time.Hour)
		var all []*bubble
		var links []*Link
		for k := range 6 {
			b := first
			if k > 0 {
				b = first.another(t, string(rune('a'+k)), time.Hour)
			}
			all, links = append(all, b), append(links, b.hold(t))
			b.output(t, 1000)
			b.s.End("enough")
			<-b.s.Done()
			synctest.Wait()
		}
		for k, b := range all {
			_, err := b.s.Attach(tester(), Attach{Mode: Take, From: Everything()})
			_, next := links[k].Next(t.Context())
			if held := err == nil; held != (k >= 4) {
				t.Errorf("session %d of 6: %v, %v", k, err, next)
			}
			if k < 4 && (!errors.Is(next, ErrNoSession) || !errors.Is(err, ErrNoSession) || b.ring() != nil) {
				t.Errorf("session %d of 6: %v, %v, a ring: %v", k, err, next, b.ring() != nil)
			}
			if k < 4 {
				if _, err := first.m.Session(b.s.id); err == nil {
					t.Errorf("session %d of 6 is there", k)
				}
			}
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		first.m.mu.Lock()
		defer first.m.mu.Unlock()
		if len(first.m.sessions)+len(first.m.over) > 0 {
			t.Errorf("%d sessions are held, %d have not been read", len(first.m.sessions), len(first.m.over))
		}
	})
}

// TestStuckLink: a link to a session that has ended may take its time, but not stand still.
func TestStuckLink(t *testing.T) {
	for name, c := range map[string]struct {
		keep  time.Duration
		reads time.Duration // from one piece to the next; 0: it reads nothing
		want  error
		most  time.Duration
	}{
		"slow": {0, 20 * time.Second, io.EOF, time.Hour}, "stuck": {0, 0, ErrNoSession, 2 * readTime},
		"slow, with keep":  {time.Minute, 20 * time.Second, io.EOF, time.Hour},
		"stuck, with keep": {time.Minute, 0, ErrNoSession, time.Minute + 2*readTime},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, testConfig(), c.keep)
				l := b.hold(t)
				b.output(t, 300<<10)
				_ = b.p.SignalGroup(unix.SIGHUP)
				<-b.s.Done()
				begun := time.Now()
				if c.reads == 0 {
					for l.Err() == nil && time.Since(begun) < time.Hour {
						time.Sleep(time.Second)
					}
					if err := l.Err(); !errors.Is(err, c.want) || time.Since(begun) > c.most+time.Second {
						t.Errorf("%v after %v", err, time.Since(begun))
					}
				} else {
					var err error
					for got := 0; err == nil; time.Sleep(c.reads) {
						var chunk Chunk
						chunk, err = l.Next(context.Background())
						if got += len(chunk.Data); err != nil && got != 300<<10 {
							t.Errorf("%d bytes", got)
						}
					}
					if !errors.Is(err, c.want) {
						t.Error(err)
					}
				}
				l.Close()
				synctest.Wait()
				if _, err := b.m.Session("abc"); err == nil {
					t.Error("it is still there")
				}
			})
		})
	}
}
