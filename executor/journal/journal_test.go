package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustOpen(t testing.TB, dir string, o Options) (*Journal, []Unfinished) {
	t.Helper()
	j, u, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() }) // once more is no error
	return j, u
}

func mustAppend(t testing.TB, j *Journal, id uint64, key string, kind Kind, data string) {
	t.Helper()
	if err := j.Append(Record{ID: id, Key: key, Kind: kind, Data: []byte(data)}).Wait(); err != nil {
		t.Fatal(err)
	}
}

func mustClose(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// summary writes unfinished entries for comparison: "1 A:one B:two?".
func summary(unfinished []Unfinished) string {
	var lines []string
	for _, u := range unfinished {
		text := fmt.Sprint(u.ID)
		for _, r := range u.Records {
			text += fmt.Sprintf(" %c:%s", r.Kind, r.Data)
		}
		if u.Uncertain != "" {
			text += "?"
		}
		lines = append(lines, text)
	}
	return strings.Join(lines, "; ")
}

func TestEntriesSurvive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "jobs")
	now := time.UnixMilli(1700000000123)
	j, u := mustOpen(t, dir, Options{Now: func() time.Time { return now }})
	if len(u) != 0 {
		t.Fatalf("a new journal has %v", u)
	}
	mustAppend(t, j, 1, "one", Accepted, `{"a":1}`)
	mustAppend(t, j, 2, "", Accepted, "two")
	mustAppend(t, j, 1, "", Begun, "begun")
	mustAppend(t, j, 7, "one", Accepted, strings.Repeat("x", 300<<10))
	mustAppend(t, j, 2, "", Ended, "end")
	check := func() {
		t.Helper()
		if got := j.Find("one"); !slices.Equal(got, []uint64{7, 1}) {
			t.Errorf("Find: %v", got)
		}
		if got := j.Find(""); got != nil {
			t.Errorf("Find without a key: %v", got)
		}
		if got := j.Before(0, 2); !slices.Equal(got, []uint64{7, 2}) {
			t.Errorf("Before(0, 2): %v", got)
		}
		if got := j.Before(7, 9); !slices.Equal(got, []uint64{2, 1}) {
			t.Errorf("Before(7, 9): %v", got)
		}
		first, newest, err := j.Read(2)
		if err != nil || string(first.Data) != "two" || string(newest.Data) != "end" || newest.Kind != Ended || !newest.Time.Equal(now) {
			t.Errorf("Read: %v %v %v", first, newest, err)
		}
		if _, _, err := j.Read(3); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Read of an unknown entry: %v", err)
		}
		if s := j.Stats(); s.Entries != 3 || s.Unfinished != 2 || s.LastID != 7 || len(s.Damage) != 0 {
			t.Errorf("Stats: %+v", s)
		}
	}
	check()
	mustClose(t, j)
	j, u = mustOpen(t, dir, Options{})
	check()
	if got, want := summary(u), "1 A:{\"a\":1} B:begun; 7 A:"+strings.Repeat("x", 300<<10); got != want {
		t.Errorf("unfinished: %.200s", got)
	}
	for name, mode := range map[string]fs.FileMode{".": 0o700, "00000001.journal": 0o600, "lock": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	j, _ := mustOpen(t, t.TempDir(), Options{})
	mustAppend(t, j, 5, "", Accepted, "")
	mustAppend(t, j, 5, "", Ended, "")
	for _, test := range []struct {
		r    Record
		want string
	}{
		{Record{ID: 6, Kind: Accepted, Data: []byte("a\nb")}, "more than one line"},
		{Record{ID: 6, Kind: Begun}, "unknown"},
		{Record{ID: 4, Kind: Accepted}, "ID above 5"},
		{Record{Kind: Accepted}, "ID above 5"},
		{Record{ID: 5, Kind: Begun}, "has ended"},
		{Record{ID: 5, Kind: '?'}, "kind '?'"},
		{Record{ID: 6, Kind: Accepted, Data: make([]byte, MaxData+1)}, "67108865 bytes"},
	} {
		if err := j.Append(test.r).Wait(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.r.Kind, err, test.want)
		}
	}
	mustAppend(t, j, 5, "", Ended, "again")
	mustClose(t, j)
	if err := j.Append(Record{ID: 6, Kind: Accepted}).Wait(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// fast are options of a journal that does not wait for the disk.
func fast(segment int64) Options {
	files := realFiles()
	files.sync = func(*os.File) error { return nil }
	files.folder = files.sync
	files.allocate = reserveSpace
	return Options{SegmentBytes: segment, files: files}
}

// copyDir copies the files of a journal.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// small makes a journal with one entry in each situation, in two segments, without the space that is allocated ahead.
func small(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	j, _ := mustOpen(t, dir, fast(800))
	mustAppend(t, j, 1, "k1", Accepted, `{"waits":1}`)
	mustAppend(t, j, 2, "k2", Accepted, `{"runs":2}`)
	mustAppend(t, j, 3, "k3", Accepted, `{"ends":3}`)
	mustAppend(t, j, 2, "", Begun, `{}`)
	mustAppend(t, j, 3, "", Begun, `{}`)
	mustAppend(t, j, 3, "", Ended, `{}`)
	mustAppend(t, j, 4, "k4", Accepted, `{"waits":4}`)
	mustAppend(t, j, 5, "k5", Accepted, `{"runs":5}`)
	mustAppend(t, j, 5, "", Begun, `{"last":true}`)
	end := j.end
	mustClose(t, j)
	if err := os.Truncate(j.path(2), end); err != nil {
		t.Fatal(err)
	}
	return dir
}

// begun are the entries of small that must not be started again.
func begun() []uint64 { return []uint64{2, 3, 5} }

// checkHurt opens a journal that was made by small and damaged. No entry that has begun may look as if it waits, now and when it
// is opened once more, and each whose header survived is found by its key. It returns how many damages are reported at first.
func checkHurt(t *testing.T, dir, what string) (damages int) {
	t.Helper()
	before := ""
	for round := range 2 {
		j, unfinished, err := Open(dir, fast(800))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, u := range unfinished {
			waits := u.Uncertain == "" && (len(u.Records) == 0 || u.Records[len(u.Records)-1].Kind == Accepted)
			if waits && slices.Contains(begun(), u.ID) {
				t.Errorf("%s: round %d: %d would be started again: %s", what, round, u.ID, summary(unfinished))
			}
		}
		for _, id := range begun() {
			// One fault leaves each of them a record, but for the last one when it is cut.
			if got := j.Find(fmt.Sprintf("k%d", id)); !slices.Equal(got, []uint64{id}) {
				t.Errorf("%s: round %d: k%d is not found: %v", what, round, id, got)
			}
		}
		if round > 0 && summary(unfinished) != before {
			t.Errorf("%s: round %d: %s, was %s", what, round, summary(unfinished), before)
		}
		before = summary(unfinished)
		if round == 0 {
			damages = len(j.Stats().Damage)
			// The journal can be used.
			mustAppend(t, j, 99, "new", Accepted, "new")
			mustAppend(t, j, 99, "new", Ended, "new")
		} else if _, newest, err := j.Read(99); err != nil || newest.Kind != Ended {
			t.Errorf("%s: the new entry: %v %v", what, newest, err)
		}
		mustClose(t, j)
	}
	return damages
}

// With STOKER_JOURNAL_BITS=all it is every bit, else every seventh.
func TestEveryFlippedBit(t *testing.T) {
	origin := small(t)
	for _, name := range []string{"00000001.journal", "00000002.journal", "lock"} {
		content, err := os.ReadFile(filepath.Join(origin, name))
		if err != nil {
			t.Fatal(err)
		}
		for bit := range len(content) * 8 {
			if os.Getenv("STOKER_JOURNAL_BITS") == "" && bit%7 != 0 {
				continue
			}
			dir := copyDir(t, origin)
			bad := slices.Clone(content)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(filepath.Join(dir, name), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if checkHurt(t, dir, fmt.Sprintf("bit %d of %s", bit, name)) == 0 {
				t.Errorf("bit %d of %s is not reported", bit, name)
			}
			_ = os.RemoveAll(dir) // soon, as there are many
		}
	}
}

func TestEveryCut(t *testing.T) {
	origin := small(t)
	for _, name := range []string{"00000001.journal", "00000002.journal"} {
		info, err := os.Stat(filepath.Join(origin, name))
		if err != nil {
			t.Fatal(err)
		}
		for n := range int64(65) {
			for _, zeros := range []int64{0, 1, 4096} {
				dir := copyDir(t, origin)
				path := filepath.Join(dir, name)
				if err := errors.Join(os.Truncate(path, info.Size()-n), os.Truncate(path, info.Size()-n+zeros)); err != nil {
					t.Fatal(err)
				}
				checkHurt(t, dir, fmt.Sprintf("%s without %d bytes, with %d zeros", name, n, zeros))
				_ = os.RemoveAll(dir)
			}
		}
	}
}
