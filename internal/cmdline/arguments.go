package cmdline

import (
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/urfave/cli/v2"
)

// helpWord asks for help in the place of a command's name.
const helpWord = "help"

// Invocation is a command line, split into the command, its flags and its arguments.
type Invocation struct {
	Help bool // only the help of the command is wanted

	program  *Program
	path     []*cli.Command        // from the program itself to the command
	flags    []flagValue           // of the command
	rest     []string              // arguments of the command
	argsOnly bool                  // what follows are arguments, even with a dash
	pending  cli.DocGenerationFlag // the last flag, whose value is missing; nil: there is none
	err      error                 // about the first unknown flag
}

type flagValue struct {
	flag  cli.DocGenerationFlag
	value string
}

func (i *Invocation) command() *cli.Command { return i.path[len(i.path)-1] }

// Name returns the command as it is typed.
func (i *Invocation) Name() string { return strings.Join(i.names(), " ") }

func (i *Invocation) names() (out []string) {
	for _, c := range i.path {
		out = append(out, c.Name)
	}
	return out
}

// Words returns the command line with its flags in their long form before the arguments.
func (i *Invocation) Words() []string {
	out := i.names()
	for _, f := range i.flags {
		word := "--" + f.flag.Names()[0]
		if f.flag.TakesValue() || f.value != "true" {
			word += "=" + f.value
		}
		out = append(out, word)
	}
	return slices.Concat(out, []string{"--"}, i.rest)
}

// RootCommand returns the program itself as a command.
func RootCommand(app *cli.App) *cli.Command {
	return &cli.Command{Name: app.Name, Usage: app.Usage, Description: app.Description, UsageText: app.UsageText,
		Flags: app.Flags, Subcommands: app.Commands}
}

// Parse reads a command line, args[0] being the program. Flags may stand
// behind arguments, where the library does not find them. What belongs to a program
// (behind the CMD of run, the ACTION of plugin run, or --) is not changed.
func (p *Program) Parse(args []string) (*Invocation, error) {
	i := p.read(args[1:])
	cmd := i.command()
	switch {
	case i.err != nil:
		return i, i.err
	case i.pending != nil:
		word := args[len(args)-1]
		return i, exit.UsageError(i.Name()+" --help explains it", "cannot use %s: its value is missing", word)
	case len(cmd.Subcommands) > 0 && (cmd.Action == nil || i.Help) && len(i.rest) > 0:
		return i, i.unknownCommand(i.rest[0])
	}
	i.Help = i.Help || cmd.Action == nil && len(i.path) > 1
	if err := i.checkCount(); err != nil && !i.Help {
		return i, err
	}
	return i, nil
}

// read splits the words behind the program's name.
func (p *Program) read(words []string) *Invocation {
	i := &Invocation{program: p, path: []*cli.Command{RootCommand(p.App)}}
	for ; len(words) > 0; words = words[1:] {
		cmd, word := i.command(), words[0]
		switch i.pending = nil; {
		case i.argsOnly:
			i.rest = append(i.rest, word)
		case word == "--":
			i.argsOnly = true
		case len(word) > 1 && word[0] == '-':
			if i.readFlag(word, words[1:]) {
				words = words[1:]
			}
		case len(i.rest) == 0 && len(cmd.Subcommands) > 0 && word == helpWord:
			i.Help = true
		case len(i.rest) == 0 && cmd.Command(word) != nil:
			i.path, i.flags = append(i.path, cmd.Command(word)), nil
		default:
			i.rest = append(i.rest, word)
			i.argsOnly = len(i.rest) == argumentsBeforeProgram(cmd)
		}
	}
	return i
}

// argumentsBeforeProgram counts the arguments of a command before those of the
// program that it runs; -1: it runs none.
func argumentsBeforeProgram(cmd *cli.Command) int {
	before, _, found := strings.Cut(cmd.ArgsUsage, "[ARGS...]")
	if !found {
		return -1
	}
	return len(strings.Fields(strings.TrimPrefix(before, "[--]")))
}

// readFlag reads a word with one or several flags, such as -o json, -ojson,
// --output=json or -ft, and returns whether the next word belongs to it.
func (i *Invocation) readFlag(word string, next []string) (takesNext bool) {
	cmd := i.command()
	name, value, valued := strings.Cut(strings.TrimLeft(word, "-"), "=")
	f := FlagOf(cmd, name)
	for letters := word[1:]; f == nil; letters = letters[1:] {
		first := FlagOf(cmd, letters[:1])
		switch {
		case letters[0] == '-' || first == nil:
			if i.err == nil {
				i.err = i.unknownFlag(word)
			}
			return false
		case first.TakesValue() || len(letters) == 1:
			f, value, valued = first, strings.TrimPrefix(letters[1:], "="), len(letters) > 1
		default:
			i.addFlag(first, "true")
		}
	}
	switch {
	case valued:
		i.addFlag(f, value)
	case !f.TakesValue():
		i.addFlag(f, "true")
	case len(next) == 0:
		i.pending = f
	default:
		i.addFlag(f, next[0])
		return true
	}
	return false
}

