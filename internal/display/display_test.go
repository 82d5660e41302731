package display

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/stoker-init/stoker/internal/layout"
)

// TestWidthOfATerminal: where there is none, rows stay lines.
func TestWidthOfATerminal(t *testing.T) {
	master, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer terminal.Close()
	for _, c := range []struct {
		columns uint16
		want    int
	}{{80, 80}, {132, 132}, {3, layout.MinWidth}, {0, 0}} {
		if err := pty.Setsize(master, &pty.Winsize{Cols: c.columns, Rows: 24}); err != nil {
			t.Fatal(err)
		}
		if got := Width(terminal); got != c.want {
			t.Errorf("%d columns: %d, want %d", c.columns, got, c.want)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if got := fmt.Sprint(Width(w), Width(&strings.Builder{})); got != "0 0" {
		t.Errorf("a pipe and a text are %s wide", got)
	}
}
