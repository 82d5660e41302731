package waitid

import (
	"testing"
	"time"
)

func TestBurst(t *testing.T) {
	w := &Waiter{again: make(chan struct{}, 1)}
	t0 := time.Now()
	for k := range 200 { // a job every millisecond is no storm
		if w.Reaped(t0.Add(time.Duration(k)*time.Millisecond), 1); !w.PausedUntil().IsZero() {
			t.Fatalf("paused at exit %d of a steady stream", k)
		}
	}
	<-w.again
	now := t0.Add(time.Second)
	if w.Reaped(now, 200); w.PausedUntil().IsZero() || len(w.again) > 0 {
		t.Fatal("200 exits at once are no burst")
	}
	if w.EndPause(now); w.PausedUntil().IsZero() {
		t.Error("the pause ended at once")
	}
	if w.EndPause(now.Add(burstPause)); !w.PausedUntil().IsZero() || len(w.again) == 0 {
		t.Error("the pause did not end")
	}
}
