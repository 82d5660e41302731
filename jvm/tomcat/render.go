package tomcat

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stoker-init/stoker/internal/xmlfile"
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
	d, err := xmlfile.Open(data)
	if err != nil {
		return nil, fmt.Errorf("cannot copy %s: %w", x.File, err)
	}
	c := x.Connectors[k]
	d.Set(c.at, "useInheritedChannel", "true")
	switch {
	case how.SocketPath != "":
		d.Set(c.at, "unixDomainSocketPath", how.SocketPath)
	case c.Socket != "": // the socket of a private start is one of TCP
		d.Set(c.at, "port", "0")
		d.Remove(c.at, "unixDomainSocketPath")
	}
	if v := in.Version; how.GracefulStop > 0 && (v.Major > 9 || v == Version{9, 0, max(v.Patch, 43)}) { // older ones may not have it
		d.SetDefault(c.at, "bindOnInit", "false")
		if s := x.services[c.service]; s.entity == "" {
			d.SetDefault(s.at, "gracefulStopAwaitMillis", strconv.FormatInt(how.GracefulStop.Milliseconds(), 10))
		}
	}
	if how.Private {
		d.Set(x.server.at, "port", "-1")
		for other, o := range x.Connectors {
			switch {
			case other == k || o.Socket == "" && o.Port.Set && o.Port.Number <= 0:
				continue
			case o.entity != "":
				return nil, fmt.Errorf("cannot copy %s: the connector with %s comes from the entity &%s;", x.File, x.addresses([]int{other}), o.entity)
			}
			d.Set(o.at, "port", "0")
			d.Remove(o.at, "unixDomainSocketPath")
		}
	}
	d.AbsoluteEntities(filepath.Dir(x.File))
	out, err := d.Bytes()
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
