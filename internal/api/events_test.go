package api

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/fdstore"
)

// noStore is an fd store that keeps nothing.
type noStore struct{}

func (noStore) PutFile(string, []byte, syscall.Conn) error { return nil }

func newJournal(t *testing.T) *events.Journal {
	t.Helper()
	return events.Resume(noStore{}, fdstore.Items{}, true, func(text string) { t.Error(text) })
}

func TestEventsAsLinesOfJSON(t *testing.T) {
	j := newJournal(t)
	path := serveWith(t, newFake(), j, 4711)
	if got := ask(t, path, -1, "GET", "/v1/events"); got.status != 200 || got.kind != "application/x-ndjson" || got.body != "" {
		t.Errorf("without an event: %+v", got)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	j.Append(events.Event{Kind: "started", Service: "app", Start: 1, Pid: 42, Time: at})
	j.Append(events.Event{Kind: "ready", Service: "app", Start: 1, Time: at})
	j.Append(events.Event{Kind: "started", Service: "db", Start: 1, Time: at})
	j.Append(events.Event{Kind: "hook", Service: "db", Start: 1, Time: at,
		Hook: &events.Hook{Event: "started", Name: "a", Output: "pass<word"}})
	for _, test := range []struct {
		query string
		ids   string
	}{{"", "[1 2 3 4]"}, {"n=0", "[]"}, {"n=3", "[2 3 4]"}, {"n=2&service=app", "[1 2]"}, {"kind=started&kind=hook", "[1 3 4]"},
		{"service=db&kind=started", "[3]"}, {"service=none", "[]"}} {
		got := ask(t, path, -1, "GET", "/v1/events?"+test.query)
		var ids []string
		for _, line := range strings.Split(got.body, "\n") {
			if id, _, ok := strings.Cut(strings.TrimPrefix(line, `{"id":`), ","); ok {
				ids = append(ids, id)
			}
		}
		if fmt.Sprint(ids) != test.ids {
			t.Errorf("%s: %v, want %s\n%s", test.query, ids, test.ids, got.body)
		}
	}
	got := ask(t, path, -1, "GET", "/v1/events?n=1")
	if want := `{"id":4,"time":"2026-01-02T03:04:05Z","kind":"hook","service":"db","start":1,"hook":{"event":"started","name":"a",` +
		`"ok":false,"tries":0,"code":0,"took_ns":0,"output":"pass\u003cword"}}`; got.body != want {
		t.Errorf("%s, want\n%s", got.body, want)
	}
	for query, want := range map[string]string{"n=-1": "want a number", "n=x": "want a number", "kind=nonsense": "there is no kind of event"} {
		if got := ask(t, path, -1, "GET", "/v1/events?"+query); got.status != 400 || !strings.Contains(got.body, want) {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
}

// TestOutputOfHooksIsForAdministrators: it may hold secrets, as in incidents.
func TestOutputOfHooksIsForAdministrators(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as another user")
	}
	j := newJournal(t)
	j.Append(events.Event{Kind: "hook", Hook: &events.Hook{Event: "init", Name: "a", Output: "password"}})
	path := serveWith(t, newFake(), j, 4711)
	if got := ask(t, path, 4711, "GET", "/v1/events"); got.status != 200 || strings.Contains(got.body, "password") ||
		!strings.Contains(got.body, `"name":"a"`) {
		t.Errorf("a viewer gets %d %s", got.status, got.body)
	}
	if got := ask(t, path, 0, "GET", "/v1/events"); !strings.Contains(got.body, "password") {
		t.Errorf("root gets %s", got.body)
	}
}

// TestFollowedEvents: a client that resumes after its last event misses none and gets none
// twice.
func TestFollowedEvents(t *testing.T) {
	j := newJournal(t)
	c := NewClient(serveWith(t, newFake(), j))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for k := range 5 {
		j.Append(events.Event{Kind: "ready", Service: []string{"app", "db"}[k%2], Start: uint64(k)})
	}
	enough := errors.New("enough")
	var began []int64
	follow := func(q EventQuery, n int, each func(id uint64)) string {
		t.Helper()
		var ids []uint64
		q.Follow = true
		err := c.Events(ctx, &q, func(e events.Event) error {
			if len(ids) == 0 {
				began = append(began, q.After)
			}
			if each != nil {
				each(e.ID)
			}
			if ids = append(ids, e.ID); len(ids) == n {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatalf("after %v: %v", ids, err)
		}
		return fmt.Sprint(ids)
	}
	more := func(id uint64) { // new events while it follows
		if id == 5 {
			j.Append(events.Event{Kind: "exited", Service: "db", Start: 9})
			j.Append(events.Event{Kind: "exited", Service: "app", Start: 9})
		}
	}
	if got := follow(EventQuery{Last: 2}, 4, more); got != "[4 5 6 7]" {
		t.Errorf("the last two and new ones: %s", got)
	}
	if got := follow(EventQuery{Last: 100, Following: Following{After: 4}}, 3, nil); got != "[5 6 7]" {
		t.Errorf("behind 4: %s", got)
	}
	if got := follow(EventQuery{Filter: events.Filter{Services: []string{"app"}}, Following: Following{After: 1}}, 3, nil); got != "[3 5 7]" {
		t.Errorf("of app behind 1: %s", got)
	}
	if got := follow(EventQuery{Following: Following{After: 4711}}, 7, nil); got != "[1 2 3 4 5 6 7]" {
		t.Errorf("behind another container's: %s", got)
	}
	if fmt.Sprint(began) != "[3 4 1 4711]" {
		t.Errorf("they started after %v", began)
	}
}
