package main

import (
	"bytes"
	"io"

	"github.com/stoker-init/stoker/internal/lazyregexp"
)

// sessionScreen writes the output of a session, and knows what it does to a terminal. What the session wrote before we came is held back
// until it is whole: what asks the terminal for an answer is taken out, for the program that asked has gone on.
type sessionScreen struct {
	out   io.Writer
	at    int64 // offset of the next byte
	until int64 // offset of the first byte that is written now
	held  []byte
	other bool // the alternate screen is shown
}

// Write writes p.
func (s *sessionScreen) Write(p []byte) (n int, err error) {
	if s.at < s.until {
		n = int(min(int64(len(p)), s.until-s.at))
		s.held = append(s.held, p[:n]...)
		if s.at += int64(n); s.at < s.until {
			return n, nil
		}
		if err := s.write(withoutQueries(s.held)); err != nil {
			return 0, err
		}
		s.held = nil
	}
	s.at += int64(len(p) - n)
	return len(p), s.write(p[n:])
}

func (s *sessionScreen) write(p []byte) error {
	if on, off := bytes.LastIndex(p, []byte("\x1b[?1049h")), bytes.LastIndex(p, []byte("\x1b[?1049l")); on != off {
		s.other = on > off
	}
	if len(p) == 0 {
		return nil
	}
	_, err := s.out.Write(p)
	return err
}

// finish writes what is held back. With reset the program of the session goes on without the terminal, which gets its own screen,
// cursor and keys back.
func (s *sessionScreen) finish(reset bool) {
	text := withoutQueries(s.held)
	if reset {
		if s.other {
			text = append(text, "\x1b[?1049l"...)
		}
		text = append(text, "\x1b[!p\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[0m\x1b(B\x0f\r\n"...)
	}
	_ = s.write(text) // there is nothing else to do with it
}

// withoutQueries takes the requests out that a terminal answers as if its user typed: device attributes and status, modes, colours,
// the clipboard, the window.
func withoutQueries(p []byte) []byte {
	if len(p) == 0 {
		return nil
	}
	queries := lazyregexp.New(`\x05|\x1bZ|\x1b\[[?>=]?[0-9;]*[cnt]|\x1b\[\??[0-9;]*\$p|\x1b\[>[0-9]*q|\x1b\[\?u|` +
		`\x1b\][0-9]+;[^\x07\x1b]*\?(?:\x07|\x1b\\)|\x1bP[$+]q[^\x1b]*\x1b\\`)
	return queries().ReplaceAll(p, nil)
}
