package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/executor/output"
	"github.com/stoker-init/stoker/executor/schedule"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/stoker-init/stoker/internal/suggest"
	"github.com/urfave/cli/v2"
)

func stateNames() []string {
	return each(executor.States(), func(s executor.State) string { return string(s) })
}

func listJobs(c *cli.Context, client *jobs.Client) error {
	f := executor.Filter{Limit: c.Int("limit")}
	for _, text := range c.StringSlice("state") {
		state := strings.ToUpper(text)
		if !slices.Contains(stateNames(), state) {
			return exit.UsageError(suggest.Hint(state, stateNames()), "there is no state %q", text)
		}
		f.States = append(f.States, executor.State(state))
	}
	for _, text := range c.StringSlice("label") {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return exit.UsageError("want NAME=VALUE", "cannot use %q for --label", text)
		}
		if f.Labels == nil {
			f.Labels = map[string]string{}
		}
		f.Labels[name] = value
	}
	list, err := client.Jobs(c.Context, f)
	if err != nil {
		return jobError("list the jobs", err)
	}
	return show(c, api.JobList{Jobs: list}, func(width int) string { return jobsText(list, time.Now(), width) })
}

func jobsText(list []executor.Job, now time.Time, width int) string {
	if len(list) == 0 {
		return "There are no such jobs.\n"
	}
	t := layout.Table{{"ID", "KEY", "STATE", "AGE", "ATTEMPT", "CODE", "COMMAND"}}
	for _, j := range list {
		t.Add(j.ID.String(), dash(cut(oneLine(j.Spec.Key), maxKey)), oneLine(string(j.State)), layout.Duration(now.Sub(j.Accepted)),
			strconv.Itoa(j.Attempt), exitWord(j.Exit), commandLine(j.Spec.Command, maxCommand))
	}
	return layout.Rows(t, width)
}

// How much of a command and of a key a list shows, in characters.
const (
	maxCommand = 60
	maxKey     = 40
)

// commandLine is a command on one line, cut to a length; 0: whole.
func commandLine(command []string, most int) string {
	return cut(oneLine(strings.Join(command, " ")), most)
}

// cut shortens a text to a length; 0: not.
func cut(s string, most int) string {
	if text := []rune(s); most > 0 && len(text) > most {
		return string(text[:most-3]) + "..."
	}
	return s
}

// exitWord is an exit code, or the name of the signal.
func exitWord(e *executor.Exit) string {
	switch {
	case e == nil || e.Signal == "" && e.Code < 0:
		return "-"
	case e.Signal != "":
		return oneLine(e.Signal)
	}
	return strconv.Itoa(e.Code)
}

func showJob(c *cli.Context, client *jobs.Client) error {
	name := c.Args().First()
	j, err := client.Job(c.Context, name)
	if err != nil {
		return jobError("show job "+name, err)
	}
	return show(c, j, func(width int) string { return jobText(j, width) })
}

func jobText(j executor.Job, width int) string {
	b := fields{width: width}
	add := func(name, format string, args ...any) { b.add(name, oneLine(fmt.Sprintf(format, args...))) }
	at := func(name string, t time.Time) {
		if !t.IsZero() {
			b.add(name, t.UTC().Format(time.RFC3339))
		}
	}
	add("job", "%s", j.ID)
	add("key", "%s", j.Spec.Key)
	add("state", "%s%s", j.State, optional(": ", cmp.Or(j.Reason, j.Waiting), ""))
	add("command", "%s", commandLine(j.Spec.Command, 0))
	add("context", "%s", j.Spec.Context)
	add("user", "%s", j.Spec.User)
	add("stopped by", "%s", j.By)
	for _, name := range slices.Sorted(maps.Keys(j.Spec.Labels)) {
		add("label", "%s=%s", name, j.Spec.Labels[name])
	}
	at("accepted", j.Accepted)
	at("next", j.NextAttempt)
	at("started", j.Started)
	at("ended", j.Ended)
	if j.Attempt > 0 {
		add("attempt", "%d", j.Attempt)
	}
	if j.Pid > 0 {
		add("pid", "%d", j.Pid)
	}
	if e := j.Exit; e != nil {
		add("exit", "%s", exitText(e))
		add("used", "%v of CPU time, %s of memory", e.CPU.Round(time.Millisecond), sizeText(e.MaxRSS))
	}
	add("stdout", "%s", outputText(j.Stdout))
	add("stderr", "%s", outputText(j.Stderr))
	for _, a := range j.Artifacts {
		add("artifact", "%s, %d bytes%s%s", a.Name, a.Bytes, optional(", sha256 ", a.SHA256, ""), optional(", not kept: ", a.Error, ""))
	}
	for _, note := range j.Notes {
		add("note", "%s", note)
	}
	return b.String()
}

