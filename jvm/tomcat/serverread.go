package tomcat

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stoker-init/stoker/internal/xmlfile"
)

// ServerFile is the path of the server.xml of the base.
func (in Install) ServerFile() string { return filepath.Join(in.Base, "conf/server.xml") }

// ServerXML reads conf/server.xml of the base as Tomcat does. What is unknown of ${...} stays unchanged. A file that is not XML is an
// *XMLError.
func (in Install) ServerXML(s Inputs) (ServerXML, error) {
	file := in.ServerFile()
	data, err := s.Read(file)
	if err != nil {
		return ServerXML{File: file}, fmt.Errorf("cannot read %s: %w", file, err)
	}
	refs := in.references(s)
	x, err := ParseServerXML(file, data, refs, s.Read)
	if refs.Unknown != "" {
		x.Notes = append(x.Notes, refs.Unknown)
	}
	return x, err
}

// ParseServerXML reads the content of a server.xml. file is for errors, and external entities are relative to it; read reads them, nil:
// none is read.
func ParseServerXML(file string, data []byte, refs References, read func(path string) ([]byte, error)) (ServerXML, error) {
	p := &xmlParser{out: ServerXML{File: file}, refs: refs, read: read, budget: maxEntities,
		entities: map[string]entity{}, names: map[string]string{}}
	dec, err := p.parse(file, data)
	if err == nil && !p.root {
		line, column := dec.InputPos()
		err = &XMLError{file, line, column, "there is no <Server> element"}
	}
	return p.out, err
}

type xmlParser struct {
	refs      References
	read      func(path string) ([]byte, error)
	out       ServerXML
	stack     []string
	executors map[string]*Executor // of this <Service>, so far: Tomcat knows no later one
	engine    string
	offset    Port
	root      bool
	entities  map[string]entity
	names     map[string]string // of the entities, for the decoders; each stands for its marker
	open      []string          // entities that are being read
	at        int64             // where the token begins in the decoded text of its file
	service   int               // index of this <Service> in out.services
	budget    int               // bytes of entities that may still be read
}

// parse reads one file, or one entity.
func (p *xmlParser) parse(file string, data []byte) (*xml.Decoder, error) {
	text, charset := xmlfile.Decode(data)
	dec := xml.NewDecoder(bytes.NewReader(text))
	dec.CharsetReader, dec.Entity = charset, p.names
	for {
		line, _ := dec.InputPos()
		p.at = dec.InputOffset()
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return dec, nil
		}
		if err == nil {
			switch t := tok.(type) {
			case xml.Directive:
				p.declare(file, string(t))
			case xml.StartElement:
				err = p.start(t, line)
			case xml.EndElement:
				p.stack = p.stack[:len(p.stack)-1]
			case xml.CharData:
				err = p.content(string(t))
			}
		}
		var known *XMLError
		if errors.As(err, &known) {
			return dec, err
		}
		if err != nil {
			line, column := dec.InputPos()
			e := &XMLError{File: file, Line: line, Column: column, Msg: err.Error()}
			if s := (*xml.SyntaxError)(nil); errors.As(err, &s) {
				e.Msg = s.Msg
			}
			return dec, e
		}
	}
}

func (p *xmlParser) start(t xml.StartElement, line int) error {
	parent := ""
	if len(p.stack) > 0 {
		parent = p.stack[len(p.stack)-1]
	}
	p.stack = append(p.stack, t.Name.Local)
	for i, a := range t.Attr {
		text, err := p.attribute(a.Value)
		if err != nil {
			return err
		}
		t.Attr[i].Value = p.refs.resolve(text)
	}
	attr := func(name string) string {
		for _, a := range t.Attr {
			if a.Name.Local == name {
				return a.Value
			}
		}
		return ""
	}
	switch {
	case t.Name.Local == "Server" && parent == "":
		p.root, p.offset, p.out.server = true, parsePort(attr("portOffset")), p.place()
	case t.Name.Local == "Listener" && strings.EqualFold(attr("useAprConnector"), "true"):
		p.out.aprLine = line
	case t.Name.Local == "Service":
		p.executors, p.service = map[string]*Executor{}, len(p.out.services)
		p.out.services = append(p.out.services, p.place())
	case t.Name.Local == "Executor" && parent == "Service":
		// Of two with one name Tomcat gives the first.
		if name := attr("name"); p.executors[name] == nil {
			p.executors[name] = &Executor{parsePort(attr("maxThreads"))}
		}
	case t.Name.Local == "Connector" && parent == "Service":
		p.out.Connectors = append(p.out.Connectors, Connector{
			Line: line, Port: p.port(attr("port")), Address: attr("address"), Socket: attr("unixDomainSocketPath"),
			Protocol: cmp.Or(attr("protocol"), "HTTP/1.1"), TLS: strings.EqualFold(attr("SSLEnabled"), "true"),
			MaxThreads: parsePort(attr("maxThreads")), Executor: p.executors[attr("executor")],
			inherits: strings.EqualFold(attr("useInheritedChannel"), "true"), service: p.service, place: p.place(),
		})
	case t.Name.Local == "Engine":
		p.engine = attr("name")
	case t.Name.Local == "Host":
		p.out.Hosts = append(p.out.Hosts, Host{AppBase: cmp.Or(attr("appBase"), "webapps"), DeployIgnore: attr("deployIgnore"),
			XMLBase: cmp.Or(attr("xmlBase"), path.Join("conf", p.engine, attr("name"))),
			Deploys: cmp.Or(attr("deployOnStartup"), "true") == "true"})
	case t.Name.Local == "Context" && parent == "Host":
		p.out.Contexts = append(p.out.Contexts, contextPath(attr("path")))
	}
	return nil
}

// place returns where the start tag is that is being read.
func (p *xmlParser) place() place {
	if n := len(p.open); n > 0 {
		return place{entity: p.open[n-1]}
	}
	return place{at: int(p.at)}
}

// port adds the server's portOffset, which Tomcat applies to positive ports.
func (p *xmlParser) port(text string) Port {
	n := parsePort(text)
	if n.Set && n.Number > 0 {
		n.Number += p.offset.Number
		n.Set = p.offset.Set || p.offset.Text == ""
	}
	return n
}

// parsePort reads an int as Integer.valueOf does: blanks are an error.
func parsePort(text string) Port {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return Port{Text: text}
	}
	return Port{int(n), true, text}
}
