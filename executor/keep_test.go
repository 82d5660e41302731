package executor

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// Old jobs go with their files; one that runs stays, however much it writes.
func TestExpire(t *testing.T) {
	e, h := newExecutor(t, func(c *Config) { c.Keep = Keep{For: time.Hour, Jobs: 100, Size: "16KiB"} })
	var ended [2]Job
	for k := range ended {
		ended[k] = submit(t, e, Spec{})
		h.next(t).end(proc.Exit{})
		await(t, e, ended[k].ID)
	}
	runs := submit(t, e, Spec{Key: "runs"})
	p := h.next(t)
	fmt.Fprintf(p.files[1], "%032768d", 0)
	poll(t, "the output is captured", func() bool { job, _ := e.Job(runs.ID.String()); return job.Stdout.Bytes == 32768 })
	done := make(chan struct{})
	go func() { e.expire(); close(done) }() // ends with expire
	receive(t, done, "the end of expire")
	if _, err := e.Job(ended[0].ID.String()); !errors.Is(err, ErrNoJob) {
		t.Errorf("%v", err)
	}
	if job, err := e.Job("key:runs"); err != nil || job.ID != runs.ID {
		t.Errorf("%v", err)
	}
	p.end(proc.Exit{})
	want(t, await(t, e, runs.ID), Succeeded)
}
