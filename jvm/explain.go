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
	var b strings.Builder
	for _, rows := range [][][]string{optionRows(r.Options), envRows(r.Env), budgetRows(r), limitRows(l, r)} {
		if len(rows) > 0 {
			b.WriteString(layout(rows) + "\n")
		}
	}
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

func optionRows(options []Option) [][]string {
	rows := [][]string{{"OPTION", "LAYER", "SOURCE", "WHY", "BEAT"}}
	for _, o := range options {
		beaten := make([]string, len(o.Replaced))
		for i, r := range o.Replaced {
			beaten[i] = printable.Line(r.located())
		}
		rows = append(rows, []string{printable.Line(o.String()), string(o.Layer), printable.Line(o.Source), printable.Line(o.Why),
			strings.Join(beaten, ", ")})
	}
	return rows
}

func envRows(env []EnvVar) (rows [][]string) {
	for _, v := range env {
		rows = append(rows, []string{v.Name, printable.Line(v.Value), v.Source, v.Why})
	}
	if len(rows) == 0 {
		return nil
	}
	return append([][]string{{"VARIABLE", "VALUE", "SOURCE", "WHY"}}, rows...)
}

func budgetRows(r Result) [][]string {
	if len(r.Budget) == 0 {
		return nil
	}
	rows := [][]string{{"REGION", "SIZE", "WHY"}}
	for _, g := range r.Budget {
		rows = append(rows, []string{g.Region, mibText(g.Bytes), g.Why})
	}
	verdict, open := "fits", r.Budget.Unbounded()
	if over := r.Budget.Sum() - r.Limit; over > 0 {
		verdict = mibText(over) + " too much"
	}
	if len(open) > 0 {
		verdict += " at these sizes; no cap on " + strings.Join(open, " and ")
	}
	return append(rows, []string{"sum", mibText(r.Budget.Sum()), fmt.Sprintf("of %s: %s", mibText(r.Limit), verdict)})
}

func limitRows(l Limits, r Result) [][]string {
	rows := [][]string{{"LIMIT", "VALUE", "SOURCE"}, {"CPUs", fmt.Sprint(max(l.CPUs, 1)), l.CPUSource}}
	if l.CPUQuota != nil {
		rows = append(rows, []string{"CPU quota", fmt.Sprintf("%.4g cores", *l.CPUQuota), ""})
	}
	memory := []string{"memory", mibText(l.Memory), l.MemorySource}
	switch {
	case l.Memory <= 0:
		memory = []string{"memory", "unknown", ""}
	case l.Unlimited:
		memory[2] += ": the machine's, there is no limit"
	}
	rows = append(append(rows, memory), kernelRows(l, r.Budget)...)
	if r.Limit > 0 && (r.Limit < l.Memory || l.Memory <= 0) {
		rows = append(rows, []string{"memory to use", mibText(r.Limit), "the memory of the flavor"})
	}
	if r.Flavor != nil {
		rows = append(rows, []string{"flavor", printable.Line(r.Flavor.Name), printable.Line(r.Flavor.Why)})
	}
	return rows
}
