package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/urfave/cli/v2"
)

// helpWord asks for help in the place of a command's name.
const helpWord = "help"

// invocation is a command line, split into the command, its flags and its arguments.
type invocation struct {
	path  []*cli.Command // from stoker itself to the command
	args  []string       // for the library, from the program's name on
	flags []string       // of the command, as --name=value
	rest  []string       // arguments of the command
	help  bool

	argsOnly bool                  // what follows are arguments, even with a dash
	pending  cli.DocGenerationFlag // the last flag, whose value is missing; nil: there is none
	err      error                 // about the first unknown flag
}

func (i *invocation) command() *cli.Command { return i.path[len(i.path)-1] }

// name returns the command as it is typed.
func (i *invocation) name() string {
	var words []string
	for _, c := range i.path {
		words = append(words, c.Name)
	}
	return strings.Join(words, " ")
}

// rootCommand returns stoker itself as a command.
func rootCommand(app *cli.App) *cli.Command {
	return &cli.Command{Name: app.Name, Usage: app.Usage, Description: app.Description, UsageText: app.UsageText,
		Flags: app.Flags, Subcommands: app.Commands}
}

// parseArguments reads a command line, args[0] being the program. Flags may stand
// behind arguments, where the library does not find them. What belongs to a program
// (behind the CMD of run, the ACTION of plugin run, or --) is not changed.
func parseArguments(app *cli.App, args []string) (*invocation, error) {
	i := readArguments(app, args[1:])
	cmd := i.command()
	switch {
	case i.err != nil:
		return i, i.err
	case i.pending != nil:
		word := args[len(args)-1]
		return i, usageError(i.name()+" --help explains it", "cannot use %s: its value is missing", word)
	case len(cmd.Subcommands) > 0 && (cmd.Action == nil || i.help) && len(i.rest) > 0:
		return i, i.unknownCommand(i.rest[0])
	}
	i.help = i.help || cmd.Action == nil && len(i.path) > 1
	if err := i.checkCount(); err != nil && !i.help {
		return i, err
	}
	i.args = slices.Concat(i.args, i.flags, []string{"--"}, i.rest)
	return i, nil
}

// readArguments splits the words behind the program's name.
func readArguments(app *cli.App, words []string) *invocation {
	i := &invocation{path: []*cli.Command{rootCommand(app)}, args: []string{app.Name}}
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
			i.help = true
		case len(i.rest) == 0 && cmd.Command(word) != nil:
			i.args = slices.Concat(i.args, i.flags, []string{word})
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
func (i *invocation) readFlag(word string, next []string) (takesNext bool) {
	cmd := i.command()
	name, value, valued := strings.Cut(strings.TrimLeft(word, "-"), "=")
	f := flagOf(cmd, name)
	for letters := word[1:]; f == nil; letters = letters[1:] {
		first := flagOf(cmd, letters[:1])
		switch {
		case letters[0] == '-' || first == nil:
			if i.err == nil {
				i.err = i.unknownFlag(word)
			}
			return false
		case first.TakesValue() || len(letters) == 1:
			f, value, valued = first, strings.TrimPrefix(letters[1:], "="), len(letters) > 1
		default:
			i.addFlag(first, "")
		}
	}
	switch {
	case valued:
		i.addFlag(f, "="+value)
	case !f.TakesValue():
		i.addFlag(f, "")
	case len(next) == 0:
		i.pending = f
	default:
		i.addFlag(f, "="+next[0])
		return true
	}
	return false
}

func (i *invocation) addFlag(f cli.DocGenerationFlag, value string) {
	name := f.Names()[0]
	i.flags = append(i.flags, "--"+name+value)
	i.help = i.help || name == helpWord
}

// flagOf returns the flag of a command with a name; nil: there is none.
func flagOf(cmd *cli.Command, name string) cli.DocGenerationFlag {
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
func (i *invocation) checkCount() error {
	places, n := placesOf(i.command()), len(i.rest)
	if n < len(places) && places[n][0] != '[' {
		place := placeholderName(places[n])
		hint := placeholders[place].hint
		if hint == "" {
			hint = i.name() + " --help explains the arguments"
		}
		return usageError(hint, "%s: the argument %s is missing", i.name(), place)
	}
	if n > len(places) && !strings.Contains(i.command().ArgsUsage, "...") {
		return usageError(i.name()+" --help explains the arguments",
			"cannot use argument %q: %s takes at most %d", i.rest[len(places)], i.name(), len(places))
	}
	return nil
}

// usageError returns the error for a wrong command line.
func usageError(hint, format string, args ...any) error {
	return &exit.Error{Err: fmt.Errorf(format, args...), Hint: hint, Code: exit.Usage}
}

// unknownCommand is the error for a group that has no such command.
func (i *invocation) unknownCommand(word string) error {
	hint := i.name() + " --help lists them"
	if len(i.path) == 1 {
		hint = "stoker help lists them"
	}
	if meant := i.nearestCommand(word); meant != "" {
		hint = "did you mean `" + meant + "`?"
	}
	_, name, _ := strings.Cut(i.name()+" "+word, " ")
	return usageError(hint, "there is no command %q", name)
}

// foreignCommands are the commands of docker, kubectl, systemctl, supervisorctl and
// the JDK by ours.
var foreignCommands = map[string]string{
	"status": "ps ls list services pid get describe inspect top stats", "logs": "log tail journal journalctl output", "signal": "kill",
	"start": "up", "stop": "down shutdown", "reload": "update reread daemon-reload", "config check": "validate configtest test",
	"jvm threads": "jstack", "jvm histo": "histogram jmap", "jvm heapdump": "dump heap-dump", "jvm flags": "jinfo",
}

// nearestCommand returns the command that is probably meant: at the top that of
// another tool, or one of a group that was left out; else one with a similar name.
func (i *invocation) nearestCommand(word string) string {
	if len(i.path) == 1 {
		for ours, theirs := range foreignCommands {
			if slices.Contains(strings.Fields(theirs), word) {
				return "stoker " + ours
			}
		}
		var below []string
		for _, group := range i.command().Subcommands {
			if group.Command(word) != nil {
				below = append(below, "stoker "+group.Name+" "+word)
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
		return i.name() + " " + name
	}
	return ""
}

// unknownFlag is the error for a flag that the command does not have.
func (i *invocation) unknownFlag(word string) error {
	cmd := i.command()
	hint := i.name() + " --help lists the flags"
	if len(cmd.Subcommands) > 0 && cmd.Action == nil {
		hint = "flags of a command stand behind its name; " + hint
	}
	name, _, _ := strings.Cut(word, "=")
	if meant := nearestFlag(cmd, strings.TrimLeft(name, "-")); meant != "" {
		hint = "did you mean " + meant + "?"
	}
	return usageError(hint, "%s has no flag %s", i.name(), name)
}

// foreignFlags are the flags of other tools by ours.
var foreignFlags = map[string]string{
	"-o json": "json j format", "-n": "tail num lines last limit", "--config": "file f configuration", "-f": "watch w", "--set": "env e",
}

// nearestFlag returns the flag that is probably meant.
func nearestFlag(cmd *cli.Command, name string) string {
	for ours, theirs := range foreignFlags {
		flag, _, _ := strings.Cut(strings.TrimLeft(ours, "-"), " ")
		if slices.Contains(strings.Fields(theirs), name) && flagOf(cmd, flag) != nil {
			return ours
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
