// Package lazyregexp compiles regular expressions when they are first used. A command that
// needs none of them does not pay for them at its start.
package lazyregexp

import (
	"regexp"
	"sync"
)

// New returns a function that compiles pattern once. The function panics if the pattern is wrong.
func New(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
