package executor

import "testing"

func TestFinal(t *testing.T) {
	final := 0
	for _, s := range append(States(), "", "LATER") {
		if s.Final() {
			final++
		}
	}
	if final != 7 || State("").Final() || State("LATER").Final() || Stopping.Final() || !Succeeded.Final() {
		t.Errorf("%d states are final", final)
	}
}
