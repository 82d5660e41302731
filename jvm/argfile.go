package jvm

import (
	"fmt"
	"strings"
)

// ParseArgfile reads java's own @argfile syntax ("java @argfiles" of the JDK's
// guide): white space separates arguments; quotes ' and " hold them together
// until the end of the line; a backslash is special within quotes only, for \n \r \t
// \f, itself, a quote and, at the end of a line, the next line without its
// leading blanks; # outside of quotes starts a comment. Sources are name:line.
func ParseArgfile(name, content string) []Option {
	var options []Option
	p := argfileParser{rest: unmarked(content), line: 1}
	for p.skipBlanks(); p.rest != ""; p.skipBlanks() {
		line := p.line
		options = appendArg(options, p.word(), fmt.Sprintf("%s:%d", name, line))
	}
	return options
}

// argfileParser walks through an argument file.
type argfileParser struct {
	rest string
	line int
}

// next takes one byte.
func (p *argfileParser) next() byte {
	c := p.rest[0]
	p.rest = p.rest[1:]
	if c == '\n' {
		p.line++
	}
	return c
}

// skipBlanks goes to the next argument: over white space and comments.
func (p *argfileParser) skipBlanks() {
	for p.rest != "" {
		switch {
		case strings.IndexByte(" \t\f\n\r", p.rest[0]) >= 0:
			p.next()
		case p.rest[0] == '#':
			p.skipComment()
		default:
			return
		}
	}
}

func (p *argfileParser) skipComment() {
	for p.rest != "" && p.rest[0] != '\n' && p.rest[0] != '\r' {
		p.next()
	}
}

// word takes one argument.
func (p *argfileParser) word() string {
	var word strings.Builder
	var quote byte
	for p.rest != "" {
		c := p.rest[0]
		switch {
		case c == '\n' || c == '\r', quote == 0 && strings.IndexByte(" \t\f", c) >= 0:
			return word.String() // the end of a line closes a quote
		case quote == 0 && c == '#':
			p.skipComment()
			return word.String()
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
			p.next()
		case quote != 0 && c == quote:
			quote = 0
			p.next()
		case quote != 0 && c == '\\':
			p.next()
			p.escape(&word)
		default:
			word.WriteByte(p.next())
		}
	}
	return word.String()
}

// escape takes what follows a backslash within quotes.
func (p *argfileParser) escape(word *strings.Builder) {
	if p.rest == "" {
		return
	}
	switch c := p.next(); c {
	case 'n':
		word.WriteByte('\n')
	case 'r':
		word.WriteByte('\r')
	case 't':
		word.WriteByte('\t')
	case 'f':
		word.WriteByte('\f')
	case '\n', '\r':
		for p.rest != "" && strings.IndexByte(" \t\f\n\r", p.rest[0]) >= 0 {
			p.next()
		}
	default:
		word.WriteByte(c)
	}
}

// FormatArgfile writes options in the syntax that ParseArgfile and java read, one
// option a line.
func FormatArgfile(options []Option) string {
	var b strings.Builder
	for _, o := range options {
		for i, arg := range o.Args {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(quoteArgument(arg))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// quoteArgument puts quotes around what an argument file would read otherwise.
func quoteArgument(arg string) string {
	if arg != "" && !strings.ContainsAny(arg, " \t\f\n\r#'\"") {
		return arg // a backslash is ordinary outside of quotes
	}
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\f", `\f`)
	return `"` + r.Replace(arg) + `"`
}

// ParseVMOptionsFile reads the syntax of -XX:VMOptionsFile, that of
// SplitVMOptions. Sources are name:line.
func ParseVMOptionsFile(name, content string) ([]Option, error) {
	words, lines, err := split(content, syntax{})
	if err != nil {
		return nil, err
	}
	var options []Option
	for i, w := range words {
		options = appendArg(options, w, fmt.Sprintf("%s:%d", name, lines[i]))
	}
	return options, nil
}

// ParseFlagsFile reads the syntax of -XX:Flags and .hotspotrc: +Name, -Name and
// Name=value, separated by white space; quotes hold together, and # before a
// setting begins a comment. The result are -XX options; sources are name:line.
func ParseFlagsFile(name, content string) []Option {
	content = unmarked(content)
	var options []Option
	var word strings.Builder
	var quote byte
	line, begun := 1, 0 // begun: the line of the current setting; 0: none
	end := func() {
		if begun > 0 && word.Len() > 0 {
			options = append(options, Option{Args: []string{"-XX:" + word.String()}, Source: fmt.Sprintf("%s:%d", name, begun)})
		}
		word.Reset()
		begun = 0
	}
	for i := 0; i < len(content); i++ {
		c := content[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(c)
		case strings.IndexByte(blanks, c) >= 0:
			end()
		case begun == 0 && c == '#':
			for i+1 < len(content) && content[i+1] != '\n' {
				i++
			}
		default:
			if begun == 0 {
				begun = line
			}
			if c == '\'' || c == '"' {
				quote = c
			} else {
				word.WriteByte(c)
			}
		}
		if c == '\n' {
			line++
		}
	}
	end()
	return options
}
