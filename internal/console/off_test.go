package console

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stoker-init/stoker/internal/fdstore"
)

// TestOff: a console that is off opens nothing, and has no goroutine: the bubble would not end.
func TestOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{Host: fakeHost{}, Store: fakeStore{}, Items: fdstore.NewItems()})
		if m.Enabled() {
			t.Error("it is on")
		}
		if _, err := m.Open(t.Context(), Spec{Command: []string{"true"}}, tester()); !errors.Is(err, ErrOff) {
			t.Errorf("open: %v", err)
		}
		if _, err := m.Session("abc"); !errors.Is(err, ErrOff) || len(m.Sessions()) != 0 {
			t.Errorf("session: %v", err)
		}
		synctest.Wait()
	})
}
