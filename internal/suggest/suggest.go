// Package suggest finds the known word nearest to a misspelt one.
package suggest

import (
	"slices"
	"strings"
)

// maxWord bounds the length of a compared word, in bytes.
const maxWord = 64

// Nearest returns the known word that is nearest to got, if it is near. Case, _ and - are ignored.
func Nearest(got string, known []string) (string, bool) {
	if len(got) > maxWord {
		return "", false
	}
	best, least := "", 1+len(got)/3
	for _, word := range known {
		if d := Distance(Fold(got), Fold(word)); d < least {
			best, least = word, d
		}
	}
	return best, best != ""
}

// Hint is the hint for an unknown word: the nearest known word, and all of them.
func Hint(got string, known []string) string {
	if len(known) == 0 {
		return "there are none"
	}
	hint := "there are: " + strings.Join(known, ", ")
	if word, ok := Nearest(got, known); ok {
		hint = "did you mean " + word + "? " + hint
	}
	return hint
}

// Fold makes successCodes, success-codes and success_codes the same word.
func Fold(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// Distance is the edit distance of a and b in bytes; a swap of neighbours is one edit.
func Distance(a, b string) int {
	prev2, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = slices.Min([]int{prev[j] + 1, row[j-1] + 1, prev[j-1] + cost})
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev = prev, row
	}
	return prev[len(b)]
}
