package lifecycle

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for k, e := range Events() {
		if got, ok := Parse(string(e)); !ok || got != e || e.Index() != k || Names()[k] != string(e) {
			t.Errorf("%s: parsed as %q, %v, with index %d", e, got, ok, e.Index())
		}
	}
	if _, ok := Parse("restarted"); ok {
		t.Error("an unknown name is an event")
	}
	if e := Event("restarted"); e.Blocking() || e.OfService() || e.CanFail() {
		t.Error("an unknown event has properties")
	}
}

// TestEventsAreDocumented compares the table of docs/reference/hooks.md with ours.
func TestEventsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/reference/hooks.md")
	if err != nil {
		t.Fatal(err)
	}
	scopes := map[Scope]string{ScopeContainer: "container", ScopeService: "service", ScopeJob: "job"}
	waits := map[bool]string{true: "yes", false: "no"}
	documented := map[Event][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if len(cells) != 4 {
			continue
		}
		for name := range strings.SplitSeq(cells[0], ", ") {
			documented[Event(strings.Trim(name, "`"))] = cells[2:]
		}
	}
	for _, e := range Events() {
		if want := []string{scopes[e.Scope()], waits[e.Blocking()]}; !slices.Equal(documented[e], want) {
			t.Errorf("docs/reference/hooks.md says %q of %s, want %q", documented[e], e, want)
		}
	}
}
