package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"github.com/stoker-init/stoker/internal/untrusted"
)

// containerLabel is added to every sample.
const containerLabel = "container"

// upMetric says which containers have answered.
const upMetric = "stoker_agent_container_up"

// largeMetric says whose metrics are left out.
const largeMetric = "stoker_agent_container_metrics_too_large"

// metrics merges the metrics of all containers.
func (f *Fleet) metrics(w http.ResponseWriter, r *http.Request) (any, error) {
	all, err := f.containers()
	if err != nil {
		return nil, err
	}
	texts, labels := make([]string, len(all)), make([]map[string]string, len(all))
	err = f.each(r.Context(), all, func(ctx context.Context, k int, c *container) {
		var err error
		var text []byte
		if labels[k], _, err = c.lookUpLabels(ctx); err == nil { // else the latest that are known
			text, err = c.request(ctx, http.MethodGet, "/metrics")
		}
		large := errors.Is(err, untrusted.ErrTooLarge) || tooLarge(text, labels[k])
		if large {
			text, err = nil, nil
		}
		texts[k] = gauge(upMetric, "1 if the container has answered the agent.", err == nil) +
			gauge(largeMetric, "1 if the container's own metrics are left out because they are too large.", large) + string(text)
	})
	if err != nil {
		return nil, err
	}
	var x exposition
	for k, c := range all {
		x.add(c.name, labels[k], texts[k])
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = io.WriteString(w, x.String()) // the client may be gone
	return nil, nil
}

// gauge is the text of one metric.
func gauge(name, help string, value bool) string {
	return fmt.Sprintf("# HELP %s %s\n# TYPE %[1]s gauge\n%[1]s %[3]d\n", name, help, boolean(value))
}

// Bounds on the metrics of a container, beside maxMetrics.
const (
	maxLines = 20000
	maxAdded = 8 << 20 // bytes of the container's labels on all lines
)

// tooLarge reports whether the metrics of a container would take much memory.
func tooLarge(text []byte, labels map[string]string) bool {
	size := 0
	for name, value := range labels {
		size += len(name) + len(value)
	}
	lines := bytes.Count(text, []byte("\n"))
	return lines > maxLines || lines*size > maxAdded
}

// exposition merges texts in the format of Prometheus, version 0.0.4. Lines that cannot be read are left out: one of them would make
// the whole unreadable.
type exposition struct {
	names    []string // of the families, as they came
	families map[string]*family
}

type family struct{ help, kind, samples strings.Builder }

func (x *exposition) family(name string) *family {
	f := x.families[name]
	if f == nil {
		if x.families == nil {
			x.families = map[string]*family{}
		}
		f = &family{}
		x.families[name] = f
		x.names = append(x.names, name)
	}
	return f
}

// The lines of a text, and parts of them.
var (
	headLine   = lazyregexp.New(`^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) .`)
	sampleLine = lazyregexp.New(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\]|\\[\\"n])*",?)*)\})? ` +
		`([^ _pPxX]+)( -?[0-9]{1,18})?$`) // Go reads numbers with these letters, Prometheus does not
	sampleLabel = lazyregexp.New(`([a-zA-Z_]\w*)="((?:[^"\\]|\\[\\"n])*)"`)
	noLabel     = lazyregexp.New(`^[0-9]|\W`)
)

// add adds the text of a container, whose name and labels its samples get. A label that a sample has itself stays; only the name of
// the container is always ours.
func (x *exposition) add(container string, labels map[string]string, text string) {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	name := [2]string{containerLabel, escape.Replace(container)}
	var more [][2]string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		more = append(more, [2]string{noLabel().ReplaceAllString(key, "_"), escape.Replace(strings.ToValidUTF8(labels[key], "\ufffd"))})
	}
	current := "" // the family
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if !utf8.ValidString(line) {
			continue
		}
		if head := headLine().FindStringSubmatch(line); head != nil {
			current = head[2]
			x.family(current).describe(head[1], line)
			continue
		}
		s := sampleLine().FindStringSubmatch(line)
		if s == nil {
			continue
		}
		if _, err := strconv.ParseFloat(s[3], 64); err != nil {
			continue
		}
		of := s[1]
		if suffix, found := strings.CutPrefix(of, current); found && slices.Contains([]string{"_bucket", "_sum", "_count"}, suffix) {
			of = current
		}
		all := [][2]string{name}
		for _, l := range sampleLabel().FindAllStringSubmatch(s[2], -1) {
			if l[1] == containerLabel {
				l[1] = "exported_" + containerLabel
			}
			all = append(all, [2]string{l[1], l[2]})
		}
		x.family(of).sample(s[1], append(all, more...), s[3]+s[4])
	}
}

// describe notes a HELP or TYPE line; the first of a family counts.
func (f *family) describe(kind, line string) {
	at := &f.help
	if kind == "TYPE" {
		at = &f.kind
	}
	if at.Len() == 0 {
		at.WriteString(line + "\n")
	}
}

// sample adds a sample; of labels with one name the first counts. Names that begin with __ are those of Prometheus itself.
func (f *family) sample(name string, labels [][2]string, value string) {
	b := &f.samples
	b.WriteString(name)
	sep, seen := "{", map[string]bool{}
	for _, l := range labels {
		if !seen[l[0]] && l[0] != "" && !strings.HasPrefix(l[0], "__") {
			b.WriteString(sep + l[0] + `="` + l[1] + `"`)
			sep, seen[l[0]] = ",", true
		}
	}
	b.WriteString("} " + value + "\n")
}

// String is the merged text.
func (x *exposition) String() string {
	var b strings.Builder
	for _, name := range x.names {
		if f := x.families[name]; f.samples.Len() > 0 {
			b.WriteString(f.help.String() + f.kind.String() + f.samples.String())
		}
	}
	return b.String()
}
