package tomcat

import (
	"fmt"
	"strings"
)

// SplitWords cuts the value of JAVA_OPTS and its like into arguments the way
// catalina.sh's "eval exec" does for values that mean only arguments: blanks
// separate, '...' and "..." and \ quote, $NAME and ${NAME} are looked up.
//
// Three things differ on purpose. What would run another command or cut the
// command line short (` $( ; | & < > ( ) and # at the start of a word) is an
// error instead of an execution; a line end is a blank; and * ? [ stay as they
// are even if a file would match.
func SplitWords(text string, lookup func(name string) string) ([]string, error) {
	s := &splitter{text: text, lookup: lookup}
	for s.pos < len(s.text) {
		if err := s.step(); err != nil {
			return nil, err
		}
	}
	s.flush()
	return s.words, nil
}

type splitter struct {
	text   string
	pos    int
	lookup func(string) string
	word   strings.Builder
	open   bool // a word has begun, though it may be empty ("")
	words  []string
}

func (s *splitter) flush() {
	if s.open {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.open = false
}

func (s *splitter) add(text string) {
	s.word.WriteString(text)
	s.open = true
}

func (s *splitter) step() error {
	c := s.text[s.pos]
	switch {
	case strings.IndexByte(" \t\n\r", c) >= 0:
		s.flush()
		s.pos++
	case c == '\\':
		return s.backslash()
	case c == '\'':
		end := strings.IndexByte(s.text[s.pos+1:], '\'')
		if end < 0 {
			return fmt.Errorf("a ' at byte %d is never closed", s.pos)
		}
		s.add(s.text[s.pos+1 : s.pos+1+end])
		s.pos += end + 2
	case c == '"':
		return s.double()
	case c == '$':
		value, err := s.expand()
		if err != nil {
			return err
		}
		s.addFields(value)
	case c == '#' && !s.open, strings.IndexByte("`;|&<>()", c) >= 0:
		return fmt.Errorf("%q at byte %d means something to a shell and is not an option; put it in quotes", c, s.pos)
	default:
		s.add(s.text[s.pos : s.pos+1])
		s.pos++
	}
	return nil
}

func (s *splitter) backslash() error {
	if s.pos+1 >= len(s.text) {
		return fmt.Errorf("a \\ at the end quotes nothing")
	}
	if s.text[s.pos+1] != '\n' {
		s.add(s.text[s.pos+1 : s.pos+2])
	}
	s.pos += 2
	return nil
}

func (s *splitter) double() error {
	start := s.pos
	s.pos++
	s.open = true
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case '"':
			s.pos++
			return nil
		case '\\':
			if s.pos+1 < len(s.text) && strings.IndexByte("$`\"\\\n", s.text[s.pos+1]) >= 0 {
				if err := s.backslash(); err != nil {
					return err
				}
				continue
			}
			s.add(`\`)
			s.pos++
		case '$':
			value, err := s.expand()
			if err != nil {
				return err
			}
			s.add(value)
		case '`':
			return fmt.Errorf("a command in ` at byte %d is not run", s.pos)
		default:
			s.add(s.text[s.pos : s.pos+1])
			s.pos++
		}
	}
	return fmt.Errorf("a \" at byte %d is never closed", start)
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
	for n < len(rest) && isName(rest[n], n) {
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

func isName(c byte, at int) bool {
	return c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || at > 0 && c >= '0' && c <= '9'
}

// addFields adds the value of an unquoted variable: a shell splits it again.
func (s *splitter) addFields(value string) {
	for len(value) > 0 {
		i := strings.IndexAny(value, " \t\n")
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
