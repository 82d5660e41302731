package jvm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// blanks separate options where no quote protects them, in every syntax: those of a
// shell, and the carriage return of Windows' line ends, which no option is meant to have.
const blanks = " \t\n\v\f\r"

// unmarked is a text without the byte order mark that editors on Windows put before it.
func unmarked(text string) string { return strings.TrimPrefix(text, "\ufeff") }

// SplitOptions splits a variable like JAVA_OPTS as a POSIX shell splits words: blanks
// separate, quotes and backslashes protect. Nothing is expanded: $, `, * and # are
// ordinary characters. An open quote is an error.
func SplitOptions(s string) ([]string, error) {
	words, _, err := split(s, syntax{escapes: true})
	return words, err
}

// SplitVMOptions splits as the JVM does JAVA_TOOL_OPTIONS and _JAVA_OPTIONS, the
// launcher JDK_JAVA_OPTIONS, and HotSpot a -XX:VMOptionsFile: blanks separate, quotes '
// and " hold together, and nothing else is special, not even a backslash. An open quote
// is an error.
func SplitVMOptions(s string) ([]string, error) {
	words, _, err := split(s, syntax{})
	return words, err
}

// SplitScript is SplitOptions for a variable that catalina.sh would "eval exec": $NAME and
// ${NAME} are looked up too. What would run another command or cut the command line
// short (` $( ; | & < > ( ) and # at the start of a word) is an error instead of an
// execution; * ? [ stay as they are even if a file would match.
func SplitScript(s string, lookup func(name string) string) ([]string, error) {
	words, _, err := split(s, syntax{escapes: true, lookup: lookup})
	return words, err
}

// syntax is what a text means beside blanks and quotes.
type syntax struct {
	escapes bool                     // a backslash protects, as in a shell
	lookup  func(name string) string // of $NAME, in a text that a shell would evaluate; nil: it would not
	flags   bool                     // # before a word begins a comment, and an open quote ends with the text
	argfile bool                     // of ParseArgfile
}

// split returns the words of a text and the line of each, from 1.
func split(text string, as syntax) (words []string, lines []int, err error) {
	s := &splitter{syntax: as, text: unmarked(text), line: 1}
	for s.pos < len(s.text) {
		if err := s.step(); err != nil {
			return nil, nil, err
		}
	}
	s.flush()
	return s.words, s.lines, nil
}

type splitter struct {
	syntax
	text    string
	pos     int
	word    strings.Builder
	open    bool // inside a word, which may be empty ("")
	words   []string
	lines   []int
	line    int // at counted
	counted int // the position up to which line ends were counted
}

// begin begins a word where none is open.
func (s *splitter) begin() {
	if !s.open {
		s.open = true
		s.line += strings.Count(s.text[s.counted:s.pos], "\n")
		s.counted = s.pos
		s.lines = append(s.lines, s.line)
	}
}

// add adds to the word, and goes on behind size bytes of the text.
func (s *splitter) add(text string, size int) {
	s.begin()
	s.word.WriteString(text)
	s.pos += size
}

