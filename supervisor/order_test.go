package supervisor

import (
	"slices"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/supervisor/incident"
)

// defsOf reads "a>b,c;d" as: a requires b, c comes after... each definition is
// "name", "name>requires,..." or "name~after,...".
func defsOf(text string) []Definition {
	var out []Definition
	for part := range strings.SplitSeq(text, " ") {
		var d Definition
		if name, list, ok := strings.Cut(part, ">"); ok {
			d.Name, d.Config.Requires = name, strings.Split(list, ",")
		} else if name, list, ok := strings.Cut(part, "~"); ok {
			d.Name, d.Config.After = name, strings.Split(list, ",")
		} else {
			d.Name = part
		}
		out = append(out, d)
	}
	return out
}

func TestOrder(t *testing.T) {
	for _, c := range []struct{ defs, order, rank string }{
		{"c b a", "c b a", "000"},
		{"a>b b", "b a", "10"},
		{"a>b,c b~c c", "c b a", "210"},
		{"a~gone b", "a b", "00"},
		{"a>b b>a", "b a", ""}, // a cycle is refused elsewhere; here it only must end
	} {
		g := newGraph(defsOf(c.defs))
		if got := strings.Join(g.order, " "); got != c.order {
			t.Errorf("%s: order %q, want %q", c.defs, got, c.order)
		}
		rank := ""
		for _, name := range g.order {
			rank += string(rune('0' + g.rank[name]))
		}
		if c.rank != "" && rank != c.rank {
			t.Errorf("%s: ranks %s, want %s", c.defs, rank, c.rank)
		}
	}
}

func TestClosure(t *testing.T) {
	g := newGraph(defsOf("app>db,cache db>disk cache disk side~app"))
	if got := g.closure(g.requires, "app"); !slices.Equal(got, []string{"disk", "db", "cache"}) {
		t.Errorf("app requires %q", got)
	}
	if got := g.closure(g.requiredBy, "disk"); !slices.Equal(got, []string{"db", "app"}) {
		t.Errorf("disk is required by %q", got)
	}
}

func TestMayStartAndStop(t *testing.T) {
	ok := &incident.Exit{Success: true}
	at := func(st State) Snapshot { return Snapshot{State: st} }
	for _, c := range []struct {
		name        string
		other       Snapshot
		process     bool
		start, stop string // with "b>a"; what b waits for, and what a does
		after       string // with "b~a"; what b waits for
	}{
		{"running", at(Running), true, "", "b must stop first", ""},
		{"starting", at(Starting), true, "which it requires, is STARTING", "b must stop first", "which it comes after, is STARTING"},
		{"backoff", at(Backoff), false, "is BACKOFF", "b must stop first", "is BACKOFF"},
		{"failed", at(Fatal), false, "is FATAL", "b must stop first", ""},
		{"oneshot at work", Snapshot{State: Running, Oneshot: true}, true, "is RUNNING", "b must stop first", "is RUNNING"},
		{"oneshot that succeeded", Snapshot{State: Exited, Oneshot: true, Exit: ok}, false, "", "b must stop first", ""},
		{"oneshot that failed", Snapshot{State: Exited, Oneshot: true, Exit: &incident.Exit{Code: 1}}, false, "is EXITED", "b must stop first",
			""},
		{"on its way down", Snapshot{State: Stopping, then: Stopped}, true, "is STOPPING", "b must stop first", ""},
		{"being restarted", Snapshot{State: Stopping, then: Starting}, true, "is STOPPING", "b must stop first", "is STOPPING"},
	} {
		a, b := serviceWith("a", c.other, c.process), serviceWith("b", at(Running), true)
		b.cfg.Requires = []string{"a"}
		s := setOf(a, b)
		if got := s.mayStart("b"); c.start == "" && got != "" || !strings.Contains(got, c.start) {
			t.Errorf("%s: b waits for %q, want %q", c.name, got, c.start)
		}
		if got := s.mayStop("a"); !strings.Contains(got, c.stop) {
			t.Errorf("%s: a waits for %q, want %q", c.name, got, c.stop)
		}
		b.cfg.Requires, b.cfg.After = nil, []string{"a"}
		s = setOf(a, b)
		if got := s.mayStart("b"); c.after == "" && got != "" || !strings.Contains(got, c.after) {
			t.Errorf("%s: b follows, waits for %q, want %q", c.name, got, c.after)
		}
		if got := s.mayStop("a"); got != "" {
			t.Errorf("%s: a waits for %q, which only follows", c.name, got)
		}
		s.stopping.Store(1)
		if got := s.mayStop("a"); !strings.Contains(got, "b must stop first") {
			t.Errorf("%s: at the end of the container a does not wait", c.name)
		}
	}
}
