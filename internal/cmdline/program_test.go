package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

// TestRun covers what the library does not have: flags behind arguments, values with commas,
// and errors of one line with a hint.
func TestRun(t *testing.T) {
	for line, want := range map[string]string{
		"show a -n 3 -s x,y -s z": "[a] 3 [x,y z] false",
		"show -fn3 a":             "[a] 3 [] true",
		"show a -- -n":            "[a -n] 1 [] false",
		"show -f=false a":         "[a] 1 [] false",
		"show -n ten a":           `cannot use "ten" for --number: want a number | prog show --help explains the flags`,
		"show -n 99999999999999999999 a": `cannot use "99999999999999999999" for --number: want a number (value out of range) | ` +
			"prog show --help explains the flags",
		"show --force=maybe a": `cannot use "maybe" for --force: want true or false | prog show --help explains the flags`,
		"show a -n":            "cannot use -n: its value is missing | prog show --help explains it",
		"show --numer 3 a":     "prog show has no flag --numer | did you mean --number?",
		"show":                 "prog show: the argument NAME is missing | list has them",
		"show a b c":           `cannot use argument "c": prog show takes at most 2 | prog show --help explains the arguments`,
		"shwo":                 `there is no command "shwo" | did you mean ` + "`prog show`?",
		"ls":                   `there is no command "ls" | did you mean ` + "`prog show`?",
		"show -o yaml a":       `cannot print as "yaml" | -o is table or json`,
	} {
		got := ""
		p := New(&cli.App{Name: "prog", Writer: io.Discard, Commands: []*cli.Command{{Name: "show", ArgsUsage: "NAME [OTHER]",
			Flags: []cli.Flag{&cli.IntFlag{Name: "number", Aliases: []string{"n"}, Value: 1}, &cli.StringSliceFlag{Name: "set", Aliases: []string{"s"}},
				&cli.BoolFlag{Name: "force", Aliases: []string{"f"}}, OutputFlag("table", "json")},
			Action: func(c *cli.Context) error {
				got = fmt.Sprint(c.Args().Slice(), c.Int("number"), c.StringSlice("set"), c.Bool("force"))
				return nil
			}}}})
		p.Commands, p.Placeholders = map[string]string{"show": "ls dir"}, map[string]Placeholder{"NAME": {Hint: "list has them"}}
		var usage *exit.Error
		if err := p.Run(context.Background(), append([]string{"prog"}, strings.Fields(line)...)); errors.As(err, &usage) {
			got = usage.Error() + " | " + usage.Hint
		} else if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}
