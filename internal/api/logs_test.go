package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func nullLog() hclog.Logger { return hclog.NewNullLogger() }

func TestLogsAsLinesOfJSON(t *testing.T) {
	c, _ := stage(t)
	got := ask(t, c.socket, -1, "GET", "/v1/services/talk/logs?n=2")
	lines := strings.Split(got.body, "\n")
	if got.kind != "application/x-ndjson" || len(lines) != 2 ||
		!strings.HasPrefix(lines[0], `{"stream":"stdout","time":"`) || !strings.HasSuffix(lines[0], `"text":"two","offset":8}`) {
		t.Errorf("%s\n%s", got.kind, got.body)
	}
	if !strings.HasSuffix(lines[1], `"bytes":"dGhyZWUg/w==","offset":16}`) {
		t.Errorf("what is not UTF-8 comes as %s", lines[1])
	}
	all, err := read(c, "talk", 100)
	if err != nil || len(all) != 3 || all[0].Text != "one" || string(all[2].Bytes) != "three \xff" || time.Since(all[0].Time) > time.Minute {
		t.Errorf("%+v, %v", all, err)
	}
	for _, n := range []string{"-1", "x", "99999999999999999999"} {
		if got := ask(t, c.socket, -1, "GET", "/v1/services/talk/logs?n="+n); got.status != 400 ||
			!strings.Contains(got.body, `"code":"bad-request"`) {
			t.Errorf("n=%s: %d %s", n, got.status, got.body)
		}
	}
	for query, want := range map[string]int{"since=10m": 3, "since=10m&n=2": 2, "since=0s": 0, "since=2099-01-01T00:00:00%2B02:00": 0,
		"since=1999-01-01T00:00:00.5Z&n=1": 1} {
		if got := ask(t, c.socket, -1, "GET", "/v1/services/talk/logs?"+query); got.status != 200 || strings.Count(got.body, `"offset"`) != want {
			t.Errorf("%s: %d %q, want %d lines", query, got.status, got.body, want)
		}
	}
	for _, since := range []string{"-1s", "yesterday", "12:00", "1999-01-01"} {
		if got := ask(t, c.socket, -1, "GET", "/v1/services/talk/logs?since="+since); got.status != 400 ||
			!strings.Contains(got.body, "want a time such as") {
			t.Errorf("since=%s: %d %s", since, got.status, got.body)
		}
	}
	if got := ask(t, c.socket, -1, "GET", "/v1/services/talk/logs?n=0"); got.status != 200 || got.body != "" {
		t.Errorf("no line at all: %d %q", got.status, got.body)
	}
}

// TestLogsAsEvents: each event has the offset where to go on as its id, and a
// client that comes back with it misses nothing and sees nothing twice.
func TestLogsAsEvents(t *testing.T) {
	c, more := stage(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/v1/services/talk/logs?n=1&follow", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	events := bufio.NewReader(resp.Body)
	event := func() string {
		var text string
		for {
			line, err := events.ReadString('\n')
			if err != nil {
				t.Fatalf("%v after %q", err, text)
			}
			if line == "\n" {
				return text
			}
			text += line
		}
	}
	if got := event(); got != "id: 8\n" { // where it begins, for a client that sees no line
		t.Errorf("the beginning is %q", got)
	}
	if got := event(); !strings.HasPrefix(got, "id: 16\ndata: {") || strings.Count(got, "\n") != 2 {
		t.Errorf("the first event is %q", got)
	}
	more("four")
	if got := event(); !strings.HasPrefix(got, "id: 21\ndata: {") || !strings.Contains(got, `"text":"four"`) {
		t.Errorf("the next event is %q", got)
	}
	resp.Body.Close()
	more("five")
	more("six")

	var texts []string
	enough := errors.New("enough")
	err = c.Logs(ctx, &LogQuery{Service: "talk", Lines: 1, Following: Following{Follow: true, After: 21}}, func(l LogLine) error {
		if texts = append(texts, l.Text); len(texts) == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || fmt.Sprint(texts) != "[five six]" {
		t.Errorf("resumed behind 21: %q, %v", texts, err)
	}
	texts = nil
	err = c.Logs(ctx, &LogQuery{Service: "talk", Lines: 100, Following: Following{Follow: true, After: 8}}, func(l LogLine) error {
		if texts = append(texts, l.Text+string(l.Bytes)); len(texts) == 4 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || strings.Join(texts, "|") != "three \xff|four|five|six" {
		t.Errorf("resumed behind 8: %q, %v", texts, err)
	}
}
