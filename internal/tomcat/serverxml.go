package tomcat

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// XMLError says where a configuration file cannot be read.
type XMLError struct {
	File         string
	Line, Column int
	Msg          string
}

func (e *XMLError) Error() string {
	return fmt.Sprintf("cannot parse %s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// ServerXML is what conf/server.xml says, as far as it matters outside Tomcat.
// It reads the file, not Tomcat's mind: a listener may change all of it.
type ServerXML struct {
	File            string
	Shutdown        Port // -1: none
	ShutdownAddress string
	Connectors      []Connector
	Hosts           []Host
	Contexts        []Context
	// Notes name what could not be followed, such as external entities.
	Notes []string
}

// Port is an attribute that should be a number. Set is false if the attribute
// is absent or is not a number after ${...} was resolved; Text is what stands
// there.
type Port struct {
	Number int
	Set    bool
	Text   string
}

// Connector is one <Connector>. Port includes the server's portOffset.
type Connector struct {
	Line       int
	Port       Port
	Address    string // empty: every address
	Protocol   string // "HTTP/1.1" if absent
	Scheme     string // "http" if absent
	TLS        bool   // SSLEnabled
	MaxThreads Port
	Executor   *Executor // its threads; nil: threads of its own, up to MaxThreads
}

// Executor is one <Executor>: threads that connectors of its <Service> may share.
type Executor struct {
	Line       int
	Name       string
	MaxThreads Port
}

// HTTP says whether the connector speaks HTTP and not AJP.
func (c Connector) HTTP() bool { return !strings.Contains(strings.ToUpper(c.Protocol), "AJP") }

// Host is one <Host>.
type Host struct {
	Line          int
	Name, AppBase string
}

// Context is one <Context> inside a <Host>.
type Context struct {
	Line                int
	Host, Path, DocBase string // Path "/" is ROOT
}

// defaultThreads is maxThreads where nothing is set, of a connector as of an executor.
const defaultThreads = 200

// Threads is how many threads may serve requests at once, over all connectors;
// 0: no connector is known. A connector with an executor ignores a maxThreads of
// its own, and an executor counts once. One with port -1 is off: Tomcat does not
// start it. Virtual threads count like others: what is there may be less.
func (s ServerXML) Threads() int {
	sum, counted := 0, map[*Executor]bool{}
	for _, c := range s.Connectors {
		switch {
		case c.Port.Set && c.Port.Number < 0:
		case c.Executor == nil:
			sum += poolSize(c.MaxThreads)
		case !counted[c.Executor]:
			counted[c.Executor] = true
			sum += poolSize(c.Executor.MaxThreads)
		}
	}
	return sum
}

// poolSize is the default for what is no int of Java, which Tomcat leaves aside,
// and for 0 and less, with which no pool starts.
func poolSize(maxThreads Port) int {
	if n := maxThreads.Number; maxThreads.Set && n > 0 && n <= math.MaxInt32 {
		return n
	}
	return defaultThreads
}

// ServerXML reads conf/server.xml of the base. ${name} and ${name:-default} are
// looked up in props (the -D properties), conf/catalina.properties and
// catalina.home and catalina.base; what is unknown stays as it stands. A file
// that is not XML is an *XMLError.
func (in Install) ServerXML(props map[string]string) (ServerXML, error) {
	all := map[string]string{}
	// A catalina.properties that is absent is Tomcat's own default: nothing set.
	if data, err := os.ReadFile(filepath.Join(in.Base, "conf/catalina.properties")); err == nil {
		all = Properties(data)
	}
	all["catalina.home"], all["catalina.base"] = in.Home, in.Base
	maps.Copy(all, props)
	file := filepath.Join(in.Base, "conf/server.xml")
	data, err := os.ReadFile(file)
	if err != nil {
		return ServerXML{}, fmt.Errorf("cannot read Tomcat's configuration: %w", err)
	}
	return ParseServerXML(file, data, all)
}

// ParseServerXML reads the content of a server.xml; file is for errors.
func ParseServerXML(file string, data []byte, props map[string]string) (ServerXML, error) {
	p := &xmlParser{out: ServerXML{File: file}, props: props}
	p.dec = xml.NewDecoder(bytes.NewReader(data))
	p.dec.CharsetReader = charset
	p.dec.Entity = map[string]string{}
	for {
		line, _ := p.dec.InputPos()
		tok, err := p.dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return p.out, p.fail(err)
		}
		switch t := tok.(type) {
		case xml.Directive:
			p.entities(string(t))
		case xml.StartElement:
			p.start(t, line)
		case xml.EndElement:
			p.stack = p.stack[:len(p.stack)-1]
		}
	}
	if !p.root {
		line, column := p.dec.InputPos()
		return p.out, &XMLError{file, line, column, "there is no <Server> element"}
	}
	return p.out, nil
}

type xmlParser struct {
	dec       *xml.Decoder
	props     map[string]string
	out       ServerXML
	stack     []string
	executors map[string]*Executor // of this <Service>, so far: Tomcat knows no later one
	host      string
	offset    int
	root      bool
}

func (p *xmlParser) fail(err error) error {
	line, column := p.dec.InputPos()
	e := &XMLError{File: p.out.File, Line: line, Column: column, Msg: err.Error()}
	if s := (*xml.SyntaxError)(nil); errors.As(err, &s) {
		e.Msg = s.Msg
	}
	return e
}

// charset knows what servers are written in: ASCII, UTF-8 and ISO 8859-1.
func charset(name string, r io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return r, nil
	case "iso-8859-1", "latin1", "windows-1252":
		data, err := io.ReadAll(r)
		return strings.NewReader(latin1(data)), err
	}
	return nil, fmt.Errorf("encoding %q is not known", name)
}

