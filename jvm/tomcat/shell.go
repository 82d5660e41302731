package tomcat

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// shellCommand is a simple command of a shell script.
type shellCommand struct {
	words  []string // as written, without continued line ends
	line   int      // of its first word
	always bool     // outside of compound commands, functions, pipes and the background, and not behind && or ||
}

// shellReader finds the commands of a POSIX shell script. It does not run or expand anything. What it cannot follow is an error.
type shellReader struct {
	text     string
	pos      int
	command  shellCommand // the current one
	wanted   func(words []string) bool
	commands []shellCommand // those that are wanted
	list     int            // index of the first of commands that is in the same list, which & would put into the background
	chained  bool           // the next command is behind &&, || or |, or is a function's body
	ended    bool           // an exit or exec came
	open     []string       // the words that close the compound commands around
	pattern  bool           // a pattern of a case is next
	heredocs []string       // here-documents that begin with the next line: what ends them, after a tab for <<-
	line     int            // at counted
	counted  int
}

// maxNesting bounds how deep quotes and substitutions are within each other.
const maxNesting = 100

// operators are what separates commands; longer ones first.
var operators = [...]string{"&&", "||", ";;", "&", "|", ";", "\n", "(", ")"}

// readShell returns the commands that are wanted.
func readShell(text string, wanted func(words []string) bool) ([]shellCommand, error) {
	r := &shellReader{text: text, wanted: wanted, line: 1}
	for r.pos < len(text) {
		if err := r.step(); err != nil {
			return nil, fmt.Errorf("line %d: %w", r.lineNumber(), err)
		}
	}
	r.end("\n")
	if len(r.open) > 0 || len(r.heredocs) > 0 {
		return nil, fmt.Errorf("it ends without %q", slices.Concat(r.open, r.heredocs))
	}
	return r.commands, nil
}

func (r *shellReader) lineNumber() int {
	r.line += strings.Count(r.text[r.counted:r.pos], "\n")
	r.counted = r.pos
	return r.line
}

// step takes a blank, a comment, an operator or a word.
func (r *shellReader) step() error {
	rest := r.text[r.pos:]
	switch {
	case rest[0] == ' ' || rest[0] == '\t':
		r.pos++
		return nil
	case strings.HasPrefix(rest, "\\\n"):
		r.pos += len("\\\n")
		return nil
	case rest[0] == '#':
		comment, _, _ := strings.Cut(rest, "\n")
		r.pos += len(comment)
		return nil
	}
	for _, op := range operators {
		if strings.HasPrefix(rest, op) {
			return r.operator(op)
		}
	}
	line := r.lineNumber()
	word, err := r.word()
	if err != nil {
		return err
	}
	if len(r.command.words) == 0 {
		r.command.line = line
	}
	return r.addWord(word)
}

func (r *shellReader) operator(op string) error {
	r.pos += len(op)
	rest := r.text[r.pos:]
	if r.pattern {
		r.pattern = op != ")"
		return nil
	}
	if after, found := strings.CutPrefix(strings.TrimLeft(rest, " \t"), ")"); op == "(" && found && len(r.command.words) > 0 { // name()
		r.pos = len(r.text) - len(after)
		r.command.words, r.chained = r.command.words[:0], true
		return nil
	}
	r.end(op)
	switch op {
	case "(":
		r.open = append(r.open, ")")
	case ")":
		return r.closes(op)
	case ";;":
		r.pattern = true
		if len(r.open) == 0 || r.open[len(r.open)-1] != "esac" {
			return errors.New("a ;; is outside of case")
		}
	case "\n":
		return r.skipHeredocs()
	}
	return nil
}

// end ends the current command before an operator.
func (r *shellReader) end(op string) {
	c := r.command
	if len(c.words) > 0 {
		c.always = len(r.open) == 0 && !r.chained && !r.ended && op != "("
		if r.wanted(c.words) {
			r.commands = append(r.commands, shellCommand{slices.Clone(c.words), c.line, c.always})
		}
		r.ended = r.ended || c.always && (c.words[0] == "exit" ||
			c.words[0] == "exec" && len(c.words) > 1 && !strings.ContainsAny(c.words[1], "<>")) // exec 2>&1 goes on
	}
	if op == "&" || op == "|" { // of the whole list, or of this command at least
		for k := r.list; k < len(r.commands); k++ {
			r.commands[k].always = false
		}
	}
	if next := op == "&&" || op == "||" || op == "|"; op != "\n" || len(c.words) > 0 { // a line may end behind &&
		r.chained = next
	}
	if !r.chained {
		r.list = len(r.commands)
	}
	r.command.words = c.words[:0]
}

// closes ends the compound command that a word closes.
func (r *shellReader) closes(word string) error {
	last := len(r.open) - 1
	if last < 0 || r.open[last] != word {
		return fmt.Errorf("%s does not match", word)
	}
	r.open = r.open[:last]
	return nil
}