func (s *splitter) flush() {
	if s.open {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.open = false
}

// step takes what begins at pos, outside of quotes.
func (s *splitter) step() error {
	c := s.text[s.pos]
	switch {
	case strings.IndexByte(blanks, c) >= 0 && (!s.argfile || c != '\v'):
		s.flush()
		s.pos++
	case c == '\\' && s.escapes:
		return s.backslash()
	case c == '#' && (s.argfile || s.flags && !s.open):
		s.flush()
		for s.pos < len(s.text) && s.text[s.pos] != '\n' && (!s.argfile || s.text[s.pos] != '\r') {
			s.pos++
		}
	case c == '\'' || c == '"':
		return s.quote(c)
	case c == '$' && s.lookup != nil:
		value, size, err := s.variable()
		for _, c := range []byte(value) { // a shell splits it again
			if strings.IndexByte(blanks, c) >= 0 {
				s.flush()
			} else {
				s.add(string([]byte{c}), 0)
			}
		}
		s.pos += size
		return err
	case s.lookup != nil && (c == '#' && !s.open || strings.IndexByte("`;|&<>()", c) >= 0):
		return fmt.Errorf("%q at byte %d means something to a shell and is not an option; put it in quotes", c, s.pos)
	default:
		s.add(s.text[s.pos:s.pos+1], 1)
	}
	return nil
}

// quote takes a quoted part. In an argument file it ends with its line at the latest.
func (s *splitter) quote(quote byte) error {
	start, shell := s.pos, s.escapes && quote == '"'
	s.add("", 1)
	for s.pos < len(s.text) {
		c, rest := s.text[s.pos], s.text[s.pos+1:]
		switch {
		case c == quote:
			s.pos++
			return nil
		case s.argfile && (c == '\n' || c == '\r'):
			return nil
		case s.argfile && c == '\\':
			s.argfileEscape(rest)
		case shell && c == '\\' && (rest != "" && strings.IndexByte("$`\"\\\n", rest[0]) >= 0 || strings.HasPrefix(rest, "\r\n")):
			if err := s.backslash(); err != nil {
				return err
			}
		case shell && c == '$' && s.lookup != nil:
			value, size, err := s.variable()
			if err != nil {
				return err
			}
			s.add(value, size)
		case shell && c == '`' && s.lookup != nil:
			return fmt.Errorf("a command in ` at byte %d is not run", s.pos)
		default:
			s.add(s.text[s.pos:s.pos+1], 1)
		}
	}
	if s.argfile || s.flags {
		return nil
	}
	return fmt.Errorf("the quote %c at byte %d is not closed", quote, start)
}

// argfileEscape takes a backslash within quotes, and what follows it.
func (s *splitter) argfileEscape(rest string) {
	switch control := strings.IndexAny("nrtf", rest[:min(len(rest), 1)]); {
	case rest == "":
		s.pos++
	case control >= 0:
		s.add("\n\r\t\f"[control:control+1], 2)
	case rest[0] == '\n' || rest[0] == '\r':
		s.pos = len(s.text) - len(strings.TrimLeft(rest, " \t\f\n\r"))
	default:
		s.add(rest[:1], 2)
	}
}

// backslash takes a backslash, and what follows it in a shell.
func (s *splitter) backslash() error {
	rest := s.text[s.pos+1:]
	switch {
	case rest == "":
		return errors.New("there is a backslash at the end")
	case strings.HasPrefix(rest, "\n"), strings.HasPrefix(rest, "\r\n"): // a continued line
		s.pos += 1 + strings.IndexByte(rest, '\n') + 1
	default:
		s.add(rest[:1], 2)
	}
	return nil
}

// variable looks up the $NAME or ${NAME} at pos; size is what it takes of the text.
func (s *splitter) variable() (value string, size int, err error) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
	rest, braced := strings.CutPrefix(s.text[s.pos+1:], "{")
	name := ""
	if rest != "" && strings.IndexByte(letters, rest[0]) >= 0 {
		name = rest[:len(rest)-len(strings.TrimLeft(rest, letters+"0123456789"))]
	}
	switch {
	case braced && (name == "" || !strings.HasPrefix(rest[len(name):], "}")):
		return "", 0, fmt.Errorf("only ${NAME} is understood at byte %d", s.pos)
	case braced:
		return s.lookup(name), len("${}") + len(name), nil
	case name != "":
		return s.lookup(name), len("$") + len(name), nil
	case strings.HasPrefix(rest, "("):
		return "", 0, fmt.Errorf("a command in $( at byte %d is not run", s.pos)
	case rest != "" && strings.IndexByte("$?!@*#-0123456789", rest[0]) >= 0:
		return "", 0, fmt.Errorf("$%c at byte %d is a shell's own parameter", rest[0], s.pos)
	}
	return "$", 1, nil
}

// SplitJoined splits an argument that is several arguments in one text, such as "-Xmx1g
// -Xms1g". A value may hold blanks, so only what cannot be a value is a sign: something that begins with - behind
// an option without a command or a list of options as its value.
func SplitJoined(arg string) (args []string, ok bool) {
	args, err := SplitOptions(arg)
	if err != nil || len(args) < 2 || !strings.HasPrefix(args[0], "-") {
		return nil, false
	}
	first := args[0]
	name, value, _ := strings.Cut(first, "=")
	if name == "-XX:OnError" || name == "-XX:OnOutOfMemoryError" || strings.HasPrefix(value, "-") { // a command, or -Dapp.options=-a -b
		return nil, false
	}
	another := func(a string) bool {
		return hasPrefix(a, "-X", "-D", "--") || strings.HasPrefix(a, "-") && !strings.HasPrefix(first, "-D")
	}
	if TakesValue(first) || slices.ContainsFunc(args[1:], another) {
		return args, true
	}
	return nil, false
}
