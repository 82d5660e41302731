package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/urfave/cli/v2"
)

// helpWord asks for help where a command's name could stand.
const helpWord = "help"

// invocation is a command line whose flags are found: the command, and its
// arguments in the order that the library reads.
type invocation struct {
	path []*cli.Command // the command below its groups; empty: stoker itself
	args []string       // from the program's name on
	help bool           // only help for it was asked for
}

// command is what is invoked.
func (i *invocation) command(app *cli.App) *cli.Command {
	if len(i.path) == 0 {
		return rootCommand(app)
	}
	return i.path[len(i.path)-1]
}

// rootCommand is stoker itself as a command.
func rootCommand(app *cli.App) *cli.Command {
	return &cli.Command{Name: app.Name, Usage: app.Usage, Description: app.Description, UsageText: app.UsageText,
		Flags: app.Flags, Subcommands: app.Commands}
}

// name is the command as it is typed.
func (i *invocation) name() string {
	words := []string{"stoker"}
	for _, c := range i.path {
		words = append(words, c.Name)
	}
	return strings.Join(words, " ")
}

// parseArguments finds the flags of a command line, which may stand behind the
// arguments: the library knows them only before. What belongs to a program (behind
// the CMD of run, the ACTION of plugin run, or --) stays as it is.
func parseArguments(app *cli.App, args []string) (*invocation, error) {
	inv := &invocation{args: slices.Clone(args[:1])}
	cmd := inv.command(app)
	var flags, rest []string
	for k := 1; k < len(args); {
		word := args[k]
		switch {
		case word == "--":
			rest = append(rest, args[k+1:]...)
			k = len(args)
		case len(word) > 1 && word[0] == '-':
			taken, n, err := inv.flag(cmd, args[k:])
			if err != nil {
				return inv, err
			}
			if slices.Contains(taken, "--"+helpWord) {
				inv.help = true
			}
			flags = append(flags, taken...)
			k += n
		case len(rest) == 0 && len(cmd.Subcommands) > 0 && word == helpWord:
			inv.help = true
			k++
		case len(rest) == 0 && cmd.Command(word) != nil:
			cmd = cmd.Command(word)
			inv.path = append(inv.path, cmd)
			inv.args = append(append(inv.args, flags...), word)
			flags = nil
			k++
		default:
			rest = append(rest, word)
			k++
			if len(rest) == argumentsBeforeProgram(cmd) {
				rest = append(rest, args[k:]...)
				k = len(args)
			}
		}
	}
	if len(cmd.Subcommands) > 0 && (cmd.Action == nil || inv.help) && len(rest) > 0 {
		return inv, inv.unknownCommand(app, cmd, rest[0])
	}
	inv.help = inv.help || cmd.Action == nil && len(inv.path) > 0
	inv.args = append(append(append(inv.args, flags...), "--"), rest...)
	return inv, nil
}

// argumentsBeforeProgram is how many arguments of a command come before those of
// the program that it runs; -1: it runs none.
func argumentsBeforeProgram(cmd *cli.Command) int {
	before, _, found := strings.Cut(cmd.ArgsUsage, "[ARGS...]")
	if !found {
		return -1
	}
	return len(strings.Fields(strings.TrimPrefix(before, "[--]")))
}

// flag reads the flag at the beginning of args, and what of args it takes: -o json,
// -ojson, --output=json, -ft.
func (i *invocation) flag(cmd *cli.Command, args []string) (out []string, taken int, err error) {
	word := args[0]
	name, value, valued := strings.Cut(strings.TrimLeft(word, "-"), "=")
	f := flagOf(cmd, name)
	switch {
	case f == nil && !strings.HasPrefix(word, "--") && flagOf(cmd, word[1:2]) != nil && len(word) > 2:
		f = flagOf(cmd, word[1:2])
		if !f.TakesValue() { // several letters
			if out, taken, err = i.flag(cmd, append([]string{"-" + word[2:]}, args[1:]...)); err != nil && flagOf(cmd, word[2:3]) == nil {
				err = i.unknownFlag(cmd, word)
			}
			return append([]string{"--" + f.Names()[0]}, out...), taken, err
		}
		value, valued = strings.TrimPrefix(word[2:], "="), true
	case f == nil:
		return nil, 0, i.unknownFlag(cmd, word)
	}
	canonical := "--" + f.Names()[0]
	switch {
	case valued:
		return []string{canonical + "=" + value}, 1, nil
	case !f.TakesValue():
		return []string{canonical}, 1, nil
	case len(args) < 2:
		return nil, 0, &hintError{fmt.Errorf("cannot use %s: its value is missing", word), i.name() + " --help explains it", codeUsage}
	}
	return []string{canonical + "=" + args[1]}, 2, nil
}

