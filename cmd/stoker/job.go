package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/urfave/cli/v2"
)

func jobCommand() *cli.Command {
	const program = "[--] [CMD [ARGS...]]"
	return &cli.Command{Name: "job", Usage: "run jobs beside the services: submit, follow, stop them", Category: categoryJobs,
		UsageText: "stoker job run -- java -version",
		Description: `JOB is the ID of a job, or key:KEY for the one that was submitted with a key.
The configuration has to set executor.slots.`,
		Subcommands: append([]*cli.Command{
			{Name: "submit", Usage: "submit a job and print its ID", ArgsUsage: program,
				UsageText:   "stoker job submit --key night-42 --timeout 10m -- /app/report.sh yesterday",
				Description: submitHelp, Flags: append(specFlags(), tableOrJSON()), Action: withJobs(submitJob)},
			{Name: "run", Usage: "submit a job, show its output, and end with its exit code", ArgsUsage: program,
				UsageText: "stoker job run --context tomcat -- java -version",
				Description: `Its stdout and stderr are those of the command. The first ^C, or TERM, stops the
job; a second one leaves it alone. 128+n means that signal n ended the job. 69:
it was refused, not started or lost. 75: it may work later.

` + submitHelp,
				Flags: specFlags(), Action: withJobs(runJob)},
			{Name: "list", Usage: "show the newest jobs", UsageText: "stoker job list --state running --label team=web",
				Flags: []cli.Flag{tableOrJSON(),
					&cli.StringSliceFlag{Name: "state", Usage: "only those in `STATE`, repeatable"},
					&cli.StringSliceFlag{Name: "label", Aliases: []string{"l"}, Usage: "only those with `NAME=VALUE`, repeatable"},
					countFlag("limit", "jobs", "show the newest `N`")},
				Action: withJobs(listJobs)},
			{Name: "show", Usage: "show everything that is known of a job", ArgsUsage: "JOB", UsageText: "stoker job show key:night-42",
				Flags: []cli.Flag{tableOrJSON()}, Action: withJobs(showJob)},
			{Name: "logs", Usage: "show the stdout of a job, byte for byte", ArgsUsage: "JOB", UsageText: "stoker job logs -f key:night-42",
				Flags: []cli.Flag{&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until it ends"},
					&cli.BoolFlag{Name: "stderr", Usage: "its stderr instead"}}, Action: withJobs(showJobLogs)},
			{Name: "kill", Usage: "stop a job; one that waits never starts", ArgsUsage: "JOB", UsageText: "stoker job kill --grace 2s key:night-42",
				Flags: []cli.Flag{tableOrJSON(), &cli.StringFlag{Name: "signal", Usage: "send `SIGNAL` first (default: the job's stop signal)"},
					&cli.DurationFlag{Name: "grace", DefaultText: `""`,
						Usage: "send KILL after `DURATION` (default: the job's); later only a shorter one counts"}},
				Action: withJobs(killJob)},
			{Name: "wait", Usage: "wait until a job has ended, and end with its exit code, as `stoker job run` does", ArgsUsage: "JOB",
				UsageText: "stoker job wait key:night-42 --timeout 5m",
				Flags: []cli.Flag{tableOrJSON(),
					&cli.DurationFlag{Name: "timeout", Usage: "end with 75 after `DURATION`; the job goes on", DefaultText: `""`}},
				Action: withJobs(waitForJob)},
			{Name: "pause", Usage: "accept jobs, but start none", UsageText: "stoker job pause", Flags: []cli.Flag{tableOrJSON()},
				Action: withJobs(controlJobs(executor.Pause))},
			{Name: "resume", Usage: "accept and start jobs again", UsageText: "stoker job resume", Flags: []cli.Flag{tableOrJSON()},
				Action: withJobs(controlJobs(executor.Resume))},
			{Name: "drain", Usage: "accept and start no jobs; those that run go on to their end", UsageText: "stoker job drain --wait",
				Flags:  []cli.Flag{tableOrJSON(), &cli.BoolFlag{Name: "wait", Usage: "wait until none runs"}},
				Action: withJobs(controlJobs(executor.Drain))},
			{Name: "status", Usage: "show the state of the executor", UsageText: "stoker job status",
				Flags: []cli.Flag{tableOrJSON()}, Action: withJobs(showExecutor)},
			{Name: "schedules", Usage: "show the schedules, their next and their latest runs", UsageText: "stoker job schedules",
				Flags: []cli.Flag{tableOrJSON()}, Action: withJobs(showSchedules)},
		}, artifactCommands()...)}
}

const submitHelp = `CMD is not given to a shell. A second submission with the same key is the same
job; with the key of another job it is an error that shows the difference.`

// withJobs makes the Action of a command that asks the executor.
func withJobs(run func(*cli.Context, *jobs.Client) error) cli.ActionFunc {
	return withClient(func(c *cli.Context, client *api.Client) error { return run(c, jobs.New(client, "http://stoker")) })
}