// entities accepts the names that a DOCTYPE declares; they may stand for
// elements of another file, which is said and not followed.
func (p *xmlParser) entities(directive string) {
	fields := strings.Fields(directive)
	for i, f := range fields {
		if strings.HasSuffix(f, "!ENTITY") && i+1 < len(fields) {
			p.dec.Entity[fields[i+1]] = ""
			p.out.Notes = append(p.out.Notes, "entity &"+fields[i+1]+"; is not followed")
		}
	}
}

func (p *xmlParser) start(t xml.StartElement, line int) {
	parent := ""
	if len(p.stack) > 0 {
		parent = p.stack[len(p.stack)-1]
	}
	p.stack = append(p.stack, t.Name.Local)
	attr := func(name string) string {
		for _, a := range t.Attr {
			if a.Name.Local == name {
				return resolve(a.Value, p.props)
			}
		}
		return ""
	}
	switch t.Name.Local {
	case "Server":
		p.root = true
		p.offset = number(attr("portOffset")).Number
		p.out.Shutdown = p.port(attr("port"))
		p.out.ShutdownAddress = attr("address")
	case "Service":
		p.executors = map[string]*Executor{}
	case "Executor":
		// Of two with one name Tomcat gives the first.
		if name := attr("name"); parent == "Service" && p.executors[name] == nil {
			p.executors[name] = &Executor{Line: line, Name: name, MaxThreads: number(attr("maxThreads"))}
		}
	case "Connector":
		p.out.Connectors = append(p.out.Connectors, Connector{
			Line: line, Port: p.port(attr("port")), Address: attr("address"),
			Protocol: first(attr("protocol"), "HTTP/1.1"), Scheme: first(attr("scheme"), "http"),
			TLS: strings.EqualFold(attr("SSLEnabled"), "true"), MaxThreads: number(attr("maxThreads")), Executor: p.executors[attr("executor")],
		})
	case "Host":
		p.host = attr("name")
		p.out.Hosts = append(p.out.Hosts, Host{Line: line, Name: p.host, AppBase: first(attr("appBase"), "webapps")})
	case "Context":
		if parent == "Host" {
			p.out.Contexts = append(p.out.Contexts, Context{Line: line, Host: p.host, Path: contextPath(attr("path")), DocBase: attr("docBase")})
		}
	}
}

// port adds the server's portOffset, which Tomcat applies to positive ports.
func (p *xmlParser) port(text string) Port {
	n := number(text)
	if n.Set && n.Number > 0 {
		n.Number += p.offset
	}
	return n
}

func number(text string) Port {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	return Port{Number: n, Set: err == nil, Text: text}
}

// resolve replaces ${name} and ${name:-default} as Tomcat does.
func resolve(s string, props map[string]string) string {
	var b strings.Builder
	for {
		start := strings.Index(s, "${")
		if start < 0 {
			break
		}
		end := strings.IndexByte(s[start:], '}')
		if end < 0 {
			break
		}
		ref := s[start+2 : start+end]
		name, fallback, hasFallback := strings.Cut(ref, ":-")
		value, ok := props[name]
		b.WriteString(s[:start])
		switch {
		case ok:
			b.WriteString(value)
		case hasFallback:
			b.WriteString(fallback)
		default:
			b.WriteString(s[start : start+end+1])
		}
		s = s[start+end+1:]
	}
	b.WriteString(s)
	return b.String()
}
