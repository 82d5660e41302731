package recording

import (
	"slices"
	"strings"
)

// Filter takes from the output of a session what must not reach the terminal of who looks at its recording. The session's user chose
// every byte of it: a terminal answers questions as if its own user typed, takes a title, a clipboard and keys from it.
type Filter struct {
	Text  bool // leave out all control sequences, and control characters but line feeds and tabs
	state filterState
	held  strings.Builder // a control sequence that is not complete
	other bool            // the alternate screen is shown
}

type filterState int

const (
	plain      filterState = iota
	escape                 // behind ESC
	escapeMore             // behind ESC and intermediate characters
	csi                    // behind ESC [
	text                   // in a string: OSC, DCS, SOS, PM, APC
	textEscape             // in a string behind ESC
)

// maxSequence bounds a control sequence, in bytes; a longer one is left out.
const maxSequence = 256

// String returns what is left of a piece of output.
func (f *Filter) String(s string) string {
	var out strings.Builder
	for _, r := range s {
		f.next(&out, r)
	}
	return out.String()
}

func (f *Filter) next(out *strings.Builder, r rune) {
	switch {
	case r == 0x1b && f.state == text:
		f.state = textEscape
		return
	case r == 0x1b: // begins another one, whatever was before
		f.begin(r)
		return
	case r == 0x18 || r == 0x1a: // cancel what there is
		f.state = plain
		return
	}
	if r > 0x7e && f.state != text {
		f.state = plain // no sequence has it
	}
	switch f.state {
	case plain:
		f.plain(out, r)
	case escape, escapeMore:
		f.escaped(out, r)
	case csi:
		switch {
		case r < 0x20: // is executed within the sequence
			f.plain(out, r)
		case r >= 0x40:
			f.finish(out, r)
		default:
			f.hold(r)
		}
	case text:
		if r == 0x07 || r == 0x9c {
			f.state = plain
		}
	case textEscape:
		f.begin(0x1b) // the string ends in any case, with ESC \ or by another sequence
		if f.state = plain; r != '\\' {
			f.state = escape
			f.escaped(out, r)
		}
	}
}

// plain takes a character outside of sequences.
func (f *Filter) plain(out *strings.Builder, r rune) {
	switch {
	case r == 0x9b:
		f.begin(0x1b)
		f.hold('[')
		f.state = csi
	case r == 0x90 || r == 0x98 || r == 0x9d || r == 0x9e || r == 0x9f:
		f.state = text
	case r >= 0x80 && r <= 0x9f, r == 0x05: // ENQ is a question
	case f.Text && r < 0x20 && r != '\n' && r != '\t', f.Text && r == 0x7f:
	default:
		out.WriteRune(r)
	}
}

func (f *Filter) begin(r rune) {
	f.held.Reset()
	f.held.WriteRune(r)
	f.state = escape
}

func (f *Filter) hold(r rune) {
	if f.held.Len() < maxSequence {
		f.held.WriteRune(r)
	}
}

// escaped takes a character behind ESC.
func (f *Filter) escaped(out *strings.Builder, r rune) {
	switch {
	case f.state == escape && r == '[':
		f.hold(r)
		f.state = csi
	case f.state == escape && strings.ContainsRune("]PX^_", r):
		f.state = text
	case r >= 0x20 && r <= 0x2f:
		f.hold(r)
		f.state = escapeMore
	case r < 0x20:
		f.plain(out, r)
	case f.state == escape && r == 'Z': // asks what the terminal is
		f.state = plain
	default:
		f.finish(out, r)
	}
}

// finish writes a sequence that ends with r, if a terminal only draws because of it.
func (f *Filter) finish(out *strings.Builder, r rune) {
	inCSI := f.state == csi
	f.state = plain
	if f.Text || f.held.Len() >= maxSequence || inCSI && !draws(f.held.String()[len("\x1b["):], r) {
		return
	}
	f.hold(r)
	switch out.WriteString(f.held.String()); f.held.String() {
	case "\x1b[?1049h":
		f.other = true
	case "\x1b[?1049l":
		f.other = false
	}
}

// draws reports whether a CSI sequence changes nothing but the screen. Others are reports that a terminal answers, its windows and
// titles, and modes in which it sends more than keys: the mouse, the focus, brackets around what is pasted.
func draws(parameters string, final rune) bool {
	numbers, private := strings.CutPrefix(parameters, "?")
	if strings.Trim(numbers, "0123456789:;") != "" {
		return false
	}
	switch {
	case private && (final == 'h' || final == 'l'):
		for _, mode := range strings.Split(numbers, ";") {
			// columns, origin, wrap, cursor, other screens, and what is drawn at a time
			if !slices.Contains([]string{"3", "5", "6", "7", "12", "25", "45", "47", "1047", "1048", "1049", "2026"}, mode) {
				return false
			}
		}
		return true
	case private:
		return final == 'J' || final == 'K'
	case final == 'h' || final == 'l':
		return numbers == "4" || numbers == "20" // insert, line feed
	}
	return strings.ContainsRune("@ABCDEFGHIJKLMPSTXZ`abdefgmrsu", final)
}

// reset returns what makes a terminal usable after the output: the normal screen, the cursor, colours, the scroll region and the
// character set.
func (f *Filter) reset() string {
	const rest = "\x1b[!p\x1b[?25h\x1b[0m\x1b(B\x0f"
	if f.other {
		return "\x1b[?1049l" + rest // where it is shown already, it would move the cursor
	}
	return rest
}
