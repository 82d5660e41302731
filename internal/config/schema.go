package config

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/jvm"
)

// field is one key of a section.
type field struct {
	name  string // its YAML key
	index []int  // for reflect.Value.FieldByIndex
	typ   reflect.Type
	short bool // its value may stand in the place of the whole section
}

// fieldsOf returns the keys of a section in the order of the struct, those of
// inlined structs among them.
func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, flags, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if flags == "inline" {
			for _, in := range fieldsOf(f.Type) {
				in.index = append([]int{i}, in.index...)
				out = append(out, in)
			}
			continue
		}
		if name != "" && name != "-" {
			out = append(out, field{name, []int{i}, f.Type, flags == "short"})
		}
	}
	return out
}

func fieldNamed(t reflect.Type, name string) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

// shortOf returns the key of a section whose value may stand for the section.
func shortOf(t reflect.Type) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.short {
			return f, true
		}
	}
	return field{}, false
}

func keysOf(t reflect.Type) []string {
	var out []string
	for _, f := range fieldsOf(t) {
		out = append(out, f.name)
	}
	return out
}

// plain returns what a pointer points at; pointers mean "may be absent" here.
func plain(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// isWords says whether a list may be written as its only item.
func isWords(t reflect.Type) bool { return t == reflect.TypeFor[jvm.Words]() }

func isDuration(t reflect.Type) bool { return t == reflect.TypeFor[time.Duration]() }

// wanted says in a user's words what a value of type t looks like.
func wanted(t reflect.Type) string {
	switch {
	case isDuration(t):
		return "a duration such as 30s"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() == reflect.Slice:
		return "a list"
	}
	return "a section of keys"
}

// suggest returns the known word that was probably meant by got.
func suggest(got string, known []string) (string, bool) {
	if len(got) > 64 {
		return "", false
	}
	best, bestCost := "", 1+len(got)/3
	for _, word := range known {
		if cost := distance(fold(got), fold(word)); cost < bestCost {
			best, bestCost = word, cost
		}
	}
	return best, best != ""
}

// didYouMean is suggest as a hint; without a near word it lists a few.
func didYouMean(got string, known []string) string {
	if word, ok := suggest(got, known); ok {
		return `did you mean "` + word + `"?`
	}
	if len(known) == 0 || len(known) > 20 {
		return ""
	}
	return "known: " + strings.Join(known, ", ")
}

// fold makes successCodes, success-codes and success_codes the same word.
func fold(s string) string {
	return strings.NewReplacer("_", "", "-", "").Replace(strings.ToLower(s))
}

// distance is the number of one-byte edits, with neighbours swapped counted as
// one, between a and b.
func distance(a, b string) int {
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
