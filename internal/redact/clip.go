package redact

import "strings"

// Clip masks the secrets of a text and truncates it to most bytes and "...".
func Clip(text string, most int) string {
	text = Text(text)
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
