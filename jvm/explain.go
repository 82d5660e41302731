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

// table writes rows of cells, the head first.
func (b *explanation) table(rows [][]string) { b.WriteString(b.layout(rows) + "\n") }

func explainOptions(b *explanation, options []Option) {
	rows := [][]string{{"OPTION", "LAYER", "SOURCE", "WHY", "BEAT"}}
	for _, o := range options {
		beaten := make([]string, len(o.Replaced))
		for i, r := range o.Replaced {
			beaten[i] = fmt.Sprintf("%s (%s)", printable.Line(r.String()), printable.Line(r.origin()))
		}
		rows = append(rows, []string{printable.Line(o.String()), string(o.Layer), printable.Line(o.Source), printable.Line(o.Why),
			strings.Join(beaten, ", ")})
	}
	b.table(rows)
}

func explainEnv(b *explanation, env []EnvVar) {
	if len(env) == 0 {
		return
	}
	rows := [][]string{{"VARIABLE", "VALUE", "SOURCE", "WHY"}}
	for _, v := range env {
		rows = append(rows, []string{v.Name, printable.Line(v.Value), v.Source, v.Why})
	}
	b.table(rows)
}

func explainBudget(b *explanation, r Result) {
	if len(r.Budget) == 0 {
		return
	}
	rows := [][]string{{"REGION", "SIZE", "WHY"}}
	for _, g := range r.Budget {
		rows = append(rows, []string{g.Region, mibText(g.Bytes), g.Why})
	}
	verdict := "fits"
	if over := r.Budget.Sum() - r.Limit; over > 0 {
		verdict = mibText(over) + " too much"
	} else if open := r.Budget.Unbounded(); len(open) > 0 {
		verdict = "fits at these sizes; no cap on " + strings.Join(open, " and ")
	}
	b.table(append(rows, []string{"sum", mibText(r.Budget.Sum()), fmt.Sprintf("of %s: %s", mibText(r.Limit), verdict)}))
}

func explainLimits(b *explanation, l Limits, r Result) {
	rows := [][]string{{"LIMIT", "VALUE", "SOURCE"}}
	add := func(limit, value, source string) { rows = append(rows, []string{limit, value, source}) }
	add("CPUs", fmt.Sprint(max(l.CPUs, 1)), l.CPUSource)
	if l.CPUQuota != nil {
		add("CPU quota", fmt.Sprintf("%.4g cores", *l.CPUQuota), "")
	}
	switch {
	case l.Memory <= 0:
		add("memory", "unknown", "")
	case l.Unlimited:
		add("memory", mibText(l.Memory), l.MemorySource+": the machine's, there is no limit")
	default:
		add("memory", mibText(l.Memory), l.MemorySource)
	}
	if r.Limit > 0 && (r.Limit < l.Memory || l.Memory <= 0) {
		add("memory to use", mibText(r.Limit), "the memory of the flavor")
	}
	if r.Flavor != nil {
		add("flavor", printable.Line(r.Flavor.Name), printable.Line(r.Flavor.Why))
	}
	b.table(rows)
}
