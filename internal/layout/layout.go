// Package layout lays text and tables out for people within the width of a terminal.
package layout

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MinWidth is the width below which nothing is laid out any more.
const MinWidth = 20

// columnGap is what stands between two columns.
const columnGap = 2

// Table is rows of cells; the first is the head.
type Table [][]string

// Add appends a row.
func (t *Table) Add(cells ...string) { *t = append(*t, cells) }

// Rows makes lines of rows: columns side by side, where need be with cells of
// several lines; where that would cut words, a block for each row. Width 0 has no
// bounds.
func Rows(rows [][]string, width int) string {
	return strings.Join(append(slices.Concat(RowLines(rows, width)...), ""), "\n")
}

// RowLines is Rows with the lines of each row. A long first cell may have lines
// of its own, with the others below it.
func RowLines(rows [][]string, width int) [][]string {
	if widths, fits := columnWidths(rows, width); fits {
		return sideBySide(rows, widths)
	}
	short := make([][]string, len(rows))
	for k, cells := range rows {
		if short[k] = cells; columns(cells[0]) > width/3 {
			short[k] = append([]string{""}, cells[1:]...)
		}
	}
	widths, fits := columnWidths(short, width)
	if !fits {
		return stacked(rows, width)
	}
	out := sideBySide(short, widths)
	for k, cells := range rows {
		if short[k][0] != cells[0] {
			out[k] = append(Lines(cells[0], width), out[k]...)
		}
	}
	return out
}

// columns is the width of a text on a terminal: most letters of East Asia and emoji take two columns, and marks above other
// characters none.
func columns(s string) (n int) {
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Mn, r):
		case r >= 0x1100 && isWide(r):
			n += 2
		default:
			n++
		}
	}
	return n
}

func isWide(r rune) bool {
	switch {
	case r >= 0xff61 && r <= 0xffdc: // the narrow forms
		return false
	case r >= 0x3000 && r <= 0x303e, r >= 0xff01 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1f6ff, r >= 0x1f900 && r <= 0x1faff:
		return true
	}
	return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul)
}

// pad fills a text with blanks up to a width.
func pad(s string, width int) string { return s + strings.Repeat(" ", max(width-columns(s), 0)) }

// sideBySide lays out columns of these widths.
func sideBySide(rows [][]string, widths []int) [][]string {
	out := make([][]string, len(rows))
	for k, cells := range rows {
		parts, height := make([][]string, len(cells)), 1
		for c, cell := range cells {
			if parts[c] = []string{cell}; columns(cell) > widths[c] {
				parts[c] = Lines(cell, widths[c])
			}
			height = max(height, len(parts[c]))
		}
		for n := range height {
			line := ""
			for c := range cells {
				text := ""
				if n < len(parts[c]) {
					text = parts[c][n]
				}
				line += pad(text, widths[c]+columnGap)
			}
			out[k] = append(out[k], strings.TrimRight(line, " "))
		}
	}
	return out
}

// columnWidths shares the width: a column gets what it needs, and those that need
// most give way, down to their longest word, but not the first. False: the words do
// not fit.
func columnWidths(rows [][]string, width int) (widths []int, fits bool) {
	var words []int
	for _, cells := range rows {
		for c, cell := range cells {
			if c == len(widths) {
				widths, words = append(widths, 0), append(words, 0)
			}
			widths[c] = max(widths[c], columns(cell))
			if c == 0 { // a name is not cut
				words[c] = widths[c]
			}
			for _, word := range pieces(cell) {
				words[c] = max(words[c], columns(strings.TrimSpace(word)))
			}
		}
	}
	total := columnGap * max(0, len(widths)-1)
	for _, n := range widths {
		total += n
	}
	for ; width > 0 && total > width; total-- {
		widest := -1
		for c := range widths {
			if widths[c] > words[c] && (widest < 0 || widths[c] > widths[widest]) {
				widest = c
			}
		}
		if widest < 0 {
			return widths, false
		}
		widths[widest]--
	}
	return widths, true
}

// stacked is a block of lines for each row but the head: NAME  value.
func stacked(rows [][]string, width int) [][]string {
	out := make([][]string, len(rows))
	indent := 0
	for _, name := range rows[0] {
		indent = max(indent, columns(name)+columnGap)
	}
	for k, cells := range rows[1:] {
		var lines []string
		if k > 0 {
			lines = []string{""}
		}
		for c, cell := range cells {
			name := rows[0][c]
			for _, line := range Lines(cell, max(width-indent, MinWidth)) {
				if cell != "" {
					lines = append(lines, pad(name, indent)+line)
				}
				name = ""
			}
		}
		out[k+1] = lines
	}
	return out
}

// Wrap gives a text of lines within a width; what follows a line's begin is
// indented. Width 0 has no bounds.
func Wrap(text string, width int, indent string) string {
	if width == 0 {
		return text
	}
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		if columns(line) <= width {
			out = append(out, line)
			continue
		}
		lead := line[:len(line)-len(strings.TrimLeft(line, " "))]
		room := max(width-columns(lead+indent), MinWidth)
		for k, part := range Lines(line[len(lead):], room) {
			if k > 0 {
				part = indent + part
			}
			out = append(out, lead+part)
		}
	}
	return strings.Join(out, "\n")
}

// Lines breaks a text into lines of a width: at blanks, and within a word that is
// longer than a line behind what separates its parts, as in a path. Only a word
// that has no such place is left too long.
func Lines(text string, width int) (lines []string) {
	line := ""
	for _, piece := range pieces(text) {
		if line != "" && columns(line)+columns(strings.TrimRight(piece, " ")) > width {
			lines = append(lines, strings.TrimRight(line, " "))
			line = ""
		}
		line += piece
	}
	return append(lines, strings.TrimRight(line, " "))
}

// longWord is the length from which a word may be broken.
const longWord = 30

// pieces cuts a text where a line may end: behind blanks, and in long words behind
// separators.
func pieces(text string) []string {
	var out []string
	for word := range strings.SplitAfterSeq(text, " ") {
		if columns(word) <= longWord {
			out = append(out, word)
			continue
		}
		begin, last := 0, utf8.RuneError
		for k, r := range word {
			if k > begin && strings.ContainsRune("/,;:=&?|", last) && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
				out = append(out, word[begin:k])
				begin = k
			}
			last = r
		}
		out = append(out, word[begin:])
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// Duration writes a duration for people.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < 24*time.Hour:
		return strings.Replace(d.Round(time.Second).String(), "m0s", "m", 1)
	default:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}
