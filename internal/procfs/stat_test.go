package procfs

import "testing"

func TestParseStat(t *testing.T) {
	tail := " S 7 100 200 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2"
	for _, name := range []string{"java", "a b", "x) R 1 (", ""} {
		got, ok := parseStat([]byte("42 (" + name + ")" + tail))
		want := Stat{Comm: name, State: 'S', Parent: 7, Pgrp: 100, Session: 200, Start: 98765}
		if !ok || got != want {
			t.Errorf("%q: got %+v %v", name, got, ok)
		}
	}
	for _, bad := range []string{"", "42", "42 (x", "42 (x) S", "42 (x) S a b c", ")("} {
		if _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (sh) S 7 100 200 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2"))
	f.Fuzz(func(t *testing.T, data []byte) { parseStat(data) })
}
