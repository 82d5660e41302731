package api

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/supervisor/incident"
)

func TestIncidents(t *testing.T) {
	b := newFake()
	path := serve(t, b, 4711)
	if got := ask(t, path, -1, "GET", "/v1/incidents"); got.status != 200 || got.body != `{"incidents":[]}` {
		t.Errorf("%d %s", got.status, got.body)
	}
	want := incident.Incident{Summary: incident.Summary{Number: 7, Service: "app", At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Cause: incident.CauseCore, Reason: "why"},
		Exit:       &incident.Exit{Code: -1, Signal: 11},
		Output:     []byte("last <words>\xff"),
		ThreadDump: []byte("dump"),
		Files:      []incident.File{{Kind: incident.FileCore, Path: "/core"}}}
	b.broken = []incident.Incident{want}
	for _, c := range []struct {
		target string
		status int
		want   string
	}{
		{"/v1/incidents", 200, `{"incidents":[{"number":7,"service":"app","at":"2026-03-01T12:00:00Z","cause":"core","reason":"why","start":0}]}`},
		{"/v1/incidents/7", 200, `"thread_dump":"dump"`},
		{"/v1/incidents/8", 404, `{"error":{"code":"no-such-incident","message":"there is no incident 8","hint":"stoker incidents lists those that are kept, the last ten"}}`},
		{"/v1/incidents/-1", 400, `"code":"bad-request"`},
		{"/v1/incidents/x", 400, `"message":"\"x\" is not the number of an incident"`},
	} {
		if got := ask(t, path, -1, "GET", c.target); got.status != c.status || !strings.Contains(got.body, c.want) {
			t.Errorf("%s: %d %s, want %d %s", c.target, got.status, got.body, c.status, c.want)
		}
	}
	if os.Getuid() == 0 {
		if got := ask(t, path, 4711, "GET", "/v1/incidents"); got.status != 200 || strings.Contains(got.body, "words") {
			t.Errorf("a viewer gets %d %s", got.status, got.body)
		}
		if got := ask(t, path, 4711, "GET", "/v1/incidents/7"); got.status != 403 || strings.Contains(got.body, "words") {
			t.Errorf("a viewer gets %d %s", got.status, got.body)
		}
	}
	c := NewClient(path)
	list, err := c.Incidents(context.Background())
	if err != nil || len(list.Incidents) != 1 || list.Incidents[0] != want.Summary {
		t.Errorf("%+v, %v", list, err)
	}
	got, err := c.Incident(context.Background(), 7)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	var refused *StatusError
	if _, err := c.Incident(context.Background(), 9); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("%v", err)
	}
}
