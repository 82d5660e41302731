package jvm

import (
	"fmt"
	"io"
	"strings"

	"github.com/stoker-init/stoker/internal/printable"
)

// Explain writes, for people: every option with its layer, source, reason and
// what it overrides; then the budget against the limit; then the limits; then
// warnings and errors. layout makes lines of a table, whose first row is its head.
func Explain(w io.Writer, r Result, l Limits, layout func(rows [][]string) string) error {
	b := explanation{layout: layout}
	explainOptions(&b, r.Options)
	explainEnv(&b, r.Env)
	explainBudget(&b, r)
	explainLimits(&b, l, r)
	for _, p := range r.Warnings {
		fmt.Fprintf(&b, "warning  %s: %s\n", p.Code, p.Message)
	}
	for _, p := range r.Errors {
		fmt.Fprintf(&b, "error    %s: %s\n", p.Code, p.Message)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("cannot write explanation: %w", err)
	}
	return nil
}

// explanation is the text, as far as it is written.
type explanation struct {
	strings.Builder
	layout func(rows [][]string) string
}

// table lays out the rows that fill writes into b, with tabs between their cells.
func table(b *explanation, fill func(io.Writer)) {
	var t strings.Builder
	fill(&t)
	var rows [][]string
	for line := range strings.Lines(t.String()) {
		rows = append(rows, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	b.WriteString(b.layout(rows) + "\n")
}

func explainOptions(b *explanation, options []Option) {
	table(b, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "OPTION\tLAYER\tSOURCE\tWHY\tBEAT")
		for _, o := range options {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable.Line(o.String()), o.Layer, printable.Line(o.Source),
				printable.Line(o.Why), overriddenText(o.Replaced))
		}
	})
}

func explainEnv(b *explanation, env []EnvVar) {
	if len(env) == 0 {
		return
	}
	table(b, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "VARIABLE\tVALUE\tSOURCE\tWHY")
		for _, v := range env {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", v.Name, printable.Line(v.Value), v.Source, v.Why)
		}
	})
}

// overriddenText lists options with the layer that gave them.
func overriddenText(options []Option) string {
	parts := make([]string, len(options))
	for i, o := range options {
		parts[i] = fmt.Sprintf("%s (%s)", printable.Line(o.String()), printable.Line(o.origin()))
	}
	return strings.Join(parts, ", ")
}

func explainBudget(b *explanation, r Result) {
	if len(r.Budget) == 0 {
		return
	}
	table(b, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "REGION\tSIZE\tWHY")
		for _, g := range r.Budget {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", g.Region, mibText(g.Bytes), g.Why)
		}
		verdict := "fits"
		if over := r.Budget.Sum() - r.Limit; over > 0 {
			verdict = mibText(over) + " too much"
		} else if open := r.Budget.Unbounded(); len(open) > 0 {
			verdict = "fits at these sizes; no cap on " + strings.Join(open, " and ")
		}
		_, _ = fmt.Fprintf(w, "sum\t%s\tof %s: %s\n", mibText(r.Budget.Sum()), mibText(r.Limit), verdict)
	})
}

func explainLimits(b *explanation, l Limits, r Result) {
	table(b, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, "LIMIT\tVALUE\tSOURCE")
		_, _ = fmt.Fprintf(w, "CPUs\t%d\t%s\n", max(l.CPUs, 1), l.CPUSource)
		if l.CPUQuota != nil {
			_, _ = fmt.Fprintf(w, "CPU quota\t%.4g cores\t\n", *l.CPUQuota)
		}
		if l.Memory > 0 {
			source := l.MemorySource
			if l.Unlimited {
				source += ": the machine's, there is no limit"
			}
			_, _ = fmt.Fprintf(w, "memory\t%s\t%s\n", mibText(l.Memory), source)
		} else {
			_, _ = fmt.Fprintln(w, "memory\tunknown\t")
		}
		if r.Limit > 0 && (r.Limit < l.Memory || l.Memory <= 0) {
			_, _ = fmt.Fprintf(w, "memory to use\t%s\tthe memory of the flavor\n", mibText(r.Limit))
		}
		if r.Flavor != nil {
			_, _ = fmt.Fprintf(w, "flavor\t%s\t%s\n", printable.Line(r.Flavor.Name), printable.Line(r.Flavor.Why))
		}
	})
}
