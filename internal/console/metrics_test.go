package console

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/stoker-init/stoker/internal/program"
)

func TestMetrics(t *testing.T) {
	var c counters
	for want, err := range map[string]error{"started": nil, "bad-spec": &SpecError{"dir", "x"}, "denied": fmt.Errorf("y: %w", ErrNotAllowed),
		"limit": &LimitError{"console.sessions", "x"}, "not-started": fmt.Errorf("z: %w", &program.StartError{}), "unavailable": errors.New("any")} {
		if got := resultOf(err); got != want || !slices.Contains(Results(), got) {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
		c.open(err)
	}
	c.open(fmt.Errorf("x: %w", ErrOff)) // is not counted
	c.open(nil)
	c.end(Info{StdinBytes: 1, StdoutBytes: 20, StderrBytes: 300})
	m := c.metrics([]Info{{StdinBytes: 5, StdoutBytes: 4000}, {Exit: &Exit{}, StdinBytes: 1, StdoutBytes: 20, StderrBytes: 300}})
	want := map[string]int64{"started": 2, "bad-spec": 1, "denied": 1, "limit": 1, "not-started": 1, "unavailable": 1}
	if m.Open != 1 || m.In != 6 || m.Out != 4320 || !reflect.DeepEqual(m.Opened, want) {
		t.Errorf("%+v", m)
	}
}
