package tomcat

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/lazyregexp"
	"golang.org/x/text/encoding"
)

// Rendering says how the copy of a server.xml differs from the file.
type Rendering struct {
	// Port or Socket is the address of the listening socket that the JVM has as stdin: the connector with it takes that socket. Both are
	// empty only with Private: then it is the first connector that can.
	Port   int
	Socket string // as unixDomainSocketPath has it
	// SocketPath replaces Socket in the copy, because Tomcat deletes that path when it stops.
	SocketPath string
	// GracefulStop is how long a Tomcat that stops waits for connections to be closed, where the file does not say it
	// (gracefulStopAwaitMillis). It announces their end by then, which bindOnInit="false" makes possible. 0: as the file has it.
	GracefulStop time.Duration
	// JavaMajor is the version of the JVM; 0: unknown.
	JavaMajor int
	// Private moves what else would listen out of the way of another Tomcat with the same file: no shutdown port, and other connectors on
	// ephemeral ports.
	Private bool
}

// RenderServerXML returns the copy of a server.xml for a start with "-config": attributes are inserted or replaced, all other bytes stay.
// x is what ServerXML has read from data. The error says why no connector can take the socket, with file and line.
func (in Install) RenderServerXML(data []byte, x ServerXML, how Rendering) ([]byte, error) {
	k, err := x.Inheriting(how)
	if err != nil {
		return nil, err
	}
	d, err := readDocument(data)
	if err != nil {
		return nil, fmt.Errorf("cannot copy %s: %w", x.File, err)
	}
	c := x.Connectors[k]
	d.set(c.place, "useInheritedChannel", "true")
	switch {
	case how.SocketPath != "":
		d.set(c.place, "unixDomainSocketPath", how.SocketPath)
	case c.Socket != "": // the socket of a private start is one of TCP
		d.set(c.place, "port", "0")
		d.remove(c.place, "unixDomainSocketPath")
	}
	if v := in.Version; how.GracefulStop > 0 && (v.Major > 9 || v == Version{9, 0, max(v.Patch, 43)}) { // older ones may not have it
		d.setDefault(c.place, "bindOnInit", "false")
		d.setDefault(x.services[c.service], "gracefulStopAwaitMillis", strconv.FormatInt(how.GracefulStop.Milliseconds(), 10))
	}
	if how.Private {
		d.set(x.server, "port", "-1")
		for other, o := range x.Connectors {
			if other != k && (o.Socket != "" || !o.Port.Set || o.Port.Number > 0) {
				d.set(o.place, "port", "0")
				d.remove(o.place, "unixDomainSocketPath")
			}
		}
	}
	d.absoluteEntities(filepath.Dir(x.File))
	out, err := d.edited()
	if err != nil {
		return nil, fmt.Errorf("cannot copy %s: %w", x.File, err)
	}
	return out, nil
}

// Inheriting returns the index of the connector that takes the socket. The error says why none can.
func (x ServerXML) Inheriting(how Rendering) (int, error) {
	var matching []int
	for k, c := range x.Connectors {
		switch {
		case how.Port == 0 && how.Socket == "":
			if how.Private && x.cannotInherit(c, how) == "" && len(matching) == 0 {
				matching = append(matching, k)
			}
		case how.Socket != "" && c.Socket == how.Socket, how.Socket == "" && c.Socket == "" && c.Port.Set && c.Port.Number == how.Port:
			matching = append(matching, k)
		}
	}
	address := "listen has port " + strconv.Itoa(how.Port)
	switch {
	case how.Socket != "":
		address = "listen has " + how.Socket
	case how.Port == 0:
		address = "it needs a connector of NIO"
	}
	switch len(matching) {
	case 0:
		return 0, fmt.Errorf("cannot pass a socket to the Tomcat of %s: %s, and the connectors are %s\n"+
			"hint: make the address of listen that of a connector", x.File, address, cmp.Or(x.addresses(nil), "none"))
	case 1:
	default:
		return 0, fmt.Errorf("cannot pass a socket to the Tomcat of %s: %s, and so have %s", x.File, address, x.addresses(matching))
	}
	c := x.Connectors[matching[0]]
	if why := x.cannotInherit(c, how); why != "" {
		return 0, fmt.Errorf("cannot pass a socket to the connector of %s:%d: %s", x.File, c.Line, why)
	}
	for k, o := range x.Connectors {
		if k != matching[0] && o.inherits {
			return 0, fmt.Errorf("cannot pass a socket to the connector of %s:%d: the one of line %d has useInheritedChannel, and there is one "+
				"such socket in a JVM\nhint: remove the attribute there, or use its port in listen", x.File, c.Line, o.Line)
		}
	}
	return matching[0], nil
}

