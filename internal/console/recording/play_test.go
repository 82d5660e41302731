package recording

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPlay(t *testing.T) {
	const cast = "{\"version\":2,\"width\":80,\"height\":24}\n" +
		"[1,\"o\",\"\\u001b[1mone\\u001b[c \"]\n[2,\"i\",\"typed\"]\n[3,\"m\",\"mark\"]\n[61,\"o\",\"two\"]\n"
	const reset = "\x1b[!p\x1b[?25h\x1b[0m\x1b(B\x0f"
	for _, c := range []struct {
		how  Playing
		text string
		took time.Duration
	}{
		{Playing{Speed: 1}, "\x1b[1mone two" + reset, 61 * time.Second},
		{Playing{Speed: 4}, "\x1b[1mone two" + reset, 61 * time.Second / 4},
		{Playing{Speed: 1, MaxIdle: 2 * time.Second}, "\x1b[1mone two" + reset, 3 * time.Second},
		{Playing{Speed: 0.5, MaxIdle: 2 * time.Second}, "\x1b[1mone two" + reset, 6 * time.Second},
		{Playing{Text: true}, "one two", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, err := NewReader(strings.NewReader(cast))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			begun := time.Now()
			if err := Play(t.Context(), r, &out, c.how); err != nil || out.String() != c.text || time.Since(begun) != c.took {
				t.Errorf("%+v: %q after %v, %v; want %q after %v", c.how, out.String(), time.Since(begun), err, c.text, c.took)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		r, err := NewReader(strings.NewReader(cast))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := Play(ctx, r, &out, Playing{Speed: 1}); !errors.Is(err, context.DeadlineExceeded) || out.String() != "\x1b[1mone "+reset {
			t.Errorf("%q, %v", out.String(), err)
		}
	})
	for text, want := range map[string]string{"\x1b[?1049h": "\x1b[?1049l" + reset, "\x1b[?1049h\x1b[?1049l": reset} {
		var f Filter
		if f.String(text); f.reset() != want {
			t.Errorf("after %q: %q", text, f.reset())
		}
	}
}
