package main

import (
	"cmp"
	"os"

	"github.com/stoker-init/stoker/internal/access"
	"github.com/stoker-init/stoker/internal/cmdline"
	"github.com/urfave/cli/v2"
)

// remoteFlags name another stoker. Each has a variable that means the same.
func remoteFlags(hidden bool) []cli.Flag {
	flag := func(name, usage string) cli.Flag { return &cli.StringFlag{Name: name, Usage: usage, Hidden: hidden} }
	return []cli.Flag{
		flag("url", "ask another stoker, at `URL`: https://HOST:PORT (STOKER_URL)"),
		flag("token-file", "its token is in `FILE`, with mode 0600 (STOKER_TOKEN_FILE)"),
		flag("ca", "trust the authorities in `FILE` (STOKER_CA_FILE)"),
		flag("cert", "client certificate in `FILE` (STOKER_CERT_FILE)"),
		flag("key", "key of the client certificate in `FILE` (STOKER_KEY_FILE)"),
	}
}

// remoteOf returns what the flags or the environment name; without a URL it is the stoker that runs here. c may be nil.
func remoteOf(c *cli.Context) access.Remote {
	value := func(flag, variable string) string {
		text := ""
		if c != nil && cmdline.FlagOf(c.Command, "url") != nil {
			text = c.String(flag)
		}
		return cmp.Or(text, os.Getenv(variable))
	}
	to := access.Remote{URL: value("url", "STOKER_URL")}
	if to.URL != "" {
		to.TokenFile, to.CA = value("token-file", "STOKER_TOKEN_FILE"), value("ca", "STOKER_CA_FILE")
		to.Certificate, to.Key = value("cert", "STOKER_CERT_FILE"), value("key", "STOKER_KEY_FILE")
	}
	return to
}

// reachable lets a command and those below it ask another stoker, by flags that their help does not show.
func reachable(cmd *cli.Command) *cli.Command {
	if cmd.Action != nil && cmdline.FlagOf(cmd, "url") == nil {
		cmd.Flags = append(cmd.Flags, remoteFlags(true)...)
	}
	for _, sub := range cmd.Subcommands {
		reachable(sub)
	}
	return cmd
}