// nioProtocols are the values of protocol with which a connector can take the socket; AprLifecycleListener may change the short ones.
var nioProtocols = [...]string{"HTTP/1.1", "AJP/1.3", "org.apache.coyote.http11.Http11NioProtocol", "org.apache.coyote.ajp.AjpNioProtocol"}

// cannotInherit returns why a connector cannot take the socket; empty: it can.
func (x ServerXML) cannotInherit(c Connector, how Rendering) string {
	const hint = "\nhint: the protocol must be HTTP/1.1, or the class Http11NioProtocol"
	switch known := slices.Index(nioProtocols[:], c.Protocol); {
	case strings.Contains(c.Protocol, "Apr"):
		return "the APR connector binds its port itself (protocol " + c.Protocol + ")" + hint
	case strings.Contains(c.Protocol, "Nio2"):
		return "the NIO2 connector binds its port itself (protocol " + c.Protocol + ")" + hint
	case known < 0:
		return "it is not known whether its protocol " + c.Protocol + " can take one" + hint
	case known < 2 && x.aprLine > 0:
		return fmt.Sprintf("useAprConnector in line %d may make it an APR connector, which binds its port itself\n"+
			"hint: remove that attribute, or set the protocol to org.apache.coyote.http11.Http11NioProtocol", x.aprLine)
	case c.entity != "":
		return fmt.Sprintf("it comes from the entity &%s;, and only what is in the file itself can be changed in a copy\n"+
			"hint: move the <Connector> into %s", c.entity, filepath.Base(x.File))
	case c.Socket != "" && how.JavaMajor > 0 && how.JavaMajor < 16:
		return fmt.Sprintf("Java %d has no unix sockets\nhint: use Java 16 or later, or a port", how.JavaMajor)
	}
	return ""
}

// addresses describes connectors by address and line; nil: all.
func (x ServerXML) addresses(some []int) string {
	var out []string
	for k, c := range x.Connectors {
		if some == nil || slices.Contains(some, k) {
			out = append(out, fmt.Sprintf("%s (line %d)", cmp.Or(c.Socket, c.Port.Text, "without a port"), c.Line))
		}
	}
	return strings.Join(out, ", ")
}

// document is an XML file that is edited.
type document struct {
	text     []byte            // in UTF-8
	encoding encoding.Encoding // of the file; nil: UTF-8
	mark     string            // the byte order mark in UTF-8
	edits    []edit
	err      error // of the first edit that failed
}

// edit replaces text[from:to].
type edit struct {
	from, to int
	with     string
}

// readDocument decodes a file into the text that the parser's offsets are of. A file that is not encoded in the usual way is refused.
func readDocument(data []byte) (*document, error) {
	d := &document{encoding: utf16Of(data), text: bytes.TrimPrefix(data, []byte(utf8Mark))}
	if len(d.text) < len(data) {
		d.mark = utf8Mark
	}
	if d.encoding != nil {
		text, err := d.encoding.NewDecoder().Bytes(data)
		d.text = text
		return d.checked(data, err)
	}
	dec := xml.NewDecoder(bytes.NewReader(d.text))
	dec.CharsetReader = func(name string, rest io.Reader) (_ io.Reader, err error) {
		if d.encoding, err = encodingNamed(name); err != nil {
			return nil, err
		}
		encoded, err := io.ReadAll(rest)
		if err != nil {
			return nil, err
		}
		decoded, err := d.encoding.NewDecoder().Bytes(encoded)
		d.text = slices.Concat(d.text[:len(d.text)-len(encoded)], decoded)
		return bytes.NewReader(decoded), err
	}
	_, err := dec.RawToken()
	return d.checked(data, err)
}

// checked returns the document if its text encodes to data.
func (d *document) checked(data []byte, err error) (*document, error) {
	if err != nil {
		return nil, err
	}
	if same, err := d.encode(d.text); err != nil || !bytes.Equal(same, data) {
		return nil, errors.New("its text could not be encoded to the same bytes\nhint: save it in UTF-8")
	}
	return d, nil
}

