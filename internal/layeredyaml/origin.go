package layeredyaml

import "strconv"

// Origin is the place that a value was taken from.
type Origin struct {
	// File is a path, "env NAME", "flag --set PATH" or "assumed".
	File string `json:"file"`
	// Line and Column count from 1; 0 where File has no lines.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
}

// String renders the origin as file:line, or as what File says.
func (o Origin) String() string {
	if o.Line == 0 {
		return o.File
	}
	return o.File + ":" + strconv.Itoa(o.Line)
}

// Origins maps dotted paths to where the values came from. A path that is not in it has
// its default. Sections are in it too, with where they first appear.
type Origins map[string]Origin
