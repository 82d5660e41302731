package api

import (
	"os"
	"testing"
)

// TestRoomForTheOperator: root connects while eight users have all the connections that each may have.
func TestRoomForTheOperator(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can connect as another user")
	}
	path := serve(t, newFake())
	for uid := range 8 {
		for range maxOfUser {
			conn, err := as(4700+uid, path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
	}
	if got := ask(t, path, 0, "GET", "/v1/services"); got.status != 200 {
		t.Errorf("root gets %d %s", got.status, got.body)
	}
}

// TestPlaces: a user cannot take the places of other users, or of admins.
func TestPlaces(t *testing.T) {
	l := &connLimiter{open: map[int]int{}}
	root, confined := peer{uid: 0}, peer{uid: 0, confined: "it belongs to a service"}
	const greedy = 4444
	fill := func(p peer) (n int) {
		for l.acquire(p) {
			n++
		}
		return n
	}
	if n := fill(peer{uid: greedy}); n != maxOfUser {
		t.Errorf("%d connections of one user, want %d", n, maxOfUser)
	}
	if n := fill(confined); n != maxOfUser {
		t.Errorf("%d connections of confined processes, want %d", n, maxOfUser)
	}
	for uid := range 100 {
		fill(peer{uid: 5000 + uid})
	}
	if n := fill(root); n != maxOfAll-maxOfOthers {
		t.Errorf("%d connections of root beside all others, want %d", n, maxOfAll-maxOfOthers)
	}
	l.release(peer{uid: greedy})
	if !l.acquire(root) {
		t.Error("a released place is not free")
	}
	if l.acquire(peer{uid: 6000}) {
		t.Error("a connection above the limit")
	}
}