func (d *document) encode(text []byte) ([]byte, error) {
	if d.encoding == nil {
		return append([]byte(d.mark), text...), nil
	}
	return d.encoding.NewEncoder().Bytes(text)
}

// attributes matches an attribute of a start tag; what the parser has accepted has quotes.
var attributes = lazyregexp.New(`^\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')`)

// find returns where the name of a start tag ends, and where an attribute of it and its value, in quotes, are.
func (d *document) find(p place, attribute string) (end int, whole, value edit, found bool) {
	switch {
	case p.entity != "":
		d.err = cmp.Or(d.err, fmt.Errorf("what comes from the entity &%s; cannot be changed", p.entity))
		return 0, edit{}, edit{}, false
	case p.at >= len(d.text) || d.text[p.at] != '<':
		d.err = cmp.Or(d.err, errors.New("it has changed since it was read"))
		return 0, edit{}, edit{}, false
	}
	end = p.at + max(bytes.IndexAny(d.text[p.at:], " \t\r\n/>"), 1)
	for at := end; ; {
		m := attributes().FindSubmatchIndex(d.text[at:])
		if m == nil {
			return end, edit{}, edit{}, false
		}
		if string(d.text[at+m[2]:at+m[3]]) == attribute {
			return end, edit{from: at, to: at + m[1]}, edit{from: at + m[4], to: at + m[5]}, true
		}
		at += m[1]
	}
}

var escaped = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;")

// set sets an attribute.
func (d *document) set(p place, name, value string) {
	end, _, old, found := d.find(p, name)
	old.with = `"` + escaped.Replace(value) + `"`
	switch {
	case !found:
		d.edits = append(d.edits, edit{end, end, " " + name + "=" + old.with})
	case string(d.text[old.from+1:old.to-1]) != value:
		d.edits = append(d.edits, old)
	}
}

// setDefault sets an attribute that a tag does not have. What comes from an entity stays.
func (d *document) setDefault(p place, name, value string) {
	if p.entity != "" {
		return
	}
	if _, _, _, found := d.find(p, name); !found {
		d.set(p, name, value)
	}
}

// remove removes an attribute.
func (d *document) remove(p place, name string) {
	if _, whole, _, found := d.find(p, name); found {
		d.edits = append(d.edits, whole)
	}
}

// external matches the URI of an external entity or DTD, and what may look like one.
var external = lazyregexp.New(`(?s)<!--.*?-->|(?:\bSYSTEM|\bPUBLIC\s+(?:"[^"]*"|'[^']*'))\s+["']([^"']*)["']|"[^"]*"|'[^']*'`)

// absoluteEntities makes the relative URIs of the DOCTYPE relative to dir, where the file is.
func (d *document) absoluteEntities(dir string) {
	dec := xml.NewDecoder(bytes.NewReader(d.text))
	dec.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		from := int(dec.InputOffset())
		tok, err := dec.RawToken()
		if err != nil {
			return // the parser has reported it
		}
		switch tok.(type) {
		case xml.StartElement:
			return
		case xml.Directive:
			for _, m := range external().FindAllSubmatchIndex(d.text[from:dec.InputOffset()], -1) {
				if m[2] < 0 {
					continue
				}
				uri, at := string(d.text[from+m[2]:from+m[3]]), from+m[2]
				if scheme, _, ok := strings.Cut(uri, ":"); filepath.IsAbs(uri) || ok && !strings.Contains(scheme, "/") {
					continue
				}
				d.edits = append(d.edits, edit{at, at, (&url.URL{Scheme: "file", Path: dir + "/"}).String()})
			}
		}
	}
}

// edited returns the document with its edits.
func (d *document) edited() ([]byte, error) {
	if d.err != nil {
		return nil, d.err
	}
	slices.SortStableFunc(d.edits, func(a, b edit) int { return cmp.Or(a.from-b.from, a.to-b.to) }) // insertions first
	var out []byte
	at := 0
	for _, e := range d.edits {
		out = append(append(out, d.text[at:e.from]...), e.with...)
		at = e.to
	}
	return d.encode(append(out, d.text[at:]...))
}
