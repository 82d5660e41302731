package tomcat

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/stoker-init/stoker/jvm/hotspot"
)

// maxFindings bounds the findings of a Tomcat that redeploys for months.
const maxFindings = 64

// OutputReader reads the output of one start of Tomcat line by line and joins related lines: a failure and the exception after it, a
// position and its file. Each start needs a new one. It is not safe for concurrent use.
type OutputReader struct {
	p        *Patterns
	findings []Finding
	// current is the finding that following exception lines belong to; -1: none.
	current int
	// cause collects the cause of the next context to fail.
	cause Finding
	// inCause: following exception lines belong to cause.
	inCause       bool
	started       bool
	startupErrors hotspot.StartupErrorReader
}

// NewOutputReader returns a reader for one start.
func NewOutputReader(p *Patterns) *OutputReader { return &OutputReader{p: p, current: -1} }

// Findings returns all findings so far, in order, each with its cause if known.
func (w *OutputReader) Findings() []Finding { return slices.Clone(w.findings) }

// Started reports whether Tomcat has logged the end of its start.
func (w *OutputReader) Started() bool { return w.started }

// Line takes the next line of stdout or stderr. ok is true if the line itself is a finding; its cause may follow, see Findings.
func (w *OutputReader) Line(line string) (f Finding, ok bool) {
	line = strings.TrimRight(line, "\r\n")
	if w.stackFrame(line) {
		return Finding{}, false
	}
	if f, ok := parseSAX(line); ok {
		return w.position(f)
	}
	if target := w.target(); target != nil && target.exception(line) {
		return Finding{}, false
	}
	w.current, w.inCause = -1, false
	if f, ok := w.jvmLine(line); ok {
		return w.add(f), true
	}
	f, ok = w.p.Match(line)
	if !ok {
		return Finding{}, false
	}
	switch f.Kind {
	case contextCause:
		w.cause = Finding{Message: f.Message}
		w.inCause = true
		return Finding{}, false
	case parsePosition:
		f.Kind = ConfigError
	case ContextFailed:
		return w.context(f), true
	case Started:
		w.started = true
	case ConfigError:
		same := func(old Finding) bool { return old.Kind == ConfigError && old.File == f.File }
		if k := slices.IndexFunc(w.findings, same); k >= 0 {
			w.current = k
			return Finding{}, false
		}
	}
	return w.add(f), true
}

// jvmLine recognises the messages of a JVM that cannot start. They are ignored once Tomcat is up: an application may run a JVM of its own.
func (w *OutputReader) jvmLine(line string) (Finding, bool) {
	if w.started {
		return Finding{}, false
	}
	r, ok := w.startupErrors.Line(line)
	switch {
	case !ok:
		return Finding{}, false
	case r.Option == "":
		return Finding{Kind: JVMFailed, Message: r.Message}, true
	}
	return Finding{Kind: JVMOption, Option: r.Option, Message: r.Message}, true
}

// stackFrame handles the frames of a stack trace, by far the most frequent lines. The first one outside Java and Tomcat is where the
// exception comes from: "Boom.java:3" of "at loader/Boom.run(Boom.java:3)".
func (w *OutputReader) stackFrame(line string) bool {
	t := strings.TrimLeft(line, "\t ")
	if !strings.HasPrefix(t, "at ") && !strings.HasPrefix(t, "... ") || t == line && t[0] != 'a' {
		return false
	}
	target := w.target()
	if target == nil || target.Where != "" || target.Cause == "" {
		return true
	}
	m := regexp.MustCompile(`^at (?:[^(]*/)?([^(/]*)\((.*:.*)\)$`).FindStringSubmatch(t)
	library := `^(?:java|javax|jdk|sun|com\.sun|jakarta|org\.apache\.(?:catalina|tomcat|coyote|jasper))\.`
	if m != nil && !regexp.MustCompile(library).MatchString(m[1]) {
		target.Where = m[2]
	}
	return true
}

func (w *OutputReader) target() *Finding {
	switch {
	case w.inCause:
		return &w.cause
	case w.current >= 0:
		return &w.findings[w.current]
	}
	return nil
}

// exception records a line "a.b.CException: message", with or without "Caused by: " in front. It reports false for another line.
func (f *Finding) exception(line string) bool {
	m := regexp.MustCompile(`^\s*(Caused by: )?([\w.$]+\.[A-Z][\w$]*(?::.*)?)$`).FindStringSubmatch(strings.TrimRight(line, " \t"))
	if m == nil {
		return false
	}
	if m[1] != "" {
		f.Root = m[2]
	} else {
		f.Cause = cmp.Or(f.Cause, m[2])
	}
	f.Context = cmp.Or(f.Context, contextIn(m[2]))
	return true
}

// position merges a SAX message into the position printed before it. Tomcat prints the same error twice; the second is ignored.
func (w *OutputReader) position(f Finding) (Finding, bool) {
	k := slices.IndexFunc(w.findings, func(old Finding) bool {
		return old.Kind == ConfigError && old.Line == f.Line && old.Column == f.Column && (old.File == "" || old.File == f.File)
	})
	if k < 0 {
		return w.add(f), true
	}
	w.findings[k].File, w.findings[k].Message, w.current = f.File, f.Message, -1
	return Finding{}, false
}

// context records a failed application with the cause printed before.
func (w *OutputReader) context(f Finding) Finding {
	same := func(old Finding) bool { return old.Kind == ContextFailed && old.Context == f.Context }
	if k := slices.IndexFunc(w.findings, same); k >= 0 {
		w.current = k
		return w.findings[k]
	}
	f.Cause, f.Root, f.Where = cmp.Or(w.cause.Cause, w.cause.Message), w.cause.Root, w.cause.Where
	w.cause = Finding{}
	// An XML error of the application just before is its cause, not one more.
	if n := len(w.findings); n > 0 && w.findings[n-1].Kind == ConfigError && !strings.HasSuffix(w.findings[n-1].File, "/conf/server.xml") {
		x := w.findings[n-1]
		f.File, f.Line, f.Column = x.File, x.Line, x.Column
		f.Cause = cmp.Or(f.Cause, x.Message)
		w.findings = w.findings[:n-1]
	}
	return w.add(f)
}

func (w *OutputReader) add(f Finding) Finding {
	if len(w.findings) >= maxFindings {
		w.findings = slices.Delete(w.findings, 0, 1)
	}
	w.findings = append(w.findings, f)
	w.current = len(w.findings) - 1
	return f
}
