package executor

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/proc"
)

// Whoever reads an attempt while the next one replaces its output gets no byte of that.
func TestReadReplacedOutput(t *testing.T) {
	const attempts = 60
	e, h := newExecutor(t, nil)
	h.set(func() {
		h.onStart = func(p *fakeProcess) {
			attempt := strings.TrimPrefix(p.spec.Env[len(p.spec.Env)-1], "STOKER_JOB_ATTEMPT=")
			_, _ = p.files[1].WriteString(strings.Repeat(attempt+" ", 1000))
			p.end(proc.Exit{Code: 1})
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	job := submit(t, e, Spec{Retry: Retry{Max: attempts - 1, Backoff: Duration(time.Microsecond), MaxBackoff: Duration(time.Microsecond)}})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() { // ends with the job
			for p := make([]byte, 64<<10); ; {
				now, err := e.Job(job.ID.String())
				if err != nil || now.State.Final() {
					return
				}
				attempt := max(now.Attempt, 1)
				n, _, _ := e.ReadOutput(ctx, job.ID, "stdout", attempt, 0, false, p)
				for _, word := range strings.Fields(string(p[:n])) {
					if len(word) > 0 && word != strconv.Itoa(attempt) && !strings.HasPrefix(strconv.Itoa(attempt), word) {
						t.Errorf("attempt %d has the output %q", attempt, word)
						return
					}
				}
			}
		})
	}
	readers.Wait()
	want(t, await(t, e, job.ID), Failed)
}
