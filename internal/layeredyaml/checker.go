package layeredyaml

import (
	"fmt"
	"slices"
)

// Checker reports what is wrong with values of the right types. It gives each problem the
// origin of its value, and leaves out those that an earlier problem explains.
type Checker struct {
	origins Origins
	report  *report
}

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

// Refused reports whether one of the paths, or a misspelling of it, was refused.
func (c Checker) Refused(paths ...string) bool {
	return slices.ContainsFunc(paths, func(path string) bool { return c.AlreadyReported(path) || c.IsMeant(path) })
}

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
