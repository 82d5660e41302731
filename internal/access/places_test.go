package access

import "testing"

// TestPlaces: a user cannot take the places of other users, or of admins.
func TestPlaces(t *testing.T) {
	l := new(places)
	root, confined := process{uid: 0}, process{uid: 0, confined: "it belongs to a service"}
	const greedy = 4444
	fill := func(p process) (n int) {
		for l.acquire(p) {
			n++
		}
		return n
	}
	if n := fill(process{uid: greedy}); n != maxOfUser {
		t.Errorf("%d connections of one user, want %d", n, maxOfUser)
	}
	if n := fill(confined); n != maxOfUser {
		t.Errorf("%d connections of confined processes, want %d", n, maxOfUser)
	}
	for uid := range 100 {
		fill(process{uid: 5000 + uid})
	}
	if n := fill(root); n != MaxOfSocket-maxOfOthers {
		t.Errorf("%d connections of root beside all others, want %d", n, MaxOfSocket-maxOfOthers)
	}
	l.release(process{uid: greedy})
	if !l.acquire(root) {
		t.Error("a released place is not free")
	}
	if l.acquire(process{uid: 6000}) {
		t.Error("a connection above the limit")
	}
}
