package launch

import (
	"slices"
	"strings"

	"github.com/stoker-init/stoker/internal/redact"
	"github.com/stoker-init/stoker/internal/service"
	"github.com/stoker-init/stoker/jvm"
)

// maskedReport returns a copy with masked options and messages.
func maskedReport(m service.Mask, f *Report) *Report {
	out := *f
	out.Result.Options = maskedOptions(m, f.Result.Options)
	out.Result.Env = slices.Clone(f.Result.Env)
	for k, v := range out.Result.Env {
		_, out.Result.Env[k].Value, _ = strings.Cut(m.Values(redact.Arg(v.Name+"="+v.Value)), "=")
	}
	if chosen := f.Result.Flavor; chosen != nil {
		out.Result.Flavor = &jvm.ProfileChoice{Name: chosen.Name, Why: m.Text(chosen.Why)}
	}
	out.Sources = slices.Clone(f.Sources)
	for k, s := range out.Sources {
		out.Sources[k].Source, out.Sources[k].Why = m.Text(s.Source), m.Text(s.Why)
	}
	out.Result.Warnings, out.Result.Errors = maskedProblems(m, f.Result.Warnings), maskedProblems(m, f.Result.Errors)
	return &out
}

func maskedProblems(m service.Mask, in []jvm.Problem) []jvm.Problem {
	out := slices.Clone(in)
	for k := range out {
		out[k].Message = m.Text(out[k].Message)
	}
	return out
}

func maskedOptions(m service.Mask, in []jvm.Option) []jvm.Option {
	out := slices.Clone(in)
	for k, o := range out {
		out[k].Args = redact.Args(o.Args)
		for n, arg := range out[k].Args {
			out[k].Args[n] = m.Values(arg)
		}
		out[k].Why, out[k].Replaced = m.Text(o.Why), maskedOptions(m, o.Replaced)
	}
	return out
}
