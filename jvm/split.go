package jvm

import (
	"errors"
	"fmt"
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
	text  string
	pos   int
	word  strings.Builder
	open  bool // inside a word, which may be empty ("")
	words []string
	lines []int
	line  int // at counted
	// counted is the position up to which line ends were counted.
	counted int
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

func (s *splitter) add(text string) {
	s.begin()
	s.word.WriteString(text)
}

func (s *splitter) flush() {
	if s.open {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.open = false
}

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
	case s.argfile && (c == '\'' || c == '"'):
		s.argfileQuote(c)
	case c == '\'' || c == '"' && !s.escapes:
		end := strings.IndexByte(s.text[s.pos+1:], c)
		if end < 0 && s.flags {
			s.add(s.text[s.pos+1:])
			s.pos = len(s.text)
			return nil
		}
		if end < 0 {
			return fmt.Errorf("the quote %c at byte %d is not closed", c, s.pos)
		}
		s.add(s.text[s.pos+1 : s.pos+1+end])
		s.pos += end + 2
	case c == '"':
		return s.double()
	case c == '$' && s.lookup != nil:
		value, err := s.expand()
		if err != nil {
			return err
		}
		s.addFields(value)
	case s.lookup != nil && (c == '#' && !s.open || strings.IndexByte("`;|&<>()", c) >= 0):
		return fmt.Errorf("%q at byte %d means something to a shell and is not an option; put it in quotes", c, s.pos)
	default:
		s.add(s.text[s.pos : s.pos+1])
		s.pos++
	}
	return nil
}

// argfileQuote takes a quoted part of an argument file, which ends with its line at the latest.
func (s *splitter) argfileQuote(quote byte) {
	s.begin()
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; c {
		case quote:
			s.pos++
			return
		case '\n', '\r':
			return
		case '\\':
			s.pos++
			if s.pos == len(s.text) {
				return
			}
			s.argfileEscape()
		default:
			s.word.WriteByte(c)
		}
	}
}

// argfileEscape takes what follows a backslash within quotes, up to its last byte.
func (s *splitter) argfileEscape() {
	c := s.text[s.pos]
	if control := strings.IndexByte("nrtf", c); control >= 0 {
		s.word.WriteByte("\n\r\t\f"[control])
	} else if c == '\n' || c == '\r' {
		s.pos = len(s.text) - len(strings.TrimLeft(s.text[s.pos:], " \t\f\n\r")) - 1
	} else {
		s.word.WriteByte(c)
	}
}

func (s *splitter) backslash() error {
	rest := s.text[s.pos+1:]
	switch {
	case rest == "":
		return errors.New("there is a backslash at the end")
	case strings.HasPrefix(rest, "\n"), strings.HasPrefix(rest, "\r\n"): // a continued line
		s.pos += 1 + strings.IndexByte(rest, '\n') + 1
	default:
		s.add(rest[:1])
		s.pos += 2
	}
	return nil
}

func (s *splitter) double() error {
	start := s.pos
	s.begin()
	s.pos++
	for s.pos < len(s.text) {
		c, rest := s.text[s.pos], s.text[s.pos+1:]
		switch {
		case c == '"':
			s.pos++
			return nil
		case c == '\\' && (rest != "" && strings.IndexByte("$`\"\\\n", rest[0]) >= 0 || strings.HasPrefix(rest, "\r\n")):
			if err := s.backslash(); err != nil {
				return err
			}
		case c == '$' && s.lookup != nil:
			value, err := s.expand()
			if err != nil {
				return err
			}
			s.add(value)
		case c == '`' && s.lookup != nil:
			return fmt.Errorf("a command in ` at byte %d is not run", s.pos)
		default:
			s.add(s.text[s.pos : s.pos+1])
			s.pos++
		}
	}
	return fmt.Errorf("the quote \" at byte %d is not closed", start)
}

// expand reads $NAME or ${NAME} at pos and leaves pos behind it.
func (s *splitter) expand() (string, error) {
	rest := s.text[s.pos+1:]
	if strings.HasPrefix(rest, "(") {
		return "", fmt.Errorf("a command in $( at byte %d is not run", s.pos)
	}
	braced := strings.HasPrefix(rest, "{")
	if braced {
		rest = rest[1:]
	}
	n := 0
	for n < len(rest) && ofName(rest[n], n) {
		n++
	}
	if braced && (n == 0 || n >= len(rest) || rest[n] != '}') {
		return "", fmt.Errorf("only ${NAME} is understood at byte %d", s.pos)
	}
	if n == 0 {
		if rest != "" && strings.IndexByte("$?!@*#-0123456789", rest[0]) >= 0 {
			return "", fmt.Errorf("$%c at byte %d is a shell's own parameter", rest[0], s.pos)
		}
		s.pos++
		return "$", nil
	}
	s.pos += 1 + n
	if braced {
		s.pos += 2
	}
	return s.lookup(rest[:n]), nil
}

// ofName reports whether a byte may be at that place of a variable's name.
func ofName(c byte, at int) bool {
	return c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || at > 0 && c >= '0' && c <= '9'
}

// addFields adds the value of an unquoted variable: a shell splits it again.
func (s *splitter) addFields(value string) {
	for len(value) > 0 {
		i := strings.IndexAny(value, blanks)
		if i < 0 {
			s.add(value)
			return
		}
		if i > 0 {
			s.add(value[:i])
		}
		s.flush()
		value = value[i+1:]
	}
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
	if TakesValue(first) {
		return args, true
	}
	name, value, _ := strings.Cut(first, "=")
	switch {
	case name == "-XX:OnError" || name == "-XX:OnOutOfMemoryError":
		return nil, false // a command
	case strings.HasPrefix(value, "-"):
		return nil, false // -Dapp.options=-a -b
	}
	for _, a := range args[1:] {
		known := strings.HasPrefix(a, "-X") || strings.HasPrefix(a, "-D") || strings.HasPrefix(a, "--")
		if known || strings.HasPrefix(a, "-") && !strings.HasPrefix(first, "-D") {
			return args, true
		}
	}
	return nil, false
}
