package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/proc"
	"github.com/urfave/cli/v2"
)

// runJob submits a job and is a stand-in for it: its output, its end, and a ^C for it.
func runJob(c *cli.Context, client *jobs.Client) error {
	spec, err := specOf(c, os.Stdin, time.Now())
	if err != nil {
		return err
	}
	job, _, err := client.Submit(c.Context, spec)
	if err != nil {
		return notTheJob(jobError("run the job", err))
	}
	ctx, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	progress := progressOnStderr()
	defer progress.stop()
	go stopBySignals(ctx, client, job.ID.String(), signals, progress.hide, cancel) // ends with ctx
	job, err = client.Follow(ctx, job.ID.String(), jobs.Sinks{Stdout: printer{os.Stdout}, Stderr: printer{os.Stderr}, Gap: reportGap,
		Changed: func(j executor.Job) {
			if j.State == executor.Accepted || j.State == executor.Queued {
				progress.set(j)
			} else {
				progress.output()
			}
		}})
	switch left := new(exit.Error); {
	case errors.As(context.Cause(ctx), &left):
		return left
	case errors.Is(err, errPrint):
		return err
	case err != nil:
		return notTheJob(jobError("follow job "+job.ID.String(), err))
	}
	return jobResult(job)
}

// notTheJob gives an error a code that no job should have: it is not the job's own failure.
func notTheJob(err error) error {
	var coded *exit.Error
	if errors.As(err, &coded) && coded.Code != exit.TryLater {
		coded.Code = exit.Unavailable
	}
	return err
}

// stopBySignals stops a job at the first signal, and leaves it alone at the second. It calls hide before it prints.
func stopBySignals(ctx context.Context, client *jobs.Client, id string, signals <-chan os.Signal, hide func(), leave func(error)) {
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case sig := <-signals:
			if !first {
				number, _ := sig.(syscall.Signal)
				leave(&exit.Error{Err: fmt.Errorf("job %s is left alone", id), Hint: "stoker job wait " + id + " waits for its end",
					Code: exit.Signalled + int(number)})
				return
			}
			hide()
			fmt.Fprintf(os.Stderr, "stoker: job %s is being stopped; a second signal leaves it alone\n", id)
			go func() { // ends with the answer, or with ctx
				if _, err := client.Stop(ctx, id, executor.StopRequest{}); err != nil && !errors.Is(err, executor.ErrFinal) && ctx.Err() == nil {
					hide()
					printError(os.Stderr, jobError("stop job "+id, err))
				}
			}()
		}
	}
}

// printer marks the errors of a writer as our own, not those of the server.
type printer struct{ io.Writer }

// Write writes p.
func (w printer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = fmt.Errorf("%w: %w", errPrint, err)
	}
	return n, err
}

// reportGap says which output is not kept.
func reportGap(stream string, bytes int64) {
	fmt.Fprintf(os.Stderr, "stoker: %d bytes of %s are not kept\n", bytes, stream)
}

func waitForJob(c *cli.Context, client *jobs.Client) error {
	name, timeout := c.Args().First(), c.Duration("timeout")
	if timeout < 0 {
		return exit.UsageError("--timeout is a duration such as 2m", "cannot wait for %v", timeout)
	}
	ctx, cancel := context.WithCancel(c.Context)
	if timeout > 0 {
		ctx, cancel = context.WithTimeout(c.Context, timeout)
	}
	defer cancel()
	progress := progressOnStderr()
	defer progress.stop()
	now := executor.Job{}
	job, err := client.Wait(ctx, name, func(j executor.Job) {
		now = j
		progress.set(j)
	})
	switch {
	case err == nil:
		if asJSON(c) {
			err = printJSON(c.App.Writer, job)
		}
		return cmp.Or(err, jobResult(job))
	case ctx.Err() != nil && now.ID != 0:
		return &exit.Error{Err: fmt.Errorf("cannot wait longer than %v: job %s is %s", timeout, name, now.State),
			Hint: "it goes on; stoker job show " + name + " shows how", Code: exit.TryLater}
	}
	return jobError("wait for job "+name, err)
}

// jobResult is the error for a job that has not succeeded, with its exit code; nil: it has.
func jobResult(j executor.Job) error {
	if j.State == executor.Succeeded {
		return nil
	}
	return &exit.Error{Err: fmt.Errorf("job %s is %s%s", j.ID, j.State, optional(": ", j.Reason, "")),
		Hint: "stoker job show " + j.ID.String() + " tells more", Code: jobExitCode(j)}
}

// jobExitCode is the exit code of a job that has not succeeded: its own, unless it was not started or is lost, or ended with 0 on request.
func jobExitCode(j executor.Job) int {
	switch {
	case j.State == executor.Skipped:
		return exit.TryLater
	case j.State == executor.Rejected || j.State == executor.Lost || j.Exit != nil && j.Exit.Infrastructure:
		return exit.Unavailable
	case j.Exit == nil:
		return exit.Failed
	}
	if number, err := proc.ParseSignal(j.Exit.Signal); err == nil {
		return exit.Signalled + int(number)
	}
	return max(j.Exit.Code, exit.Failed)
}
