package hooks

import (
	"context"
	"fmt"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/jvm"
)

func TestRegistry(t *testing.T) {
	onlyTest := func(b *ResolvedHook) { b.When.Env = map[string]jvm.StringList{"ENV": {"test"}} }
	b := NewRegistry([]ResolvedHook{newHook(lifecycle.Ready, "all", "x"), newHook(lifecycle.Ready, "db", "x", services("db", "cache")),
		newHook(lifecycle.Ready, "test", "x", onlyTest),
		newHook(lifecycle.Ready, "p", "x", plugin("jacoco")), newHook(lifecycle.Exit, "x", "x"),
		newHook(lifecycle.Init, "none", "x", services("db"))}, Facts{Env: map[string]string{"ENV": "prod"}})
	for _, tc := range []struct {
		event   lifecycle.Event
		service string
		want    string
	}{
		{lifecycle.Ready, "app", "[all jacoco/p]"}, {lifecycle.Ready, "db", "[all db jacoco/p]"}, {lifecycle.Ready, "cache",
			"[all db jacoco/p]"}, {lifecycle.Exit, "", "[x]"},
		{lifecycle.Init, "", "[]"}, {lifecycle.Stopped, "app", "[]"}, {"nonsense", "app", "[]"},
	} {
		names := []string{}
		for _, h := range b.For(tc.event, tc.service) {
			names = append(names, h.Title())
		}
		if got := fmt.Sprint(names); got != tc.want {
			t.Errorf("%s of %q: %s, want %s", tc.event, tc.service, got, tc.want)
		}
	}
	twice := NewRegistry([]ResolvedHook{newHook(lifecycle.Ready, "a", "x"), newHook(lifecycle.Ready, "a", "x"),
		newHook(lifecycle.Exit, "a", "x"),
		newHook(lifecycle.Ready, "a", "x", plugin("p"))}, Facts{}).For(lifecycle.Ready, "app")
	if len(twice) != 3 || twice[0].Name != "a" || twice[1].Name != "a#2" || twice[2].Name != "a" {
		t.Errorf("%+v", twice)
	}
	if all := b.All(); len(all) != 6 || all[2].Unmet != "env ENV is not test" || all[0].Unmet != "" {
		t.Errorf("%+v", all)
	}
}

func TestResolveConfig(t *testing.T) {
	hooks := byEvent(map[lifecycle.Event][]Hook{lifecycle.Ready: {{Name: "a", Command: []string{"x"}}, {File: "10-a"},
		{Name: "b", URL: "http://h/"}}, lifecycle.Init: {{Name: "i", Command: []string{"x"}}}})
	lists := &hooks
	var got []string
	for _, b := range ResolveConfig(lists, func(e lifecycle.Event, k int) string { return fmt.Sprintf("%s#%d", e, k) }) {
		got = append(got, fmt.Sprint(b.Source, " ", b.Event, " ", b.Name, " ", b.Timeout, " ", b.Method, " ", b.Share, " ", b.OnFailure))
	}
	wantEqual(t, "hooks", got, []string{"init#0 init i 30s  0.5 ignore", "ready#0 ready a 30s  0.5 ignore", "ready#2 ready b 30s POST 0.5 ignore"})
	for _, e := range lifecycle.Events() {
		lists.Lists[e.Index()] = []Hook{{Name: string(e)}}
	}
	for _, e := range lifecycle.Events() {
		if got := lists.Of(e); len(got) != 1 || got[0].Name != string(e) {
			t.Errorf("%s: %+v", e, got)
		}
	}
}

// TestEventWithoutHooks: it costs no write and no goroutine.
func TestEventWithoutHooks(t *testing.T) {
	h := newFakeHost()
	l := newTestRunner(t, h, Recovered{}, newHook(lifecycle.Ready, "r", "x"))
	for start := range uint64(3) {
		for _, e := range lifecycle.Events() {
			if e == lifecycle.Ready {
				continue
			}
			if err := l.Await(context.Background(), of(e, start+1)); err != nil || l.Wants(e, "app") {
				t.Errorf("%s: %v", e, err)
			}
		}
	}
	if h.puts != 0 || len(l.queues) != 0 {
		t.Errorf("%d writes, %d queues", h.puts, len(l.queues))
	}
}

func BenchmarkEventWithoutHooks(b *testing.B) {
	registry := NewRegistry([]ResolvedHook{newHook(lifecycle.Ready, "r", "x")}, Facts{})
	r := NewRunner(Options{Host: newFakeHost(), Log: hclog.NewNullLogger(), Registry: func() *Registry { return registry }})
	o := of(lifecycle.Started, 1)
	b.ReportAllocs()
	for b.Loop() {
		if r.Wants(lifecycle.Started, "app") {
			b.Fatal("it wants")
		}
		r.Tell(o)
	}
}

func TestLastLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"one":                           "one",
		"one\ntwo\n\n":                  "two",
		"why\nhint: do this\n":          "why",
		"why\nhint: this\nhint: that\n": "why",
		"hint: alone\n":                 "hint: alone",
	} {
		if got := lastLine(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