// jobError says what cannot be done, with the exit code for the answer.
func jobError(what string, err error) error {
	out := &exit.Error{Err: fmt.Errorf("cannot %s: %w", what, err)}
	if refused := new(jobs.Error); errors.As(err, &refused) {
		out.Hint, out.Code = refused.Hint, jobAnswerCode(refused.Code)
	}
	return out
}

func jobAnswerCode(code string) int {
	switch code {
	case executor.CodeFull, executor.CodeDraining, executor.CodeStopping:
		return exit.TryLater
	case executor.CodeNoExecutor, executor.CodeUnavailable, executor.CodeNoSpace:
		return exit.Unavailable
	case executor.CodeNoJob, executor.CodeNoArtifact:
		return exit.NotFound
	case executor.CodeBadSpec, "bad-request", "bad-parameter":
		return exit.Usage
	case "forbidden":
		return exit.Refused
	}
	return exit.Failed
}

// specTexts, specDurations and specPairs are the fields of a Spec by their flags.
func specTexts(s *executor.Spec) map[string]*string {
	return map[string]*string{"key": &s.Key, "context": &s.Context, "cwd": &s.Dir, "user": &s.User, "stop-signal": &s.StopSignal,
		"class": &s.Class, "serial": &s.Serial, "memory": &s.Memory, "umask": &s.Umask, "ionice": &s.IONice, "memory-limit": &s.Cgroup.Memory,
		"output-cap": &s.OutputCap, "workspace-cap": &s.WorkspaceCap, "traceparent": &s.Traceparent, "tracestate": &s.Tracestate,
		"baggage": &s.Baggage}
}

func specDurations(s *executor.Spec) map[string]*executor.Duration {
	return map[string]*executor.Duration{"timeout": &s.Timeout, "start-within": &s.StartWithin, "stop-grace": &s.StopGrace,
		"retry-backoff": &s.Retry.Backoff, "retry-max-backoff": &s.Retry.MaxBackoff}
}

func specPairs(s *executor.Spec) map[string]*map[string]string {
	return map[string]*map[string]string{"env": &s.Env, "label": &s.Labels, "rlimit": &s.Rlimits}
}

func specFlags() []cli.Flag {
	text := func(name, usage string, aliases ...string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: usage, Aliases: aliases}
	}
	list := func(name, usage string, aliases ...string) cli.Flag {
		return &cli.StringSliceFlag{Name: name, Usage: usage, Aliases: aliases}
	}
	duration := func(name, usage string) cli.Flag {
		return &cli.DurationFlag{Name: name, Usage: usage, DefaultText: `""`}
	}
	number := func(name, usage string) cli.Flag { return &cli.IntFlag{Name: name, Usage: usage, DefaultText: `""`} }
	return []cli.Flag{
		text("file", "read the job from the JSON `FILE`, - is stdin; flags and CMD replace what it has", "f"),
		text("key", "`KEY` that identifies the job: submitted twice it is the same job"),
		list("env", "add `NAME=VALUE` to its environment, repeatable", "e"),
		text("context", "give it the environment, user and JDK of `SERVICE`"),
		text("cwd", "run it in `DIR` (default: a workspace of its own)"),
		text("user", "run it as `USER`, a name or a number, with a group: USER:GROUP"),
		text("stdin", "let it read `FILE`, - is stdin"),
		duration("timeout", "stop it after `DURATION`"),
		duration("start-within", "skip it if it has not begun after `DURATION`"),
		text("not-before", "start it not before `TIME`, or so long from now: 2026-01-31T12:00:00Z, 10m"),
		text("stop-signal", "stop it by `SIGNAL` first (default: TERM)"),
		duration("stop-grace", "send KILL `DURATION` later"),
		number("retries", "repeat a failed attempt `N` times"),
		duration("retry-backoff", "wait `DURATION` before the first repetition, then twice as long"),
		duration("retry-max-backoff", "wait at most `DURATION`"),
		list("retry-on", "repeat after `END`: an exit code, signal, timeout, oom, infrastructure; repeatable"),
		&cli.BoolFlag{Name: "retry-on-lost", Usage: "run it again if it ran when the container or the machine died"},
		number("priority", "start it before jobs of lower priority than `N`, -100 to 100"),
		text("class", "`CLASS` of the configuration, which has limits of its own"),
		text("serial", "run one job with `KEY` at a time"),
		text("memory", "wait until `SIZE` is free beside the services"),
		text("umask", "octal `MASK`"),
		list("rlimit", "set a limit, `NAME=VALUE`: nofile=1024, core=0:unlimited; repeatable"),
		number("nice", "run it with nice `N`, -20 to 19"),
		text("ionice", "run it with the I/O priority `CLASS`"),
		number("oom-score-adj", "`N` from -1000 to 1000: higher dies first"),
		&cli.Float64Flag{Name: "cpus", Usage: "limit it to `N` CPUs, where a cgroup can be made", DefaultText: `""`},
		text("memory-limit", "limit it to `SIZE` of memory, where a cgroup can be made"),
		number("pids", "limit it to `N` processes and threads, where a cgroup can be made"),
		text("output-cap", "keep `SIZE` of each of stdout and stderr"),
		text("workspace-cap", "limit its workspace to `SIZE`"),
		list("artifact", "keep the file or folder `[NAME=]PATH` of its workspace, repeatable"),
		text("artifact-max", "keep an artifact up to `SIZE`"),
		list("label", "label it with `NAME=VALUE`, repeatable", "l"),
		text("traceparent", "trace context `ID` (W3C)"), text("tracestate", "`LIST` of the trace context"),
		text("baggage", "`LIST` of the trace context"),
	}
}

