package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// The output of an attempt ends with the attempt, and never goes on with that of the next one.
func TestOutputOfAttempts(t *testing.T) {
	e, h := newExecutor(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	job := submit(t, e, Spec{Retry: Retry{Max: 1, Backoff: Duration(time.Millisecond)}, NotBefore: time.Now().Add(50 * time.Millisecond)})
	follow := func(attempt int) <-chan string {
		done := make(chan string, 1)
		go func() { // ends with the attempt
			text, p := "", make([]byte, 100)
			for {
				n, _, err := e.ReadOutput(ctx, job.ID, "stdout", attempt, int64(len(text)), true, p)
				if text += string(p[:n]); err != nil {
					done <- fmt.Sprint(text, " ", err)
					return
				}
			}
		}()
		return done
	}
	if _, _, err := e.ReadOutput(ctx, job.ID, "stdout", 0, 0, false, make([]byte, 9)); err != nil {
		t.Errorf("before it begins: %v", err)
	}
	latest, first, second := follow(0), follow(1), follow(2)
	p := h.next(t)
	fmt.Fprint(p.files[1], "one")
	poll(t, "the first output", func() bool { job, _ := e.Job(job.ID.String()); return job.Stdout.Bytes == 3 })
	p.end(proc.Exit{Code: 1})
	p = h.next(t)
	for _, got := range []<-chan string{latest, first} { // unless the second one was faster
		other := fmt.Sprintf("one %v: 2", ErrOtherAttempt)
		if text := receive(t, got, "the first attempt"); text != "one EOF" && text != other && text != other[3:] {
			t.Errorf("%q", text)
		}
	}
	fmt.Fprint(p.files[1], "second")
	if _, _, err := e.ReadOutput(ctx, job.ID, "stdout", 1, 0, true, make([]byte, 9)); !errors.Is(err, ErrOtherAttempt) {
		t.Errorf("the first attempt later: %v", err)
	}
	p.end(proc.Exit{})
	if text := receive(t, second, "the second attempt"); text != "second EOF" {
		t.Errorf("%q", text)
	}
	want(t, await(t, e, job.ID), Succeeded)
	if _, _, err := e.ReadOutput(ctx, job.ID, "stdout", 3, 0, true, make([]byte, 9)); err != io.EOF {
		t.Errorf("an attempt that will never be: %v", err)
	}
}

// While a job waits for its next attempt the output of the latest one has an end.
func TestOutputBetweenAttempts(t *testing.T) {
	e, h := newExecutor(t, nil)
	job := submit(t, e, Spec{Retry: Retry{Max: 1, Backoff: Duration(time.Hour), MaxBackoff: Duration(time.Hour)}})
	p := h.next(t)
	fmt.Fprint(p.files[1], "one")
	p.end(proc.Exit{Code: 1})
	awaitState(t, e, job.ID, Accepted)
	buf := make([]byte, 9)
	if n, _, err := e.ReadOutput(t.Context(), job.ID, "stdout", 0, 0, true, buf); string(buf[:n]) != "one" || err != nil {
		t.Errorf("%q, %v", buf[:n], err)
	}
	if _, _, err := e.ReadOutput(t.Context(), job.ID, "stdout", 0, 3, true, buf); err != io.EOF {
		t.Error(err)
	}
}
