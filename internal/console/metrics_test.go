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
	m := &Manager{metrics: Metrics{Opened: map[string]int64{}}}
	for want, err := range map[string]error{"started": nil, "bad-spec": &SpecError{"dir", "x"}, "denied": fmt.Errorf("y: %w", ErrNotAllowed),
		"limit": &LimitError{"console.sessions", "x"}, "not-started": fmt.Errorf("z: %w", &program.StartError{}), "unavailable": errors.New("any")} {
		if got := resultOf(err); got != want || !slices.Contains(Results(), got) {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
		m.count(err)
	}
	m.count(fmt.Errorf("x: %w", ErrOff)) // is not counted
	m.count(nil)
	ended := Info{Exit: &Exit{}, StdinBytes: 1, StdoutBytes: 20, StderrBytes: 300}
	m.metrics.add(ended) // as forget does
	m.sessions = map[string]*Session{"runs": {saved: saved{Info: Info{StdinBytes: 5, StdoutBytes: 4000}}},
		"read": {saved: saved{Info: ended}}}
	want := map[string]int64{"started": 2, "bad-spec": 1, "denied": 1, "limit": 1, "not-started": 1, "unavailable": 1}
	if got := m.Metrics(); got.Open != 1 || got.In != 7 || got.Out != 4640 || !reflect.DeepEqual(got.Opened, want) {
		t.Errorf("%+v", got)
	}
}
