package layeredyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxProblems bounds a report: a file of another program, given by mistake, has a problem
// in each line.
const maxProblems = 200

// Checker collects what is wrong with a configuration, at first with its files and then with
// values of the right types. It gives each problem the origin of its value, and leaves out
// those that an earlier problem explains.
type Checker struct {
	origins  Origins
	problems Problems
	warnings Problems
	seen     map[Problem]bool
	dropped  int             // problems past maxProblems
	reported map[string]bool // paths that have a problem
	meant    map[string]bool // paths that a misspelt key probably meant to set
	partial  bool            // a whole file was refused: absence proves nothing
}

func newChecker() *Checker {
	return &Checker{origins: Origins{}, seen: map[Problem]bool{}, reported: map[string]bool{}, meant: map[string]bool{}}
}

// add records a problem once: an anchor's contents are decoded at each alias.
func (c *Checker) add(p Problem) {
	switch {
	case c.seen[p]:
	case len(c.problems) == maxProblems:
		c.dropped++
	default:
		c.seen[p] = true
		c.problems = append(c.problems, p)
	}
	if p.Path != "" {
		c.reported[p.Path] = true
	}
}

func (c *Checker) warn(p Problem) {
	if !c.seen[p] {
		c.seen[p] = true
		c.warnings = append(c.warnings, p)
	}
}

// problem is one at the origin of path, or of the nearest section that has one.
func (c *Checker) problem(path, hint, format string, args ...any) Problem {
	p := Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint}
	for _, path := range append([]string{path}, Ancestors(path)...) {
		if o, ok := c.origins[path]; ok {
			p.File, p.Line, p.Column = o.File, o.Line, o.Column
			break
		}
	}
	return p
}

// Bad reports a value, unless a problem of it was reported already.
func (c *Checker) Bad(path, hint, format string, args ...any) {
	if !c.AlreadyReported(path) {
		c.add(c.problem(path, hint, format, args...))
	}
}

// Missing reports that something is not there. That is unknown while a file could not be
// read, or a misspelt key was probably meant to set it.
func (c *Checker) Missing(path, hint, format string, args ...any) {
	if !c.partial && !c.IsMeant(path) {
		c.Bad(path, hint, format, args...)
	}
}

// Warn reports what does not keep the configuration from being used.
func (c *Checker) Warn(path, hint, format string, args ...any) {
	if !c.AlreadyReported(path) && !c.partial {
		c.warn(c.problem(path, hint, format, args...))
	}
}

// within reports whether path or a section around it is in paths.
func within(paths map[string]bool, path string) bool {
	return paths[path] || slices.ContainsFunc(Ancestors(path), func(a string) bool { return paths[a] })
}

// AlreadyReported reports whether path, or a section around it, has a problem.
func (c *Checker) AlreadyReported(path string) bool { return within(c.reported, path) }

// IsMeant reports whether an unknown key was probably meant to set path.
func (c *Checker) IsMeant(path string) bool { return within(c.meant, path) }

// Refused reports whether one of the paths, or a misspelling of it, was refused.
func (c *Checker) Refused(paths ...string) bool {
	return slices.ContainsFunc(paths, func(path string) bool { return c.AlreadyReported(path) || c.IsMeant(path) })
}

// IsSet reports whether a layer sets path.
func (c *Checker) IsSet(path string) bool {
	_, ok := c.origins[path]
	return ok
}

// Where is the place of a path in brackets; empty where it is not known.
func (c *Checker) Where(path string) string {
	if o, ok := c.origins[path]; ok {
		return " (" + o.String() + ")"
	}
	return ""
}

// sorted returns the problems by file in the order of files, then by place.
// Those of no file come last.
func (c *Checker) sorted(files []string) Problems {
	rank := func(p Problem) int {
		if i := slices.Index(files, p.File); i >= 0 {
			return i
		}
		if p.File == "" {
			return len(files) + 1
		}
		return len(files)
	}
	out := slices.Clone(c.problems)
	slices.SortStableFunc(out, func(a, b Problem) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	if c.dropped > 0 {
		out = append(out, Problem{Message: fmt.Sprintf("%d more problems are not shown", c.dropped)})
	}
	return out
}
