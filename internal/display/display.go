// Package display is where commands print: text that cannot control a terminal, within the
// width of that terminal.
package display

import (
	"io"
	"os"

	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
	"golang.org/x/sys/unix"
)

// Display makes everything that is written to a file printable.
type Display struct {
	*printable.Writer
	file *os.File
}

// New returns a Display on top of f.
func New(f *os.File) *Display { return &Display{printable.NewWriter(f), f} }

// fileOf returns the file that w is or writes to; nil: there is none.
func fileOf(w io.Writer) *os.File {
	switch w := w.(type) {
	case *os.File:
		return w
	case *Display:
		return w.file
	}
	return nil
}

// Exact returns a writer to the same file that changes no byte.
func Exact(w io.Writer) io.Writer {
	if s, ok := w.(*Display); ok {
		return s.file
	}
	return w
}

// ForPrograms is Exact, except on a terminal.
func ForPrograms(w io.Writer) io.Writer {
	if Width(w) > 0 {
		return w
	}
	return Exact(w)
}

// Width returns the width of the terminal that w writes to. It is 0 for a pipe or a
// file, where a row stays on one line.
func Width(w io.Writer) int {
	f := fileOf(w)
	if f == nil {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Col == 0 {
		return 0
	}
	return max(int(size.Col), layout.MinWidth)
}

// HasColour says whether w writes to a terminal whose user wants colour (no-color.org).
func HasColour(w io.Writer) bool {
	f := fileOf(w)
	return f != nil && os.Getenv("NO_COLOR") == "" && IsTerminal(f)
}

// IsTerminal says whether a file is a terminal that obeys control sequences.
func IsTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil && os.Getenv("TERM") != "dumb"
}
