package tomcat

import (
	"cmp"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is the meaning of a line of output.
type Kind string

// The kinds of Finding.
const (
	Started         Kind = "started"          // Tomcat is up; its applications may have failed all the same
	ContextFailed   Kind = "context-failed"   // an application is not deployed
	DeployFailed    Kind = "deploy-failed"    // a war, directory or descriptor could not be deployed
	ServletFailed   Kind = "servlet-failed"   // load-on-startup failed; the application runs
	ConnectorFailed Kind = "connector-failed" // a port cannot be used
	ServerFailed    Kind = "server-failed"    // another component of Tomcat
	ConfigError     Kind = "config-error"     // an XML file cannot be read
	JVMOption       Kind = "jvm-option"       // the JVM rejects an option
	JVMFailed       Kind = "jvm-failed"       // the JVM cannot start

	contextCause  Kind = "context-cause"  // the cause of the next ContextFailed
	parsePosition Kind = "parse-position" // line and column; the file follows
)

// Finding is one statement of Tomcat or its JVM about a start. Fields that do not apply are empty or 0.
type Finding struct {
	Kind    Kind
	Message string // the line without time, level and logger

	Context   string // "/app"; "/" is ROOT
	Component string // "Connector[...]"
	Address   string // empty: every address
	Port      int
	Option    string // as the JVM quotes it
	File      string
	Line      int
	Column    int

	Cause string // first exception, "class: message"
	Root  string // last "Caused by" if there is one
	Where string // first frame outside Java and Tomcat, "Boom.java:3"
	Log   string // "file:line" if the cause was found in a log file

	Time time.Time // of the line; zero if it has none
}

// String is one line for an operator.
func (f Finding) String() string {
	var what string
	switch f.Kind {
	case ContextFailed:
		what = fmt.Sprintf("application %s failed to start", f.Context)
	case DeployFailed:
		what = "cannot deploy " + f.File
	case ServletFailed:
		what = fmt.Sprintf("a servlet of application %s failed to load", f.Context)
	case ConnectorFailed:
		what = f.portText()
	case ServerFailed:
		what = "Tomcat cannot start"
		if f.Component != "" {
			what += " " + f.Component
		}
	case ConfigError:
		return strings.TrimPrefix(f.position()+": ", ": ") + cmp.Or(f.Root, f.Cause, f.Message)
	case JVMOption:
		return fmt.Sprintf("JVM option %s refused: %s", f.Option, f.Message)
	case JVMFailed:
		return "the JVM cannot start: " + f.Message
	}
	return what + f.why()
}

func (f Finding) portText() string {
	if f.Port == 0 {
		return "cannot use " + f.Component
	}
	text := fmt.Sprintf("cannot use port %d", f.Port)
	if f.Address != "" {
		text += " on " + f.Address
	}
	return text
}

func (f Finding) why() string {
	var b strings.Builder
	if f.Cause != "" {
		b.WriteString(": " + f.Cause)
	}
	if f.Root != "" {
		b.WriteString("; caused by " + f.Root)
	}
	var at []string
	for _, s := range []string{f.position(), f.Where, f.Log} {
		if s != "" && (f.Kind != DeployFailed || s != f.File) {
			at = append(at, s)
		}
	}
	if len(at) > 0 {
		b.WriteString(" (" + strings.Join(at, ", ") + ")")
	}
	return b.String()
}

func (f Finding) position() string {
	switch {
	case f.File == "" && f.Line > 0:
		return fmt.Sprintf("line %d, column %d", f.Line, f.Column)
	case f.Line == 0:
		return f.File
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Column)
}

// Worst returns the most important finding: what stopped the JVM, then Tomcat, then an application. ok is false if nothing failed.
func Worst(findings []Finding) (Finding, bool) {
	for _, kind := range []Kind{JVMOption, JVMFailed, ConfigError, ConnectorFailed, ContextFailed, DeployFailed, ServerFailed, ServletFailed} {
		if k := slices.IndexFunc(findings, func(f Finding) bool { return f.Kind == kind }); k >= 0 {
			return findings[k], true
		}
	}
	return Finding{}, false
}

// Match matches a single line. The cause is on other lines.
func (p *Patterns) Match(line string) (Finding, bool) {
	c, args, ok := p.find(line)
	if !ok {
		return Finding{}, false
	}
	f := Finding{Kind: c.kind, Message: strings.TrimSpace(line[max(strings.LastIndex(line, c.literals[0]), 0):])}
	f.Time, _ = lineTime(line)
	switch {
	case c.kind == ContextFailed, c.kind == ServletFailed:
		f.Context = contextPath(args[0])
	case c.key == "standardServer.awaitSocket.fail":
		f.Component, f.Address = "shutdown port", args[0]
		f.Port = number(args[1])
	case c.kind == ServerFailed:
		f.component(args[0])
	case c.kind == DeployFailed:
		f.File = args[0]
		f.Context = contextOfFile(strings.TrimSuffix(strings.TrimSuffix(filepath.Base(args[0]), ".war"), ".xml"))
	case c.key == "catalina.configFail":
		f.File = args[0]
	case c.kind == parsePosition:
		f.Line, f.Column = number(args[0]), number(args[1])
	}
	return f, true
}

// component refines the kind by the name of the component.
func (f *Finding) component(name string) {
	f.Component = name
	switch {
	case strings.HasPrefix(name, "Connector["):
		f.Kind = ConnectorFailed
		f.Address, f.Port = connectorPort(name)
	case strings.Contains(name, "StandardContext["):
		f.Kind, f.Context = ContextFailed, contextIn(name)
	}
}

// connectorPort reads Connector["http-nio-127.0.0.1-8080"] and the older Connector[HTTP/1.1-8080]: the address, which follows nio, nio2,
// apr or bio, and the port. port is 0 for a connector without one, or with a negative one.
func connectorPort(name string) (address string, port int) {
	m := regexp.MustCompile(`^Connector\["?(?:.*?-(?:nio2?|apr|bio)-(.*[^-])-|.*[^-]-)(\d+)"?\]?$`).FindStringSubmatch(name)
	if m == nil {
		return "", 0
	}
	return m[1], number(m[2])
}

// contextIn finds "StandardContext[/app]" in a component's name or a message; empty: it has none.
func contextIn(text string) string {
	_, rest, ok := strings.Cut(text, "StandardContext[")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "]")
	return contextPath(name)
}

