package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/config"
	"github.com/stoker-init/stoker/internal/events"
	"github.com/stoker-init/stoker/internal/lifecycle"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/urfave/cli/v2"
)

// The scripts of the shells. They ask completeCommand at each TAB.
var (
	//go:embed completion/bash.sh
	bashCompletion string
	//go:embed completion/zsh.sh
	zshCompletion string
	//go:embed completion/fish.fish
	fishCompletion string
)

// shellScripts are the scripts by shell.
func shellScripts() map[string]string {
	return map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
}

// completionHelp explains completion.
const completionHelp = `SHELL is bash, zsh or fish. In the shell's startup file:
  bash:  source <(stoker completion bash)
  zsh:   source <(stoker completion zsh)
  fish:  stoker completion fish | source
Names of services, plugins and incidents are those of the stoker that runs here.`

// completionCommands are the command for people, and the hidden one that the scripts
// call.
func completionCommands(app *cli.App) []*cli.Command {
	return []*cli.Command{
		{Name: "completion", Usage: "print a script that completes commands in a shell", ArgsUsage: "SHELL", Description: completionHelp,
			Action: func(c *cli.Context) error {
				return atMost(c, 1, func(a []string) error {
					script, ok := shellScripts()[optional(a)]
					if !ok {
						return &hintError{fmt.Errorf("cannot complete in the shell %q", optional(a)),
							suggest.Hint(optional(a), slices.Sorted(maps.Keys(shellScripts()))), codeUsage}
					}
					_, err := io.WriteString(app.Writer, script)
					return err
				})
			}},
		{Name: "__complete", Usage: "print what may stand in the place of the last word", ArgsUsage: "[ARGS...]", Hidden: true,
			Action: func(c *cli.Context) error {
				ctx, cancel := context.WithTimeout(c.Context, completionTime)
				defer cancel()
				for _, word := range complete(ctx, app, c.Args().Slice()) {
					fmt.Fprintln(app.Writer, word)
				}
				return nil // a shell has no place for an error
			}},
	}
}

// completionTime is how long a person waits for names after a TAB.
const completionTime = 700 * time.Millisecond

// wantFiles stands for the files of the folder, which the shell knows.
const wantFiles = ":files"

// complete gives what may stand in the place of the last word, each with a tab and
// what it means.
func complete(ctx context.Context, app *cli.App, words []string) []string {
	if len(words) == 0 {
		return nil
	}
	at := placeOf(app, words[:len(words)-1])
	last := words[len(words)-1]
	name, value, valued := strings.Cut(last, "=")
	switch {
	case at.flag != nil:
		return starting(last, "", at.values(ctx, placeholder(at.flag)))
	case !at.argsOnly && strings.HasPrefix(last, "--") && valued:
		if f := flagOf(at.cmd, strings.TrimLeft(name, "-")); f != nil {
			return starting(value, name+"=", at.values(ctx, placeholder(f)))
		}
		return nil
	case !at.argsOnly && strings.HasPrefix(last, "-"):
		var flags []string
		for _, f := range visibleFlags(at.cmd) {
			_, usage := describeFlag(f)
			for _, n := range f.Names() {
				if len(n) > 1 {
					flags = append(flags, "--"+n+"\t"+usage)
				}
			}
		}
		return starting(last, "", flags)
	}
	var found []string
	if len(at.args) == 0 && !at.argsOnly {
		for _, c := range at.cmd.Subcommands {
			if !c.Hidden {
				found = append(found, c.Name+"\t"+c.Usage)
			}
		}
	}
	if places := strings.Fields(strings.TrimPrefix(at.cmd.ArgsUsage, "[--]")); len(places) > 0 {
		place := places[min(len(at.args), len(places)-1)]
		if len(at.args) < len(places) || strings.Contains(place, "...") {
			found = append(found, at.values(ctx, strings.Trim(place, "[]."))...)
		}
	}
	return starting(last, "", found)
}

// place is where a word stands.
type place struct {
	cmd      *cli.Command
	args     []string
	flag     cli.DocGenerationFlag // whose value it is; nil: of none
	argsOnly bool                  // no flag can stand there
}

