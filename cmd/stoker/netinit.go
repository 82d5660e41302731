package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stoker-init/stoker/internal/daemon"
	"github.com/stoker-init/stoker/internal/exit"
	"github.com/stoker-init/stoker/internal/layeredyaml"
	"github.com/stoker-init/stoker/internal/layout"
	"github.com/stoker-init/stoker/internal/network"
	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/remote"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/internal/untrusted"
	"github.com/stoker-init/stoker/netinit"
	"github.com/stoker-init/stoker/netinit/kernel"
	"github.com/stoker-init/stoker/netinit/source"
	"github.com/urfave/cli/v2"
)

func netinitCommand() *cli.Command {
	return &cli.Command{Name: "netinit", Usage: "configure the network of the container from a description", Category: categoryExtensions,
		UsageText: "stoker netinit plan --from network_data.json\nstoker netinit apply --from unix:/run/agent.sock",
		Description: `A description is a file, a URL, a socket as unix:SOCKET, or - for stdin. Without
--from it is that of the section netinit of the configuration, and other flags
have the keys of that section as their defaults. No stoker has to run.`,
		Subcommands: []*cli.Command{
			{Name: "plan", Usage: "print what a description means, as JSON; reads nothing else and needs no privileges",
				UsageText: "stoker netinit plan --format openstack --from network_data.json",
				Flags:     append(descriptionFlags(), configFlags()...), Action: planNetwork},
			{Name: "apply", Usage: "change the network to what a description says, or leave it as it was",
				UsageText: "stoker netinit apply --from /run/network.yaml --wait 30s",
				Description: `What stoker has added and the description no longer has is removed; what others
added stays. Without differences no privileges are needed. After a failure all
changes are undone.`,
				Flags:  slices.Concat(descriptionFlags(), applyFlags(), placeFlags(), configFlags(), []cli.Flag{tableOrJSON()}),
				Action: applyNetwork},
			{Name: "status", Usage: "show the differences between the network and what was applied; 1: there are some",
				UsageText: "stoker netinit status -o json", Description: "With --from the network is compared with that description.",
				Flags:  slices.Concat(descriptionFlags(), placeFlags(), configFlags(), []cli.Flag{tableOrJSON()}),
				Action: compareNetwork},
		}}
}

// descriptionFlags say where a description comes from.
func descriptionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "from", Usage: "the description is at `SOURCE`: a file, a URL, unix:SOCKET, or - for stdin"},
		oneOf("format", "it is in `FORMAT`", netinit.Auto, netinit.OpenStack, netinit.Neutron, netinit.Netplan, netinit.CNI, netinit.Own),
		&cli.DurationFlag{Name: "wait", Value: time.Minute, Usage: "limit for the source, late links and address checks together: `DURATION`"},
	}
}

// placeFlags say what is compared with a plan beside the kernel.
func placeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "state-dir", Usage: "keep the last good description and what was applied in `DIR`"},
		&cli.StringFlag{Name: "resolv-conf", Usage: "write name servers into `FILE` (default: /etc/resolv.conf)"},
		&cli.StringFlag{Name: "hosts-file", Usage: "write hosts into `FILE` (default: /etc/hosts)"},
		&cli.BoolFlag{Name: "hostname", Usage: "set the hostname, if the description has one"},
	}
}

func applyFlags() []cli.Flag {
	return []cli.Flag{
		oneOf("dad", "`POLICY` for IPv6 addresses until duplicates are excluded", netinit.DADWait, netinit.DADNone, netinit.DADOptimistic),
		&cli.BoolFlag{Name: "probe", Usage: "ask whether another host has an IPv4 address before it is added"},
		&cli.BoolFlag{Name: "require-fresh", Usage: "do not use the last good description when the source does not answer"},
		&cli.BoolFlag{Name: "no-announce", Usage: "do not announce added addresses to the neighbours, which takes 2s"},
	}
}

// oneOf is a flag with a set of values, of which the first is the default.
func oneOf[T ~string](name, usage string, values ...T) cli.Flag {
	var list []string
	for _, v := range values {
		list = append(list, string(v))
	}
	text := strings.Join(list, ", ")
	return &cli.StringFlag{Name: name, Usage: usage + ": " + text + " (default: " + list[0] + ")",
		Action: func(_ *cli.Context, value string) error {
			if !slices.Contains(list, value) {
				return exit.UsageError("there are "+text, "cannot use %q for --%s", value, name)
			}
			return nil
		}}
}

