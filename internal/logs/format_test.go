package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestAppendLine(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 5000, time.FixedZone("", 3600))
	p := func(text string, begins, ends bool) Line {
		return Line{Stream: Stderr, Time: at, Text: []byte(text), continued: !begins, Open: !ends}
	}
	const head = `{"time":"2026-01-31T11:00:00.000005Z","service":"web","stream":"stderr",`
	for _, c := range []struct {
		f    Format
		p    Line
		want string
	}{
		{FormatPrefix, p("a", true, true), "web | a\n"},
		{FormatPrefix, p("", true, true), "web | \n"},
		{FormatPrefix, p("a", true, false), "web | a"},
		{FormatPrefix, p("b", false, true), "b\n"},
		{FormatPrefix, p("\xff\x00", true, true), "web | \xff\x00\n"},
		{FormatJSON, p("a", true, true), head + `"text":"a"}` + "\n"},
		{FormatJSON, p("", false, true), head + `"text":""}` + "\n"},
		{FormatJSON, p("a", true, false), head + `"text":"a","partial":true}` + "\n"},
		{FormatJSON, p("\"\\\t\r\x01\x1f\x7fé☃😀<&>\u2028", true, true), head + `"text":"\"\\\t\r\u0001\u001f` + "\x7fé☃😀<&>" + `\u2028"}` + "\n"},
		{FormatJSON, p("\xff", true, true), head + `"bytes":"/w=="}` + "\n"},
	} {
		if got := string(appendLine([]byte("x"), c.f, "web", c.p)); got != "x"+c.want {
			t.Errorf("%s %+v: %q, want %q", c.f, c.p, got[1:], c.want)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add("web", []byte("text"), true)
	f.Add("a\"b", []byte("\x00\xff\\"), false)
	f.Fuzz(func(t *testing.T, service string, text []byte, ends bool) {
		service = strings.ToValidUTF8(service, "")
		line := appendLine(nil, FormatJSON, service, Line{Stream: Stdout, Time: time.Now(), Text: text, Open: !ends})
		var o struct {
			Service, Text string
			Bytes         []byte
			Partial       bool
		}
		if err := json.Unmarshal(line, &o); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if o.Service != service || o.Text+string(o.Bytes) != string(text) || o.Partial == ends || bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Errorf("%q of %q", line, text)
		}
	})
}

