package layeredyaml

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/suggest"
)

// Checker reports what is wrong with values of the right types. It gives each problem the
// origin of its value, and leaves out those that an earlier problem explains.
type Checker struct {
	origins Origins
	report  *report
}

// NewChecker returns a Checker for values of unknown origin.
func NewChecker() Checker { return Checker{Origins{}, newReport()} }

// Problems returns what was reported.
func (c Checker) Problems() Problems { return c.report.sorted(nil) }

// Warnings returns the warnings.
func (c Checker) Warnings() Problems { return c.report.warnings }

// located adds the origin of the problem's path, or of the nearest section that has one.
func (c Checker) located(p Problem) Problem {
	for _, path := range append([]string{p.Path}, Ancestors(p.Path)...) {
		if o, ok := c.origins[path]; ok {
			p.File, p.Line, p.Column = o.File, o.Line, o.Column
			break
		}
	}
	return p
}

// Bad reports a value, unless a problem of it was reported already.
func (c Checker) Bad(path, hint, format string, args ...any) {
	if !c.AlreadyReported(path) {
		c.report.add(c.located(Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint}))
	}
}

// Missing reports that something is not there. That is unknown while a file could not be
// read, or a misspelt key was probably meant to set it.
func (c Checker) Missing(path, hint, format string, args ...any) {
	if !c.report.partial && !c.IsMeant(path) {
		c.Bad(path, hint, format, args...)
	}
}

// Warn reports what does not keep the configuration from being used.
func (c Checker) Warn(path, hint, format string, args ...any) {
	if !c.AlreadyReported(path) && !c.report.partial {
		c.report.warn(c.located(Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint}))
	}
}

// AlreadyReported reports whether path, or a section around it, has a problem.
func (c Checker) AlreadyReported(path string) bool { return within(c.report.reported, path) }

// IsMeant reports whether an unknown key was probably meant to set path.
func (c Checker) IsMeant(path string) bool { return within(c.report.meant, path) }

// IsSet reports whether a layer sets path.
func (c Checker) IsSet(path string) bool {
	_, ok := c.origins[path]
	return ok
}

// Where is the place of a path in brackets; empty where it is not known.
func (c Checker) Where(path string) string {
	if o, ok := c.origins[path]; ok {
		return " (" + o.String() + ")"
	}
	return ""
}

// Positive refuses a duration of 0 or less. An absent one is 0 too.
func (c Checker) Positive(path string, d time.Duration) {
	if d < 0 || d == 0 && c.IsSet(path) {
		c.Bad(path, "", "%s is not above 0", d)
	}
}

// NotNegative refuses a duration below 0.
func (c Checker) NotNegative(path string, d *time.Duration) {
	if d != nil && *d < 0 {
		c.Bad(path, "", "%s is below 0", *d)
	}
}

// NotBelow refuses a duration below a least one, which is not 0. An absent one is 0.
func (c Checker) NotBelow(path string, d, least time.Duration) {
	if d < 0 || d > 0 && d < least {
		c.Bad(path, "", "%s is less than %s", d, least)
	}
}

// AboveZero refuses a number of 0 or less. An absent one is 0 too.
func (c Checker) AboveZero(path string, n int) {
	if n < 0 || n == 0 && c.IsSet(path) {
		c.Bad(path, "", "%d is not above 0", n)
	}
}

// Between refuses a number outside low to high.
func (c Checker) Between(path string, n *int, low, high int) {
	if n != nil && (*n < low || *n > high) {
		c.Bad(path, "", "%d is not between %d and %d", *n, low, high)
	}
}

// OneOf refuses a word that is not among known; empty means absent.
func (c Checker) OneOf(path, word string, known ...string) {
	if !slices.Contains(known, word) && (word != "" || c.IsSet(path)) {
		c.Bad(path, wordHint(word, known), "%s is not one of %s", Quote(path, word), strings.Join(known, ", "))
	}
}

// synonyms are words of other programs.
var synonyms = map[string]string{"no": "never", "off": "never", "false": "never", "true": "always", "yes": "always",
	"unless-stopped": "always", "unexpected": "on-failure", "warning": "warn", "trace": "debug", "fatal": "error"}

func wordHint(word string, known []string) string {
	if w, ok := synonyms[strings.ToLower(word)]; ok && slices.Contains(known, w) {
		return "write " + w
	}
	if w, ok := suggest.Nearest(word, known); ok {
		return `did you mean "` + w + `"?`
	}
	return ""
}