func exitText(e *executor.Exit) string {
	text := "exit code " + strconv.Itoa(e.Code)
	switch {
	case e.Error != "":
		text = "not started: " + e.Error
	case e.Signal != "":
		text = "killed by " + e.Signal
	}
	for _, fact := range []struct {
		holds bool
		text  string
	}{{e.OOMKilled, "by the OOM killer"}, {e.Core, "a core was dumped"},
		{e.Leftovers > 0, fmt.Sprintf("%d processes were left behind and ended", e.Leftovers)}} {
		if fact.holds {
			text += ", " + fact.text
		}
	}
	return text
}

// outputText describes a stream; empty: nothing was written.
func outputText(o output.Info) string {
	if o.Bytes == 0 {
		return ""
	}
	text := fmt.Sprintf("%d bytes", o.Bytes)
	if gone := max(o.Tail-o.Head, 0) + o.Lost; o.Truncated() {
		text += fmt.Sprintf(", %d of them not kept", gone)
	}
	return text
}

func showJobLogs(c *cli.Context, client *jobs.Client) error {
	name, stream := c.Args().First(), "stdout"
	if c.Bool("stderr") {
		stream = "stderr"
	}
	err := client.Output(c.Context, name, stream, 0, c.Bool("follow")).Copy(printer{os.Stdout}, reportGap)
	if err == nil || errors.Is(err, errPrint) {
		return err
	}
	return jobError("show the output of job "+name, err)
}

func killJob(c *cli.Context, client *jobs.Client) (err error) {
	name, stop := c.Args().First(), executor.StopRequest{}
	if text := c.String("signal"); text != "" {
		if stop.Signal, err = proc.ParseSignal(text); err != nil {
			return exit.UsageError(placeholders["SIGNAL"].Hint, "%w", err)
		}
	}
	if c.IsSet("grace") {
		if stop.Grace = new(c.Duration("grace")); *stop.Grace < 0 {
			return exit.UsageError("--grace is a duration such as 2s", "cannot wait for %v", *stop.Grace)
		}
	}
	j, err := client.Stop(c.Context, name, stop)
	if err != nil {
		return jobError("stop job "+name, err)
	}
	return show(c, j, func(int) string { return fmt.Sprintf("job %s is %s\n", j.ID, j.State) })
}

// controlJobs makes the command of a verb. With --wait it waits until no job runs.
func controlJobs(verb executor.Verb) func(*cli.Context, *jobs.Client) error {
	return func(c *cli.Context, client *jobs.Client) error {
		st, err := client.Control(c.Context, verb)
		for line := newProgressLine(); err == nil && c.Bool("wait") && st.Running > 0; line.show("") {
			line.show(fmt.Sprintf("%d jobs run", st.Running))
			select {
			case <-c.Done():
				return c.Err()
			case <-time.After(shownTime):
			}
			st, err = client.Status(c.Context)
		}
		if err != nil {
			return jobError(string(verb)+" the executor", err)
		}
		return show(c, st, func(width int) string { return executorText(st, width) })
	}
}

func showExecutor(c *cli.Context, client *jobs.Client) error {
	st, err := client.Status(c.Context)
	if err != nil {
		return jobError("show the executor", err)
	}
	return show(c, st, func(width int) string { return executorText(st, width) })
}

func executorText(st executor.Status, width int) string {
	b := fields{width: width}
	add := func(name, format string, args ...any) { b.add(name, oneLine(fmt.Sprintf(format, args...))) }
	add("running", "%d of %d slots", st.Running, st.Slots)
	add("waiting", "%d, at most %d", st.Waiting, st.QueueMax)
	if st.Paused != st.Draining { // else it is one reason
		add("paused", "%s", st.Paused)
	}
	add("draining", "%s", st.Draining)
	add("unavailable", "%s", st.Unavailable)
	add("kept", "%d jobs, %s", st.Kept, sizeText(st.Bytes))
	for _, damage := range st.Damage {
		add("damage", "%s", damage)
	}
	for _, name := range slices.Sorted(maps.Keys(st.Engines)) {
		add(name, "%s", st.Engines[name])
	}
	for _, state := range slices.Sorted(maps.Keys(st.Ended)) {
		if n := st.Ended[state]; n > 0 {
			add(strings.ToLower(string(state)), "%d", n)
		}
	}
	return b.String()
}

func showSchedules(c *cli.Context, client *jobs.Client) error {
	all, err := client.Schedules(c.Context)
	if err != nil {
		return jobError("show the schedules", err)
	}
	return show(c, api.ScheduleList{Schedules: all}, func(width int) string { return schedulesText(all, width) })
}

func schedulesText(all []schedule.Status, width int) string {
	if len(all) == 0 {
		return "There are no schedules.\n"
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.RFC3339)
	}
	t := layout.Table{{"SCHEDULE", "NEXT", "LAST", "JOB", "STATE", "WHY"}}
	for _, s := range all {
		job := "-"
		if s.Job != 0 {
			job = s.Job.String()
		}
		t.Add(oneLine(s.Name), at(s.Next), at(s.Last), job, dash(oneLine(string(s.State))), dash(oneLine(cmp.Or(s.Waiting, s.Reason))))
	}
	return layout.Rows(t, width)
}

// sizeText is a size for people.
func sizeText(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
