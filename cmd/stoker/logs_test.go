package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stoker-init/stoker/internal/api"
)

func TestLogPrinter(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	lines := []api.LogLine{{Stream: "stdout", Time: at, Text: "be", Open: true}, {Stream: "stderr", Time: at, Text: "x"},
		{Stream: "stdout", Time: at, Bytes: []byte("\xff")}, {Stream: "stdout", Time: at}, {Stream: "stdout", Time: at, Text: "end", Open: true}}
	for _, c := range []struct {
		times, one bool
		out, err   string
	}{
		{false, false, "be\xff\n\nend", "x\n"},
		{true, false, "2026-01-31T12:00:00Z be\xff\n2026-01-31T12:00:00Z \n2026-01-31T12:00:00Z end", "2026-01-31T12:00:00Z x\n"},
		{false, true, "be\xff\n\nend", "\nx\n"},
	} {
		var out, errs strings.Builder
		p := &logPrinter{times: c.times, shared: c.one}
		p.out[0], p.out[1] = &out, &errs
		for _, l := range lines {
			if err := p.print(l); err != nil {
				t.Error(err)
			}
		}
		if out.String() != c.out || errs.String() != c.err {
			t.Errorf("%v %v: %q and %q", c.times, c.one, out.String(), errs.String())
		}
	}
}
