package main

import (
	"bytes"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/terminal"
	"github.com/urfave/cli/v2"
)

// defaultDetachKeys are those of docker.
const defaultDetachKeys = "ctrl-p,ctrl-q"

func execCommand() *cli.Command {
	return &cli.Command{Name: "exec", Usage: "run a command or a shell in the container, by the console", ArgsUsage: "[--] [CMD [ARGS...]]",
		Category: categoryServices, UsageText: "stoker exec -it -- bash\nstoker exec --context tomcat -- jcmd Bootstrap VM.flags",
		Description: `Its output and exit code are those of CMD: 128+n for signal n, 127 not found,
126 not executable. Without -i its input is empty. Without CMD, -it starts a
shell: /bin/bash, or else /bin/sh. The configuration has to set console.enabled.

If the connection is lost, or the supervisor is restarted, CMD goes on, and so
does this command, with the same byte of input and output. It looks for stoker
for 30 seconds. The detach keys leave CMD alone; "stoker sessions attach" comes
back. In a terminal ^C is a key for CMD; elsewhere INT, TERM, HUP and QUIT are
sent to CMD, and a second one ends it.`,
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "pass stdin on"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "run it in a terminal of its own; stdin must be one"},
			&cli.StringFlag{Name: "context", Usage: "run it with the environment of `SERVICE`"},
			&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "run it as `USER`"},
			&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "set `NAME=VALUE`, repeatable"},
			&cli.StringFlag{Name: "dir", Aliases: []string{"w"}, Usage: "run it in `DIR`"},
			&cli.StringFlag{Name: "keep", Usage: "it goes on for `DURATION` without a client (default: 10m with -t, else 1m)"},
			detachKeysFlag(),
		}, remoteFlags(false)...),
		Action: withClient(execInContainer)}
}

func detachKeysFlag() cli.Flag {
	return &cli.StringFlag{Name: "detach-keys", Value: defaultDetachKeys, Usage: "leave it by `KEYS`: characters or ctrl-CHARACTER, or none"}
}

// execInContainer runs a command in a session of the console.
func execInContainer(c *cli.Context, client *api.Client) error {
	q, err := execQuery(c, os.Getenv)
	if err != nil {
		return err
	}
	r := consoleRun{client: client, own: true, input: c.Bool("interactive")}
	if r.keys, err = parseDetachKeys(c.String("detach-keys")); err != nil {
		return err
	}
	if c.Bool("tty") {
		if r.settings = terminal.Save(); !r.settings.OnTerminal() {
			return exit.UsageError("leave out -t: a pipe needs -i alone", "cannot use -t: stdin is not a terminal")
		}
		rows, columns := terminal.Size(0)
		q.Set("rows", strconv.Itoa(int(rows)))
		q.Set("columns", strconv.Itoa(int(columns)))
	}
	r.path = "/v1/exec?" + q.Encode()
	return r.run(c.Context)
}

// execQuery returns the query for a new session.
func execQuery(c *cli.Context, env func(string) string) (url.Values, error) {
	input, tty := c.Bool("interactive"), c.Bool("tty")
	q := url.Values{"command": c.Args().Slice(), "tty": {strconv.FormatBool(tty)}, "stdin": {strconv.FormatBool(input)}}
	if len(q["command"]) == 0 && (!tty || !input) {
		return nil, exit.UsageError("stoker exec -- CMD ARGS, or stoker exec -it for a shell", "cannot run a command: there is none")
	}
	for _, name := range []string{"context", "user", "dir"} {
		if text := c.String(name); text != "" {
			q.Set(name, text)
		}
	}
	keep := "1m"
	if tty {
		keep = "10m"
	}
	if c.IsSet("keep") {
		keep = c.String("keep")
	}
	q.Set("keep", keep)
	given := map[string]bool{}
	for _, entry := range c.StringSlice("env") {
		name, _, ok := strings.Cut(entry, "=")
		if !ok || name == "" {
			return nil, exit.UsageError("want NAME=VALUE", "cannot use %q for --env", entry)
		}
		given[name] = true
		q.Add("env", entry)
	}
	for _, name := range []string{"TERM", "COLORTERM"} { // of the terminal that shows it
		if value := env(name); tty && value != "" && !given[name] {
			q.Add("env", name+"="+value)
		}
	}
	return q, nil
}

// parseDetachKeys reads keys such as ctrl-p,ctrl-q.
func parseDetachKeys(text string) (keys []byte, err error) {
	if text == "none" || text == "" {
		return nil, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		key, control := strings.CutPrefix(word, "ctrl-")
		switch {
		case len(key) == 1 && !control && key[0] > ' ' && key[0] < 0x7f:
			keys = append(keys, key[0])
		case len(key) == 1 && control && strings.Contains("abcdefghijklmnopqrstuvwxyz@[\\]^_", key):
			keys = append(keys, key[0]&0x1f)
		default:
			return nil, exit.UsageError("want characters or ctrl-CHARACTER with a comma between them, such as "+defaultDetachKeys+", or none",
				"cannot use %q for --detach-keys", text)
		}
	}
	return keys, nil
}

// detachKeys finds the keys in what is typed.
type detachKeys struct {
	keys []byte
	held []byte // typed and not sent yet: the beginning of keys
}

// filter returns what of p is to be sent, and whether it is followed by the last of the keys.
func (d *detachKeys) filter(p []byte) (send []byte, found bool) {
	if len(d.keys) == 0 {
		return p, false
	}
	for _, b := range p {
		d.held = append(d.held, b)
		for !bytes.HasPrefix(d.keys, d.held) {
			send, d.held = append(send, d.held[0]), d.held[1:]
		}
		if len(d.held) == len(d.keys) {
			d.held = nil
			return send, true
		}
	}
	return send, false
}