// contextPath makes "/" of the empty name of ROOT.
func contextPath(name string) string { return cmp.Or(name, "/") }

// number reads "8080" and "8,080": Tomcat formats numbers by locale.
func number(text string) int {
	n, _ := strconv.Atoi(strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, text)) // none: 0
	return n
}

// lineTime is the time in Tomcat's own layouts, in the local zone.
func lineTime(line string) (time.Time, bool) {
	const layout = "02-Jan-2006 15:04:05.000"
	if len(line) < len(layout) {
		return time.Time{}, false
	}
	t, err := time.ParseInLocation(layout, line[:len(layout)], time.Local)
	return t, err == nil
}

// parseSAX reads the text of a SAXParseException of Xerces, which is the same in every language up to the message.
func parseSAX(line string) (f Finding, ok bool) {
	if !strings.Contains(line, "SAXParseException; ") {
		return f, false
	}
	m := regexp.MustCompile(`SAXParseException; (?:publicId: .*?; )?(?:systemId: (.*?); )?(?:lineNumber: (\d+); )?` +
		`(?:columnNumber: (\d+); )?(.*)`).FindStringSubmatch(line)
	f = Finding{Kind: ConfigError, File: filePath(m[1]), Line: number(m[2]), Column: number(m[3]), Message: strings.TrimSpace(m[4])}
	return f, f.Line > 0 || f.File != ""
}

// filePath makes a path of a file: URL.
func filePath(u string) string {
	p, ok := strings.CutPrefix(u, "file:")
	if !ok {
		return u
	}
	p = strings.TrimPrefix(p, "//")
	if unescaped, err := url.PathUnescape(p); err == nil {
		p = unescaped
	}
	return p
}
