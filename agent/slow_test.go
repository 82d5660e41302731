package agent

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/executor"
	"github.com/stoker-init/stoker/internal/api"
)

// TestSlowContainer: a container that answers each question late delays a round no longer than one that does not answer.
func TestSlowContainer(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	startFake(t, dir, "a", 9)
	slow := startFake(t, dir, "slow", 9)
	slow.before = func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-time.After(answerTime * 3 / 5):
		case <-r.Context().Done():
		}
		return false
	}
	begun := time.Now()
	all, err := f.Containers(t.Context())
	if took := time.Since(begun); err != nil || took > answerTime*3/2 || took < answerTime*3/5 {
		t.Errorf("a round takes %v: %v", took, err)
	}
	if len(all) != 2 || all[0].Error != "" || !strings.Contains(all[1].Error, "no answer within") {
		t.Errorf("%+v", all)
	}
	begun = time.Now()
	if _, err := f.Jobs(t.Context(), url.Values{}); err != nil || time.Since(begun) > answerTime/4 {
		t.Errorf("it delays the next round by %v: %v", time.Since(begun), err)
	}
}

// TestWaitForARound: who waits for the rounds of others may leave, and has no answer.
func TestWaitForARound(t *testing.T) {
	f, dir := newFleet(t)
	startFake(t, dir, "a", 9)
	for range maxRounds {
		f.asking <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, ask := range map[string]func() error{
		"Jobs":       func() error { _, err := f.Jobs(ctx, url.Values{}); return err },
		"Containers": func() error { _, err := f.Containers(ctx); return err },
		"Submit":     func() error { _, _, _, err := f.Submit(ctx, app("k", "")); return err },
		"find":       func() error { _, err := f.find(ctx, "key:k"); return err },
		"Restart":    func() error { _, err := f.Restart(ctx, "app", nil, time.Second, nil); return err },
	} {
		if err := ask(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestProbe: a container that runs no jobs answers a probe too.
func TestProbe(t *testing.T) {
	f, dir := newFleet(t)
	startFake(t, dir, "a", 0)
	all, err := f.containers()
	if err != nil || len(all) != 1 {
		t.Fatalf("%d %v", len(all), err)
	}
	all[0].silent = errNoAnswer
	waitFor(t, func() bool { return all[0].silence() == nil })
}

// TestFalseJob: a container has the job only if its answer is that job.
func TestFalseJob(t *testing.T) {
	t.Parallel()
	f, dir := newFleet(t)
	startFake(t, dir, "a", 9)
	liar := startFake(t, dir, "liar", 1)
	job, _, _, err := f.Submit(t.Context(), app("k", ""))
	if err != nil {
		t.Fatal(err)
	}
	answer := ""
	liar.before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v1/jobs/") {
			io.WriteString(w, answer)
		}
		return strings.HasPrefix(r.URL.Path, "/v1/jobs/")
	}
	for _, answer = range []string{"", "ok", "{}", `{"id": "1", "spec": {"key": "other", "command": ["true"]}}`} {
		for _, name := range []string{job.ID.String(), "key:k"} {
			if c, err := f.find(t.Context(), name); err != nil || c.name != "a" {
				t.Errorf("%q: %s is not found: %v", answer, name, err)
			}
		}
	}
	answer = `{"id": "1", "spec": {}}` // its container knows no more of it
	if has, err := f.known["liar"].has(t.Context(), "key:k"); err != nil || !has {
		t.Errorf("a damaged job is not there: %v", err)
	}
	answer = `{"id": "` + job.ID.String() + `"}` // what it says is believed
	var refused *api.StatusError
	if _, err := f.find(t.Context(), job.ID.String()); !errors.As(err, &refused) || refused.Code != "ambiguous" {
		t.Errorf("%v", err)
	}
	if _, err := f.known["liar"].has(t.Context(), "no ID"); err == nil || errors.Is(err, executor.ErrNoJob) {
		t.Errorf("%v", err)
	}
}