// placeOf is the place behind words.
func placeOf(app *cli.App, words []string) place {
	at := place{cmd: rootCommand(app)}
	for _, word := range words {
		switch {
		case at.flag != nil:
			at.flag = nil
		case at.argsOnly:
			at.args = append(at.args, word)
		case word == "--":
			at.argsOnly = true
		case len(word) > 1 && word[0] == '-':
			name := strings.TrimLeft(word, "-")
			if !strings.HasPrefix(word, "--") {
				name = word[len(word)-1:] // of -fn
			}
			if f := flagOf(at.cmd, name); f != nil && f.TakesValue() {
				at.flag = f
			}
		case len(at.args) == 0 && at.cmd.Command(word) != nil:
			at.cmd = at.cmd.Command(word)
		default:
			at.args = append(at.args, word)
			at.argsOnly = len(at.args) == argumentsBeforeProgram(at.cmd)
		}
	}
	return at
}

// placeholder is the name of a flag's value in the help.
func placeholder(f cli.DocGenerationFlag) string {
	names, _ := describeFlag(f)
	return names[strings.LastIndexByte(names, ' ')+1:]
}

// values are those of a placeholder of the help.
func (at place) values(ctx context.Context, placeholder string) (out []string) {
	switch placeholder {
	case "SERVICE", "PLUGIN", "HOOK", "ACTION", "NUMBER":
		if c, err := connect(); err == nil {
			return at.names(ctx, c, placeholder)
		}
	case "EVENT":
		return lifecycle.Names()
	case "KIND":
		return events.Kinds()
	case "SIGNAL":
		for sig := syscall.SIGHUP; sig <= syscall.SIGSYS; sig++ {
			out = append(out, proc.SignalName(sig))
		}
	case "FORMAT":
		if at.cmd.Name == "render" {
			return []string{"argv", "argfile", "json"}
		}
		return []string{"table", "json"}
	case "SHELL":
		return slices.Sorted(maps.Keys(shellScripts()))
	case "FILE", "DIR", "PATH", "CMD", "ARGS":
		return []string{wantFiles}
	}
	return out
}

// names are those that the stoker which runs here knows.
func (at place) names(ctx context.Context, c *api.Client, placeholder string) (out []string) {
	switch placeholder {
	case "SERVICE":
		st, _ := c.Status(ctx) // without an answer there are none
		for _, s := range st.Services {
			out = append(out, s.Name+"\t"+string(s.State))
		}
		if at.flag == nil && slices.Contains([]string{"start", "stop", "restart", "status", "logs"}, at.cmd.Name) && len(out) > 1 {
			out = append(out, config.AllServices+"\tevery service")
		}
	case "PLUGIN":
		list, _ := c.Plugins(ctx)
		for _, p := range list.Plugins {
			out = append(out, p.Name+"\t"+string(p.State))
		}
	case "ACTION":
		p, _ := c.Plugin(ctx, at.args[0])
		for _, name := range slices.Sorted(maps.Keys(p.Actions)) {
			out = append(out, name+"\t"+p.Actions[name].Description)
		}
	case "HOOK":
		list, _ := c.Hooks(ctx)
		for _, h := range list.Hooks {
			if string(h.Event) == at.args[0] {
				out = append(out, h.Name)
			}
		}
	case "NUMBER":
		list, _ := c.Incidents(ctx)
		for _, i := range list.Incidents {
			out = append(out, strconv.FormatUint(i.Number, 10)+"\t"+i.Service+": "+string(i.Cause))
		}
	}
	return out
}

// starting are the words that begin so, each behind prefix and on one line.
func starting(begin, prefix string, words []string) (out []string) {
	for _, word := range words {
		name, about, described := strings.Cut(word, "\t")
		switch {
		case word == wantFiles:
			out = append(out, word)
		case !strings.HasPrefix(name, begin):
		case described:
			out = append(out, prefix+oneLine(name)+"\t"+oneLine(about))
		default:
			out = append(out, prefix+oneLine(name))
		}
	}
	return out
}