// addWord adds to the current command, or takes a word that begins or ends a compound command.
func (r *shellReader) addWord(word string) error {
	words := r.command.words
	if r.pattern {
		if word == "esac" {
			r.pattern = false
			r.command.words = append(words, word)
			return r.closes(word)
		}
		return nil
	}
	if len(words) > 0 {
		if words[0] == "case" && word == "in" && len(words) > 1 {
			r.command.words, r.pattern = words[:0], true
		} else if r.command.words = append(words, word); words[0] == "function" && word == "{" {
			r.command.words, r.open = words[:0], append(r.open, "}")
		}
		return nil
	}
	switch word {
	case "if":
		r.open = append(r.open, "fi")
	case "while", "until":
		r.open = append(r.open, "done")
	case "{":
		r.open = append(r.open, "}")
	case "then", "elif", "else", "do", "!", "time":
	case "for", "select":
		r.open = append(r.open, "done")
		r.command.words = append(words, word)
	case "case":
		r.open = append(r.open, "esac")
		r.command.words = append(words, word)
	case "fi", "done", "esac", "}":
		r.command.words = append(words, word)
		return r.closes(word)
	default:
		r.command.words = append(words, word)
	}
	return nil
}

// word returns the word at pos, which may be a redirection.
func (r *shellReader) word() (string, error) {
	begin := r.pos
	for r.pos < len(r.text) {
		rest := r.text[r.pos:]
		c := rest[0]
		redirects := r.pos > begin && strings.IndexByte("<>", r.text[r.pos-1]) >= 0
		switch {
		case strings.IndexByte(" \t\n;()", c) >= 0, strings.IndexByte("&|", c) >= 0 && !redirects:
			return strings.ReplaceAll(r.text[begin:r.pos], "\\\n", ""), nil
		case strings.HasPrefix(rest, "<<<"):
			r.pos += len("<<<")
		case strings.HasPrefix(rest, "<<"):
			r.heredoc()
		case strings.IndexByte("'\"`$\\", c) >= 0:
			end, err := skipQuoted(r.text, r.pos, false, 0)
			if err != nil {
				return "", err
			}
			r.pos = end
		default:
			r.pos++
		}
	}
	return strings.ReplaceAll(r.text[begin:], "\\\n", ""), nil
}

// heredoc takes the << at pos and the word that ends the document.
func (r *shellReader) heredoc() {
	rest, tabs := strings.CutPrefix(r.text[r.pos+len("<<"):], "-")
	rest = strings.TrimLeft(rest, " \t")
	end := rest
	if k := strings.IndexAny(rest, " \t\n;&|<>()"); k >= 0 {
		end = rest[:k]
	}
	r.pos = len(r.text) - len(rest) + len(end)
	end = strings.NewReplacer("'", "", `"`, "", `\`, "").Replace(end)
	if tabs {
		end = "\t" + end
	}
	r.heredocs = append(r.heredocs, end)
}

func (r *shellReader) skipHeredocs() error {
	for len(r.heredocs) > 0 {
		if r.pos >= len(r.text) {
			return fmt.Errorf("a here-document has no end %s", r.heredocs[0])
		}
		line, _, _ := strings.Cut(r.text[r.pos:], "\n")
		r.pos = min(r.pos+len(line)+1, len(r.text))
		end, tabs := strings.CutPrefix(r.heredocs[0], "\t")
		if line == end || tabs && strings.TrimLeft(line, "\t") == end {
			r.heredocs = r.heredocs[1:]
		}
	}
	return nil
}

// skipQuoted returns the position behind the backslash, quote or substitution at pos, which may be within double quotes.
func skipQuoted(text string, pos int, quoted bool, depth int) (int, error) {
	begin, rest, closing := text[pos], text[pos+1:], byte('"')
	switch {
	case depth > maxNesting:
		return 0, errors.New("quotes and substitutions are too deep within each other")
	case begin == '\\':
		return min(pos+2, len(text)), nil
	case begin == '\'':
		if k := strings.IndexByte(rest, '\''); k >= 0 {
			return pos + k + 2, nil
		}
		return 0, errors.New("the quote ' is not closed")
	case begin == '`':
		closing = '`'
	case begin == '"':
		quoted = true
	case strings.HasPrefix(rest, "{"):
		closing, pos = '}', pos+1
	case begin == '(' || strings.HasPrefix(rest, "("):
		closing, quoted = ')', false
		if begin == '$' {
			pos++
		}
	default:
		return pos + 1, nil // $NAME, or only a $
	}
	for pos++; pos < len(text); {
		c, err := text[pos], error(nil)
		switch {
		case c == closing:
			return pos + 1, nil
		case c == '\\', closing == '`':
			pos = min(pos+1, len(text))
			if c == '\\' {
				pos = min(pos+1, len(text))
			}
		case c == '$' || c == '`' || c == '"' || c == '\'' && !quoted || c == '(' && closing == ')':
			if pos, err = skipQuoted(text, pos, quoted, depth+1); err != nil {
				return 0, err
			}
		default:
			pos++
		}
	}
	return 0, fmt.Errorf("the end %c is missing", closing)
}