func (i *Invocation) addFlag(f cli.DocGenerationFlag, value string) {
	i.flags = append(i.flags, flagValue{f, value})
	i.Help = i.Help || f.Names()[0] == helpWord
}

// FlagOf returns the flag of a command with a name; nil: there is none.
func FlagOf(cmd *cli.Command, name string) cli.DocGenerationFlag {
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			return f.(cli.DocGenerationFlag) // as every flag of the library is
		}
	}
	return nil
}

// placesOf returns the placeholders of a command's arguments: SERVICE, [FILE], NAME...
func placesOf(cmd *cli.Command) []string {
	return strings.Fields(strings.TrimPrefix(cmd.ArgsUsage, "[--]"))
}

// placeholderName returns a placeholder without its marks: FILE for [FILE...].
func placeholderName(place string) string {
	return strings.NewReplacer("[", "", "]", "", "...", "").Replace(place)
}

// checkCount compares the number of arguments with the placeholders of the help.
func (i *Invocation) checkCount() error {
	places, n := placesOf(i.command()), len(i.rest)
	if n < len(places) && places[n][0] != '[' {
		place := placeholderName(places[n])
		hint := i.program.Placeholders[place].Hint
		if hint == "" {
			hint = i.Name() + " --help explains the arguments"
		}
		return exit.UsageError(hint, "%s: the argument %s is missing", i.Name(), place)
	}
	if n > len(places) && !strings.Contains(i.command().ArgsUsage, "...") {
		return exit.UsageError(i.Name()+" --help explains the arguments",
			"cannot use argument %q: %s takes at most %d", i.rest[len(places)], i.Name(), len(places))
	}
	return nil
}

// unknownCommand is the error for a group that has no such command.
func (i *Invocation) unknownCommand(word string) error {
	hint := i.Name() + " --help lists them"
	if len(i.path) == 1 {
		hint = i.Name() + " help lists them"
	}
	if meant := i.nearestCommand(word); meant != "" {
		hint = "did you mean `" + meant + "`?"
	}
	_, name, _ := strings.Cut(i.Name()+" "+word, " ")
	return exit.UsageError(hint, "there is no command %q", name)
}

// nearestCommand returns the command that is probably meant: at the top that of
// another tool, or one of a group that was left out; else one with a similar name.
func (i *Invocation) nearestCommand(word string) string {
	if len(i.path) == 1 {
		for name, synonyms := range i.program.Commands {
			if slices.Contains(strings.Fields(synonyms), word) {
				return i.Name() + " " + name
			}
		}
		var below []string
		for _, group := range i.command().Subcommands {
			if group.Command(word) != nil {
				below = append(below, i.Name()+" "+group.Name+" "+word)
			}
		}
		if len(below) == 1 {
			return below[0]
		}
	}
	var names []string
	for _, c := range i.command().VisibleCommands() {
		names = append(names, c.Name)
	}
	if name, ok := suggest.Nearest(word, names); ok {
		return i.Name() + " " + name
	}
	return ""
}

// unknownFlag is the error for a flag that the command does not have.
func (i *Invocation) unknownFlag(word string) error {
	cmd := i.command()
	hint := i.Name() + " --help lists the flags"
	if len(cmd.Subcommands) > 0 && cmd.Action == nil {
		hint = "flags of a command stand behind its name; " + hint
	}
	name, _, _ := strings.Cut(word, "=")
	if meant := i.nearestFlag(strings.TrimLeft(name, "-")); meant != "" {
		hint = "did you mean " + meant + "?"
	}
	return exit.UsageError(hint, "%s has no flag %s", i.Name(), name)
}

// nearestFlag returns the flag that is probably meant.
func (i *Invocation) nearestFlag(name string) string {
	cmd := i.command()
	for known, synonyms := range i.program.Flags {
		flag, _, _ := strings.Cut(strings.TrimLeft(known, "-"), " ")
		if slices.Contains(strings.Fields(synonyms), name) && FlagOf(cmd, flag) != nil {
			return known
		}
	}
	var names []string
	for _, f := range cmd.Flags {
		names = append(names, f.Names()...)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return len(n) == 1 })
	if word, ok := suggest.Nearest(name, names); ok {
		return "--" + word
	}
	return ""
}
