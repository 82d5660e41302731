package recording

import (
	"bytes"
	"unicode/utf8"
)

// cutter holds the beginning of a character back until the rest comes with the next write.
type cutter struct{ rest []byte }

// next returns what can be written of p and what was held back.
func (c *cutter) next(p []byte) []byte {
	text := append(c.rest, p...)
	c.rest = nil
	for k := max(0, len(text)-utf8.UTFMax+1); k < len(text); k++ {
		if utf8.RuneStart(text[k]) && !utf8.FullRune(text[k:]) {
			text, c.rest = text[:k], bytes.Clone(text[k:])
			break
		}
	}
	return text
}

// end returns what is still held back: the rest never came.
func (c *cutter) end() []byte {
	text := c.rest
	c.rest = nil
	return text
}
