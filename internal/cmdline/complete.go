package cmdline

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"
)

// Complete returns the completions of the last word, each with a tab and its meaning.
func (p *Program) Complete(ctx context.Context, words []string) []string {
	if len(words) == 0 {
		return nil
	}
	i := p.read(words[:len(words)-1])
	cmd, last := i.command(), words[len(words)-1]
	name, value, valued := strings.Cut(last, "=")
	switch {
	case i.pending != nil:
		return withPrefix(last, "", i.flagValues(ctx, i.pending))
	case !i.argsOnly && strings.HasPrefix(last, "--") && valued:
		f := FlagOf(cmd, strings.TrimLeft(name, "-"))
		if f == nil {
			return nil
		}
		return withPrefix(value, name+"=", i.flagValues(ctx, f))
	case !i.argsOnly && strings.HasPrefix(last, "-"):
		return withPrefix(last, "", longFlags(cmd))
	}
	var found []string
	if len(i.rest) == 0 && !i.argsOnly {
		for _, c := range cmd.VisibleCommands() {
			found = append(found, c.Name+"\t"+c.Usage)
		}
	}
	if places := placesOf(cmd); len(places) > 0 {
		place := places[min(len(i.rest), len(places)-1)]
		if len(i.rest) < len(places) || strings.Contains(place, "...") {
			found = append(found, i.values(ctx, placeholderName(place))...)
		}
	}
	return withPrefix(last, "", found)
}

func (i *Invocation) flagValues(ctx context.Context, f cli.DocGenerationFlag) []string {
	if o, ok := f.(*outputFlag); ok {
		return o.formats
	}
	return i.values(ctx, placeholderOf(f))
}

func (i *Invocation) values(ctx context.Context, name string) []string {
	if p, ok := i.program.Placeholders[name]; ok {
		return p.Values(ctx, i.rest)
	}
	return nil
}

func longFlags(cmd *cli.Command) (out []string) {
	for _, f := range visibleFlags(cmd) {
		_, usage := describeFlag(f)
		for _, n := range f.Names() {
			if len(n) > 1 {
				out = append(out, "--"+n+"\t"+usage)
			}
		}
	}
	return out
}

// withPrefix filters words by their beginning, and puts prefix before each.
func withPrefix(begin, prefix string, words []string) (out []string) {
	for _, word := range words {
		if word == FileNames {
			out = append(out, word)
		} else if strings.HasPrefix(word, begin) {
			out = append(out, prefix+word)
		}
	}
	return out
}

// FileNames is a value that has the shell complete the names of files.
const FileNames = ":files"
