package api

import (
	"os"
	"testing"
)

// Eight users with all the connections that each may have, and root beside them.
func TestRoomForTheOperator(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can ask in another's name")
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
		t.Errorf("root is answered by %d %s", got.status, got.body)
	}
}

// The connections of others than admins do not take each other's places, nor the
// admins'.
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
		t.Error("a place that was given back is not free")
	}
	if l.acquire(peer{uid: 6000}) {
		t.Error("one connection too many")
	}
}