// specOf reads a Spec from the file, the flags and the arguments of submit and run.
func specOf(c *cli.Context, stdin io.Reader, now time.Time) (s executor.Spec, err error) {
	if path := c.String("file"); path != "" {
		text, err := readNamed(path, stdin)
		if err == nil {
			s, err = executor.ParseSpec(text)
		}
		if err != nil {
			return s, exit.UsageError("docs/reference/jobs.md has the fields", "cannot use the job in %s: %w", path, err)
		}
	}
	for name, field := range specTexts(&s) {
		if c.IsSet(name) {
			*field = c.String(name)
		}
	}
	for name, field := range specDurations(&s) {
		if c.IsSet(name) {
			*field = executor.Duration(c.Duration(name))
		}
	}
	for name, field := range specPairs(&s) {
		for _, text := range c.StringSlice(name) {
			key, value, ok := strings.Cut(text, "=")
			if !ok {
				return s, exit.UsageError("want NAME=VALUE", "cannot use %q for --%s", text, name)
			}
			if *field == nil {
				*field = map[string]string{}
			}
			(*field)[key] = value
		}
	}
	for name, field := range map[string]*int{"retries": &s.Retry.Max, "priority": &s.Priority, "pids": &s.Cgroup.PIDs} {
		if c.IsSet(name) {
			*field = c.Int(name)
		}
	}
	for name, field := range map[string]**int{"nice": &s.Nice, "oom-score-adj": &s.OOMScoreAdj} {
		if c.IsSet(name) {
			*field = new(c.Int(name))
		}
	}
	return s, readOtherFlags(c, &s, stdin, now)
}

// readOtherFlags reads those that have a form of their own.
func readOtherFlags(c *cli.Context, s *executor.Spec, stdin io.Reader, now time.Time) (err error) {
	if c.IsSet("cpus") {
		if s.Cgroup.CPUs = c.Float64("cpus"); math.IsNaN(s.Cgroup.CPUs) || math.IsInf(s.Cgroup.CPUs, 0) {
			return exit.UsageError("want a number such as 1.5", "cannot use %v for --cpus", s.Cgroup.CPUs)
		}
	}
	if c.IsSet("retry-on-lost") {
		s.RetryOnLost = c.Bool("retry-on-lost")
	}
	if c.IsSet("retry-on") {
		s.Retry.On = c.StringSlice("retry-on")
	}
	for _, text := range c.StringSlice("artifact") {
		name, path, named := strings.Cut(text, "=")
		if !named {
			name, path = "", text
		}
		s.Artifacts = append(s.Artifacts, executor.Artifact{Path: path, Name: name, Max: c.String("artifact-max")})
	}
	if text := c.String("not-before"); text != "" {
		later, err := time.ParseDuration(text)
		if s.NotBefore = now.Add(later); err != nil {
			if s.NotBefore, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return exit.UsageError("want a time such as 2026-01-31T12:00:00Z, or a duration such as 10m", "cannot use %q for --not-before", text)
			}
		}
	}
	if path := c.String("stdin"); path != "" {
		if path == "-" && c.String("file") == "-" {
			return exit.UsageError("one of them can be a file", "cannot read both the job and its stdin from stdin")
		}
		if s.Stdin, err = readNamed(path, stdin); err != nil {
			return exit.UsageError("", "cannot read what the job is to read: %w", err)
		}
	}
	if c.Args().Present() {
		s.Command = c.Args().Slice()
	}
	if len(s.Command) == 0 {
		return exit.UsageError(c.Command.HelpName+" -- CMD ARGS", "cannot submit a job: it has no command")
	}
	return nil
}

func readNamed(path string, stdin io.Reader) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(path)
}

func submitJob(c *cli.Context, client *jobs.Client) error {
	spec, err := specOf(c, os.Stdin, time.Now())
	if err != nil {
		return err
	}
	job, _, err := client.Submit(c.Context, spec)
	if err != nil {
		return jobError("submit the job", err)
	}
	return show(c, job, func(int) string { return job.ID.String() + "\n" })
}