// networkSettings returns the section netinit of the configuration, changed by the flags, and the values of variables in its source.
func networkSettings(c *cli.Context) (netinit.Config, remote.Lookup, error) {
	var cfg netinit.Config
	var labels map[string]string
	from := c.String("from")
	if from == "" || c.Command.Name != "plan" {
		loaded, err := loadConfig(c)
		if err != nil {
			return cfg, nil, err
		}
		cfg, labels = loaded.Config.Netinit, loaded.Config.Labels
	}
	if from != "" { // what belongs to the source of the configuration is not for another one
		cfg.Source, cfg.Format, cfg.Headers, cfg.CAFile = from, "", nil, ""
	}
	layeredyaml.SetDefaults(&cfg)
	cfg.Format = cmp.Or(netinit.Format(c.String("format")), cfg.Format)
	cfg.DAD = cmp.Or(netinit.DAD(c.String("dad")), cfg.DAD)
	cfg.ResolvConf = cmp.Or(c.String("resolv-conf"), cfg.ResolvConf)
	cfg.HostsFile = cmp.Or(c.String("hosts-file"), cfg.HostsFile)
	cfg.StateDir = cmp.Or(c.String("state-dir"), cfg.StateDir, daemon.NetworkFolder())
	if c.IsSet("wait") {
		cfg.Wait = c.Duration("wait")
	}
	if cfg.Wait <= 0 {
		return cfg, nil, exit.UsageError("want a duration such as 30s", "cannot wait %v", cfg.Wait)
	}
	for name, value := range map[string]*bool{"hostname": &cfg.Hostname, "probe": &cfg.Probe, "require-fresh": &cfg.RequireFresh} {
		if c.IsSet(name) {
			*value = c.Bool(name)
		}
	}
	return cfg, remote.Variables(service.EnvironMap(os.Environ()), labels), nil
}

// describe returns the plan of the description of the settings. With an empty folder nothing is kept.
func describe(ctx context.Context, cfg netinit.Config, lookup remote.Lookup, folder string) (*source.Description, error) {
	switch cfg.Source {
	case "":
		return nil, exit.UsageError("--from FILE, or netinit.source in the configuration", "there is no description of a network")
	case "-":
		data, err := readStdin(ctx, cfg.Wait)
		if err != nil {
			return nil, err
		}
		plan, err := source.Parse(cfg.Format, "stdin", data)
		return &source.Description{Plan: plan, From: "stdin", Time: time.Now()}, err
	}
	if err := source.Check(cfg.Source, false); err != nil {
		return nil, exit.UsageError("", "cannot use %q as the source of a description: %w", redact.URL(cfg.Source), err)
	}
	cfg.StateDir = folder
	return source.Fetch(ctx, source.Options{Config: cfg, Lookup: lookup})
}

// readStdin reads a description from stdin for at most limit.
func readStdin(ctx context.Context, limit time.Duration) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var data []byte
	done := make(chan error, 1)
	// It ends with stdin, or with the process.
	go func() {
		var err error
		data, err = untrusted.ReadAll(os.Stdin, netinit.MaxInput)
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			err = &source.RefusedError{Err: fmt.Errorf("cannot read stdin: %w", err)}
		}
		return data, err
	case <-limited.Done():
		if errors.Is(limited.Err(), context.Canceled) {
			return nil, fmt.Errorf("%w while reading stdin", kernel.ErrInterrupted)
		}
		return nil, &source.UnreachableError{Err: errors.New("cannot read stdin: it did not end in time"), Waited: true}
	}
}

func kernelOptions(cfg netinit.Config) kernel.Options {
	return kernel.Options{Files: cfg.Files, StateDir: cfg.StateDir, DAD: cfg.DAD, Probe: cfg.Probe,
		Log: hclog.New(&hclog.LoggerOptions{Name: "stoker.netinit", Output: os.Stderr, Level: hclog.Warn})}
}