// An assembler emits every line whole and in order, however the lines are cut into segments
// and wherever another assembler continues at the saved position.
func FuzzLineAssembler(f *testing.F) {
	f.Add([]byte("a\nb\nccc\n\nd"), uint8(3), uint8(2))
	f.Add(bytes.Repeat([]byte("é"), MaxLine), uint8(200), uint8(7))
	f.Fuzz(func(t *testing.T, text []byte, step, room uint8) {
		l, err := newLog("x", Options{Keep: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer l.release()
		var want, got [2][]byte
		now := time.Now()
		size := 1 + int(step)*max(1, len(text)/1000)
		for k := 0; len(text) > 0; k++ {
			n := min(size, len(text))
			l.ix.begin(l.end, k%2+1, now.Add(time.Duration(k)*time.Second), l.end)
			if _, err := unix.Write(l.data, text[:n]); err != nil {
				t.Fatal(err)
			}
			l.end += int64(n)
			want[k%2] = append(want[k%2], text[:n]...)
			text = text[n:]
		}
		a := assembleAt(0)
		buf := make([]byte, 4<<10)
		add := func(p Line) bool {
			k := p.Stream - 1
			if whole := len(got[k]) == 0 || got[k][len(got[k])-1] == '\n'; whole == p.continued {
				t.Fatalf("a line has continued %v behind %.20q", p.continued, got[k][max(0, len(got[k])-20):])
			}
			if len(p.Text) > MaxLine || bytes.IndexByte(p.Text, '\n') >= 0 {
				t.Fatalf("a line of %d bytes", len(p.Text))
			}
			if got[k] = append(got[k], p.Text...); !p.Open {
				got[k] = append(got[k], '\n')
			}
			return true
		}
		refuse := func(Line) bool { return false }
		for {
			n, seg, _ := l.read(buf, a.pos, nil)
			if n == 0 {
				break
			}
			left := int(room) + 1
			a.take(buf[:n], seg, func(p Line) bool {
				left--
				return left >= 0 && add(p)
			})
			var p position
			a.save(&p)
			was := a
			for a = assembleFrom(p); a.pos < was.pos; { // only held fragments are read again
				n, seg, _ := l.read(buf, a.pos, nil)
				if n = min(n, int(was.pos-a.pos)); a.take(buf[:n], seg, refuse) < n {
					t.Fatal("a line is emitted twice")
				}
			}
			if !bytes.Equal(a.part[0], was.part[0]) || !bytes.Equal(a.part[1], was.part[1]) {
				t.Fatalf("%q and %q are held, want %q and %q", a.part[0], a.part[1], was.part[0], was.part[1])
			}
		}
		a.emitHeld(0, add)
		a.emitHeld(1, add)
		if !bytes.Equal(got[0], want[0]) || !bytes.Equal(got[1], want[1]) {
			t.Errorf("%q and %q, want %q and %q", got[0], got[1], want[0], want[1])
		}
	})
}

// fill writes to a log as a service would: stream 1 or 2 and text, a second apart.
func fill(t *testing.T, l *Log, first time.Time, parts ...string) {
	t.Helper()
	for k, p := range parts {
		l.ix.begin(l.end, int(p[0]-'0'), first.Add(time.Duration(k)*time.Second), l.end)
		n, err := unix.Write(l.data, []byte(p[1:]))
		if err != nil {
			t.Fatal(err)
		}
		l.end += int64(n)
		if err := l.count(n); err != nil {
			t.Fatal(err)
		}
	}
}

// A reader that resumes after any line gets the rest, each line whole and once.
func TestResumeAfterAnyLine(t *testing.T) {
	l, err := newLog("x", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	fill(t, l, time.Now(), "1a\nbeg", "2x\ny", "1in", "2es\nz", "1ning\nlast\nopen", "2ebra\n", "1ed\n")
	var all []string
	var ends []int64
	lines := func(from, behind int64) (out []string) {
		l.Lines(t.Context(), from, false, func(l Line) error {
			if l.Offset > behind {
				out = append(out, fmt.Sprint(l.Stream, string(l.Text)))
				ends = append(ends, l.Offset)
			}
			return nil
		})
		return out
	}
	all = lines(0, 0)
	for k, end := range slices.Clone(ends) {
		if k == len(all)-1 {
			break
		}
		if got := lines(l.ResumeOffset(end), end); !slices.Equal(got, all[k+1:]) {
			t.Errorf("behind %q at %d: %q, want %q", all[k], end, got, all[k+1:])
		}
	}
}

func TestSinceOffset(t *testing.T) {
	l, err := newLog("x", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	first := time.Now().Add(-time.Hour)
	fill(t, l, first, "1one\n", "1two\nthr", "1ee\n", "1four\n")
	for since, want := range map[time.Duration]string{-time.Hour: "one two three four", 0: "one two three four",
		time.Millisecond: "two three four", 1500 * time.Millisecond: "four", 3 * time.Second: "four", time.Minute: ""} {
		var got []string
		l.Lines(t.Context(), l.SinceOffset(first.Add(since)), false, func(l Line) error {
			if !l.Time.Before(first.Add(since)) {
				got = append(got, string(l.Text))
			}
			return nil
		})
		if strings.Join(got, " ") != want {
			t.Errorf("since %v: %q, want %q", since, got, want)
		}
	}
}

// A line of 10 MB, with bytes of every kind and no newline at its end, is read as
// it was written, in fragments of at most MaxLine.
func TestLongLineIsReadWhole(t *testing.T) {
	l, err := newLog("x", Options{Keep: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	want := bytes.Repeat([]byte("\x00\xff é\r"), 10<<20/7)
	for chunk := range slices.Chunk(want, chunkSize) {
		fill(t, l, time.Now(), "1"+string(chunk))
	}
	var got []byte
	l.Lines(t.Context(), l.TailOffset(1), false, func(p Line) error {
		if got = append(got, p.Text...); !p.Open || len(p.Text) > MaxLine {
			t.Fatalf("a fragment of %d bytes, open %v", len(p.Text), p.Open)
		}
		return nil
	})
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