// flagOf is the flag of a command with a name; nil: there is none.
func flagOf(cmd *cli.Command, name string) cli.DocGenerationFlag {
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			return f.(cli.DocGenerationFlag) // as every flag of the library is
		}
	}
	return nil
}

// unknownCommand says that a group has no such command, and which may be meant.
func (i *invocation) unknownCommand(app *cli.App, group *cli.Command, word string) error {
	within := strings.TrimPrefix(i.name()+" ", "stoker ")
	hint := i.name() + " --help lists them"
	if len(i.path) == 0 {
		hint = "stoker help lists them"
	}
	if meant := meantCommand(app, group, word); meant != "" {
		hint = "did you mean `" + meant + "`?"
	}
	return &hintError{fmt.Errorf("there is no command %q", within+word), hint, codeUsage}
}

// meantCommand is the command that is probably meant by a word: one of another
// tool, one of a group that was left out, or one that is spelt nearly so.
func meantCommand(app *cli.App, group *cli.Command, word string) string {
	prefix := "stoker "
	if group.Name != app.Name {
		prefix += group.Name + " "
	}
	var names, below []string
	for _, c := range app.Commands {
		for _, sub := range c.Subcommands {
			if sub.Name == word {
				below = append(below, "stoker "+c.Name+" "+sub.Name)
			}
		}
	}
	for _, c := range group.Subcommands {
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	if group.Name == app.Name {
		if own := foreignCommand(word); own != "" {
			return "stoker " + own
		}
		if len(below) == 1 {
			return below[0]
		}
	}
	if name, ok := suggest.Nearest(word, names); ok {
		return prefix + name
	}
	return ""
}

// foreignCommand is our word for a command of docker, kubectl, systemctl,
// supervisorctl or the JDK.
func foreignCommand(word string) string {
	for own, theirs := range map[string]string{
		"status": "ps ls list services pid get describe inspect top stats", "logs": "log tail journal journalctl output", "signal": "kill",
		"start": "up", "stop": "down shutdown", "reload": "update reread daemon-reload", "config check": "validate configtest test",
		"jvm threads": "jstack", "jvm histo": "histogram jmap", "jvm heapdump": "dump heap-dump", "jvm flags": "jinfo",
	} {
		if slices.Contains(strings.Fields(theirs), word) {
			return own
		}
	}
	return ""
}

// unknownFlag says that a command has no such flag, and which may be meant.
func (i *invocation) unknownFlag(cmd *cli.Command, word string) error {
	hint := i.name() + " --help lists the flags"
	if len(i.path) == 0 || len(cmd.Subcommands) > 0 && cmd.Action == nil {
		hint = "flags of a command stand behind its name; " + hint
	}
	name, _, _ := strings.Cut(word, "=")
	if meant := meantFlag(cmd, strings.TrimLeft(name, "-")); meant != "" {
		hint = "did you mean " + meant + "?"
	}
	return &hintError{fmt.Errorf("%s has no flag %s", i.name(), name), hint, codeUsage}
}

// meantFlag is the flag of a command that is probably meant by a name.
func meantFlag(cmd *cli.Command, name string) string {
	for own, theirs := range map[string]string{
		"-o json": "json j format", "-n": "tail num lines last limit", "--config": "file f configuration", "-f": "watch w", "--set": "env e",
	} {
		flag, _, _ := strings.Cut(strings.TrimLeft(own, "-"), " ")
		if slices.Contains(strings.Fields(theirs), name) && flagOf(cmd, flag) != nil {
			return own
		}
	}
	var names []string
	for _, f := range cmd.Flags {
		for _, n := range f.Names() {
			if len(n) > 1 {
				names = append(names, n)
			}
		}
	}
	if word, ok := suggest.Nearest(name, names); ok {
		return "--" + word
	}
	return ""
}