func planNetwork(c *cli.Context) error {
	cfg, lookup, err := networkSettings(c)
	if err != nil {
		return err
	}
	d, err := describe(c.Context, cfg, lookup, "")
	if err != nil {
		return network.Error(err)
	}
	warnNetwork(d.Warnings())
	return printJSON(c.App.Writer, d.Plan)
}

func warnNetwork(warnings []string) {
	for _, warning := range warnings {
		fmt.Fprintln(os.Stderr, "stoker: warning: "+oneLine(warning))
	}
}

// appliedNetwork is the JSON of stoker netinit apply.
type appliedNetwork struct {
	kernel.Result
	From string    `json:"from"`
	Time time.Time `json:"time"`           // of the description
	Kept string    `json:"kept,omitempty"` // why the last good description was used; empty: it is current
}

// announceTime bounds the announcements of a command, which take 2 s where nothing delays them.
const announceTime = 3 * time.Second

func applyNetwork(c *cli.Context) error {
	cfg, lookup, err := networkSettings(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM) // an apply that is interrupted is undone
	defer stop()
	limited, cancel := context.WithTimeout(ctx, cfg.Wait)
	defer cancel()
	d, err := describe(limited, cfg, lookup, cfg.StateDir)
	if err != nil {
		return network.Error(err)
	}
	options := kernelOptions(cfg)
	result, err := kernel.Apply(limited, d.Plan, options)
	if err != nil {
		warnNetwork(d.Warnings())
		return network.Error(fmt.Errorf("cannot configure the network: %w", err))
	}
	out := appliedNetwork{Result: *result, From: d.From, Time: d.Time.UTC()}
	out.Changes, out.Warnings = append([]kernel.Change{}, out.Changes...), append(d.Warnings(), out.Warnings...)
	if d.Stale != nil {
		out.Kept = d.Stale.Error()
	}
	warnNetwork(out.Warnings)
	err = show(c, out, func(width int) string { return changesText(out.Changes, width) })
	if err == nil && !c.Bool("no-announce") && len(result.Announce) > 0 {
		announcing, done := context.WithTimeout(ctx, announceTime)
		defer done()
		kernel.Announce(announcing, result.Announce, options.Log)
	}
	return err
}

func changesText(changes []kernel.Change, width int) string {
	if len(changes) == 0 {
		return "no differences\n"
	}
	t := layout.Table{{"CHANGE", "OBJECT", "LINK", "DETAIL"}}
	for _, x := range changes {
		t.Add(x.Verb, x.Object, dash(oneLine(x.Link)), oneLine(x.Detail))
	}
	return layout.Rows(t, width)
}

func compareNetwork(c *cli.Context) error {
	cfg, lookup, err := networkSettings(c)
	if err != nil {
		return err
	}
	plan, err := planToCompare(c, cfg, lookup)
	if err != nil {
		return network.Error(err)
	}
	changes, err := kernel.Compare(plan, kernelOptions(cfg))
	if err != nil {
		return network.Error(fmt.Errorf("cannot compare the network: %w", err))
	}
	differences := struct {
		Changes []kernel.Change `json:"changes"`
	}{append([]kernel.Change{}, changes...)}
	err = show(c, differences, func(width int) string { return changesText(changes, width) })
	if err == nil && len(changes) > 0 {
		err = &exit.Error{Code: exit.Failed}
	}
	return err
}

// planToCompare returns the plan of --from, or else the one that was applied.
func planToCompare(c *cli.Context, cfg netinit.Config, lookup remote.Lookup) (*netinit.Plan, error) {
	if c.IsSet("from") {
		d, err := describe(c.Context, cfg, lookup, "")
		if err != nil {
			return nil, err
		}
		warnNetwork(d.Warnings())
		return d.Plan, nil
	}
	record, err := kernel.ReadRecord(cfg.StateDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, &exit.Error{Err: fmt.Errorf("cannot read what was applied: %w", err), Code: exit.Refused}
	case err != nil:
		return nil, &exit.Error{Err: fmt.Errorf("cannot read what was applied: %w", err), Code: exit.NotFound}
	case record == nil:
		return nil, &exit.Error{Err: fmt.Errorf("cannot compare the network: nothing was applied to it according to %q", cfg.StateDir),
			Code: exit.NotFound, Hint: "run it as the user that stoker runs as, or give its --state-dir; --from FILE compares with a description"}
	}
	return record.Plan, nil
}
