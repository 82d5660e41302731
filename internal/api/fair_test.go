package api

import (
	"os"
	"testing"
)

// One user's connections do not take the places of others.
func TestFairListener(t *testing.T) {
	l := &fairListener{open: map[int]int{}}
	const greedy = 4444
	for k := range maxOfUser {
		if !l.take(greedy) {
			t.Fatalf("connection %d of a user was refused", k)
		}
	}
	if l.take(greedy) {
		t.Error("one connection too many of a user was accepted")
	}
	for k := range maxOfAll - maxOfUser {
		if !l.take(os.Getuid()) {
			t.Fatalf("connection %d of our own was refused", k)
		}
	}
	if l.take(os.Getuid()) {
		t.Error("one connection too many was accepted")
	}
	l.give(greedy)
	if !l.take(greedy) {
		t.Error("a place that was given back is not free")
	}
}
