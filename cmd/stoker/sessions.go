package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/console"
	"github.com/stoker-init/stoker/internal/console/recording"
	"github.com/stoker-init/stoker/internal/display"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/urfave/cli/v2"
)

func sessionsCommand() *cli.Command {
	return &cli.Command{Name: "sessions", Usage: "show, attach to, replay and end the sessions of the console", Category: categoryServices,
		UsageText: "stoker sessions list",
		Description: `SESSION is the ID of a session. The configuration has to set console.enabled,
and for recordings console.recording.mode.`,
		Subcommands: []*cli.Command{
			{Name: "list", Usage: "show the sessions that run, and the latest that have ended", UsageText: "stoker sessions list",
				Flags: []cli.Flag{tableOrJSON()}, Action: answer("list the sessions", (*api.Client).Sessions, sessionsText)},
			{Name: "show", Usage: "show everything that is known of a session", ArgsUsage: "SESSION",
				UsageText: "stoker sessions show jx5sd2cuqa", Flags: []cli.Flag{tableOrJSON()}, Action: withClient(showSession)},
			attachCommand(),
			{Name: "kill", Usage: "end a session with all its processes", ArgsUsage: "SESSION",
				UsageText: "stoker sessions kill jx5sd2cuqa", Flags: []cli.Flag{tableOrJSON()}, Action: withClient(killSession)},
			{Name: "recordings", Usage: "show the recordings, also of sessions that the list no longer has", UsageText: "stoker sessions recordings",
				Flags: []cli.Flag{tableOrJSON()}, Action: answer("list the recordings", (*api.Client).Recordings, recordingsText)},
			{Name: "replay", Usage: "show the recording of a session, as it was", ArgsUsage: "RECORDING",
				UsageText: "stoker sessions replay --speed 4 --max-idle 2s jx5sd2cuqa\nstoker sessions replay --dump /tmp/night.cast",
				Description: `RECORDING is the ID of a session, an asciicast v2 file (its name has a / or ends
with .cast), or - for stdin. ^C ends the replay. What a terminal would answer or
keep, such as titles and the clipboard, is left out. --dump is the default where
stdout is no terminal.`,
				Flags: []cli.Flag{
					&cli.Float64Flag{Name: "speed", Value: 1, Usage: "replay `N` times as fast"},
					&cli.DurationFlag{Name: "max-idle", Usage: "shorten pauses to `DURATION`", DefaultText: `""`},
					&cli.BoolFlag{Name: "dump", Usage: "print the text at once, without colours and cursor movements"}},
				Action: replaySession},
		}}
}

func sessionsText(list api.SessionList, width int) string {
	if len(list.Sessions) == 0 {
		return "There are no sessions.\n"
	}
	t := layout.Table{{"ID", "BY", "USER", "COMMAND", "STARTED", "STATE", "VIEWERS"}}
	for _, s := range list.Sessions {
		t.Add(oneLine(s.ID), oneLine(s.By), dash(oneLine(s.User)), dash(commandLine(s.Command, maxCommand)), s.Started.UTC().Format(time.RFC3339),
			oneLine(sessionState(s)), strconv.Itoa(s.Viewers))
	}
	return layout.Rows(t, width)
}

// sessionState is a session's state in a word or two.
func sessionState(s console.Info) string {
	switch {
	case s.Exit != nil && s.Exit.OOM:
		return "OOM"
	case s.Exit != nil && s.Exit.Signal != "":
		return s.Exit.Signal
	case s.Exit != nil:
		return "exit " + strconv.Itoa(s.Exit.Code)
	case s.DetachedSince != nil:
		return "detached"
	}
	return "running"
}

func showSession(c *cli.Context, client *api.Client) error {
	id := c.Args().First()
	s, err := client.Session(c.Context, id)
	if err != nil {
		return fmt.Errorf("cannot show session %s: %w", id, err)
	}
	return show(c, s, func(width int) string { return sessionText(s, width) })
}

func sessionText(s console.Info, width int) string {
	b := fields{width: width}
	add := func(name, format string, args ...any) { b.add(name, oneLine(fmt.Sprintf(format, args...))) }
	at := func(name string, t *time.Time) {
		if t != nil {
			b.add(name, t.UTC().Format(time.RFC3339))
		}
	}
	add("session", "%s", s.ID)
	add("state", "%s", sessionState(s))
	add("by", "%s%s", s.By, optional(" at ", s.Address, ""))
	add("command", "%s", commandLine(s.Command, 0))
	add("user", "%s", s.User)
	add("context", "%s%s", s.Context, s.Container)
	add("folder", "%s", s.Dir)
	for _, env := range s.Env {
		add("env", "%s", env)
	}
	if s.TTY {
		add("terminal", "%dx%d", s.Columns, s.Rows)
	}
	if s.Pid > 0 {
		add("pid", "%d", s.Pid)
	}
	at("started", &s.Started)
	at("detached", s.DetachedSince)
	at("ended", s.Ended)
	if s.Exit != nil {
		add("exit", "%s", sessionExit(*s.Exit))
	}
	if s.Keep > 0 {
		add("keep", "%v without a client", time.Duration(s.Keep))
	}
	add("keyboard", "%s", s.Holder)
	add("viewers", "%d", s.Viewers)
	add("input", "%d bytes", s.StdinBytes)
	add("output", "%d bytes", s.StdoutBytes+s.StderrBytes)
	add("recording", "%s", s.Recording)
	add("audit ID", "%s", s.AuditID)
	return b.String()
}

