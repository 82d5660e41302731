package probe

import "regexp"

// Log is a regular expression that one line of the output must match; empty: not
// checked. It is no kind of Config: the supervisor reads the output anyway.
type Log string

// Matcher returns a function that reports whether a line matches; nil: nothing is set.
func (l Log) Matcher() (func(line []byte) bool, error) {
	if l == "" {
		return nil, nil
	}
	re, err := regexp.Compile(string(l))
	if err != nil {
		return nil, err
	}
	return re.Match, nil
}
