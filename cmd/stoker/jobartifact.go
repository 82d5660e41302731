package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"

	"github.com/stoker-init/stoker/executor"
	jobs "github.com/stoker-init/stoker/executor/client"
	"github.com/stoker-init/stoker/internal/api"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/wholefile"
	"github.com/urfave/cli/v2"
)

// artifactCommands are those of `stoker job` for what is kept of a workspace.
func artifactCommands() []*cli.Command {
	return []*cli.Command{
		{Name: "artifacts", Usage: "list the artifacts of a job that has ended", ArgsUsage: "JOB",
			UsageText: "stoker job artifacts key:night-42", Flags: []cli.Flag{tableOrJSON()}, Action: withJobs(listArtifacts)},
		{Name: "artifact", Usage: "print an artifact of a job, or write it to a file", ArgsUsage: "JOB ARTIFACT",
			UsageText: "stoker job artifact key:night-42 report -o report.txt",
			Description: `A folder is a tar archive. The command fails if the bytes that came are not
those that were kept; a file is not written then.`,
			Flags: []cli.Flag{&cli.StringFlag{Name: "file", Aliases: []string{"o"},
				Usage: "write `FILE`, as a whole or not at all; - is stdout"}},
			Action: withJobs(fetchArtifact)},
	}
}

func listArtifacts(c *cli.Context, client *jobs.Client) error {
	name := c.Args().First()
	j, err := client.Job(c.Context, name)
	if err != nil {
		return jobError("list the artifacts of job "+name, err)
	}
	list := append([]executor.KeptArtifact{}, j.Artifacts...) // JSON has [] for none
	return show(c, map[string]any{"artifacts": list}, func(width int) string { return artifactsText(list, width) })
}

func artifactsText(list []executor.KeptArtifact, width int) string {
	if len(list) == 0 {
		return "There are no artifacts.\n"
	}
	t := layout.Table{{"ARTIFACT", "BYTES", "SHA256", "NOT KEPT"}}
	for _, a := range list {
		t.Add(oneLine(a.Name), strconv.FormatInt(a.Bytes, 10), dash(oneLine(a.SHA256)), dash(oneLine(a.Error)))
	}
	return layout.Rows(t, width)
}

// artifactMode is for its owner: whoever may see states may not see artifacts.
const artifactMode = 0o600

func fetchArtifact(c *cli.Context, client *jobs.Client) (err error) {
	job, name, path := c.Args().First(), c.Args().Get(1), c.String("file")
	write := func(w io.Writer) error { return client.CopyArtifact(c.Context, job, name, w) }
	if path == "" || path == "-" {
		err = write(printer{os.Stdout})
	} else {
		err = wholefile.Write(path, artifactMode, write)
	}
	if err == nil || errors.Is(err, errPrint) {
		return err
	}
	return jobError("fetch the artifact "+strconv.Quote(name)+" of job "+job, err)
}

func artifactNames(ctx context.Context, c *api.Client, args []string) []string {
	j, _ := jobs.New(c, "http://stoker").Job(ctx, args[0])
	return each(j.Artifacts, func(a executor.KeptArtifact) string { return a.Name + "\t" + strconv.FormatInt(a.Bytes, 10) + " bytes" })
}
