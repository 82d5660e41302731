package main

import (
	"io"
	"os"

	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/printable"
	"golang.org/x/sys/unix"
)

// defaultWidth is that of texts which are wrapped wherever they go.
const defaultWidth = 80

// display is where commands write to: a file, mostly a terminal, that gets printable
// text only.
type display struct {
	*printable.Writer
	file *os.File
}

func newDisplay(f *os.File) *display { return &display{printable.NewWriter(f), f} }

// fileOf is the file that w is or writes to; nil: there is none.
func fileOf(w io.Writer) *os.File {
	switch w := w.(type) {
	case *os.File:
		return w
	case *display:
		return w.file
	}
	return nil
}

// exact is w for what is written byte for byte.
func exact(w io.Writer) io.Writer {
	if s, ok := w.(*display); ok {
		return s.file
	}
	return w
}

// forPrograms is w for what programs read byte for byte, and people on a terminal.
func forPrograms(w io.Writer) io.Writer {
	if widthOf(w) > 0 {
		return w
	}
	return exact(w)
}

// widthOf is the width of the terminal that w is; 0: it is none, and every row
// stays one line, for programs.
func widthOf(w io.Writer) int {
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