func sessionExit(e console.Exit) string {
	text := "exit code " + strconv.Itoa(e.Code)
	if e.Signal != "" {
		text = "killed by " + e.Signal
	}
	if e.OOM {
		text += ", by the OOM killer"
	}
	return text + optional(": ", e.Why, "")
}

func killSession(c *cli.Context, client *api.Client) error {
	id := c.Args().First()
	s, err := client.EndSession(c.Context, id)
	if err != nil {
		return fmt.Errorf("cannot end session %s: %w", id, err)
	}
	return show(c, s, func(int) string {
		if s.Exit == nil {
			return oneLine(s.ID) + " was told to end, and has not ended yet\n"
		}
		return oneLine(s.ID+" has ended: "+sessionExit(*s.Exit)) + "\n"
	})
}

func recordingsText(list api.RecordingList, width int) string {
	t := layout.Table{{"ID", "BY", "USER", "COMMAND", "STARTED", "SECONDS", "CODE", "BYTES"}}
	for _, r := range list.Recordings {
		s := r.Header.Stoker
		if s == nil {
			continue
		}
		took, code := "-", "-"
		if s.Exit != nil {
			took, code = fmt.Sprintf("%.1f", s.Exit.Seconds), strconv.Itoa(s.Exit.Code)
		}
		t.Add(oneLine(r.ID), oneLine(s.By), dash(oneLine(s.User)), dash(commandLine(s.Argv, maxCommand)), s.Started.UTC().Format(time.RFC3339),
			took, code, strconv.FormatInt(r.Size, 10))
	}
	if len(t) == 1 {
		return "There are no recordings.\n"
	}
	return layout.Rows(t, width)
}

// openRecording opens what replay is given.
func openRecording(ctx context.Context, c *cli.Context, name string) (io.ReadCloser, error) {
	switch {
	case name == "-":
		return os.Stdin, nil
	case strings.Contains(name, "/") || strings.HasSuffix(name, ".cast"):
		f, err := untrusted.Open(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return f, nil
	}
	client, err := connect(c)
	if err != nil {
		return nil, err
	}
	return client.Recording(ctx, name)
}

func replaySession(c *cli.Context) error {
	how := recording.Playing{Speed: c.Float64("speed"), MaxIdle: c.Duration("max-idle")}
	if !(how.Speed > 0) || how.MaxIdle < 0 {
		return exit.UsageError("want a number such as 2 or 0.5, and a duration such as 2s", "cannot replay with --speed %v --max-idle %v",
			how.Speed, how.MaxIdle)
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	in, err := openRecording(ctx, c, c.Args().First())
	if err != nil {
		return fmt.Errorf("cannot replay: %w", err)
	}
	defer in.Close()
	r, err := recording.NewReader(in)
	if err != nil {
		return fmt.Errorf("cannot replay: %w", err)
	}
	out := c.App.Writer
	if c.Bool("dump") || !display.IsTerminal(os.Stdout) {
		how = recording.Playing{Text: true}
	} else {
		out = display.Exact(out)
		fmt.Fprintln(display.New(os.Stderr), replayTitle(r.Header))
	}
	if err = recording.Play(ctx, r, out, how); ctx.Err() != nil {
		return nil // ^C is how a replay is left
	}
	if err != nil {
		return fmt.Errorf("cannot replay: %w", err)
	}
	return nil
}

// replayTitle is what a recording shows, on one line.
func replayTitle(h recording.Header) string {
	text := fmt.Sprintf("%dx%d", h.Width, h.Height)
	if s := h.Stoker; s != nil {
		text = fmt.Sprintf("session %s by %s, %s, %s: %s", s.ID, s.By, s.Started.UTC().Format(time.RFC3339), text,
			commandLine(s.Argv, maxCommand))
		if s.Exit != nil {
			text += " (" + sessionExit(s.Exit.Exit) + ")"
		}
	}
	return oneLine(text)
}

func sessionIDs(ctx context.Context, c *api.Client, _ []string) []string {
	list, _ := c.Sessions(ctx)
	return each(list.Sessions, func(s console.Info) string {
		return s.ID + "\t" + sessionState(s) + ", " + s.By + ": " + commandLine(s.Command, maxCommand)
	})
}

func recordingIDs(ctx context.Context, c *api.Client, _ []string) []string {
	list, _ := c.Recordings(ctx)
	return each(list.Recordings, func(r recording.Info) string { return r.ID + "\t" + replayTitle(r.Header) })
}
